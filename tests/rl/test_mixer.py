from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest

from onefill.rl.mixer import TaskMixer, split

WEIGHTS = {"fill": 2.0, "extend": 1.0, "removal": 1.0}


def test_tasks_come_as_often_as_their_weights_say():
    mixer = TaskMixer(WEIGHTS, seed=0)
    steps = [mixer.draw(1, 8) for _ in range(4000)]
    assert all(list(counts.values()) == [8] for counts in steps)
    drawn = Counter(task for counts in steps for task in counts)
    assert drawn["fill"] / 4000 == pytest.approx(0.5, abs=0.03)
    assert drawn["extend"] / 4000 == pytest.approx(0.25, abs=0.03)


def test_a_single_task_is_drawn_as_it_ever_was():
    """So that what a seed meant before steps could draw several tasks it means still."""
    mixer, rng = TaskMixer(WEIGHTS, seed=3), np.random.default_rng(3)
    names = list(WEIGHTS)
    expected = [names[rng.choice(3, p=[0.5, 0.25, 0.25])] for _ in range(200)]
    assert [next(iter(mixer.draw(1, 8))) for _ in range(200)] == expected


def test_several_tasks_are_drawn_by_weight_without_putting_back():
    mixer = TaskMixer(WEIGHTS, seed=0)
    pairs = Counter(tuple(mixer.draw(2, 8)) for _ in range(4000))
    # First by weight, then by weight among those that are left.
    expected = {
        ("fill", "extend"): 0.5 * 0.5,
        ("fill", "removal"): 0.5 * 0.5,
        ("extend", "fill"): 0.25 * 2 / 3,
        ("extend", "removal"): 0.25 / 3,
        ("removal", "fill"): 0.25 * 2 / 3,
        ("removal", "extend"): 0.25 / 3,
    }
    assert pairs.keys() == expected.keys()
    for pair, share in expected.items():
        assert pairs[pair] / 4000 == pytest.approx(share, abs=0.03)
    assert set(mixer.draw(3, 8)) == set(WEIGHTS)


@pytest.mark.parametrize(
    ("count", "weights", "expected"),
    [
        (8, (2, 1, 1), [4, 2, 2]),
        (4, (3, 1), [3, 1]),
        (7, (1, 1), [4, 3]),
        (3, (100, 1, 1), [1, 1, 1]),
        (8, (0.001, 5), [1, 7]),
        (10, (1, 2, 2), [2, 4, 4]),
        (8, (7,), [8]),
    ],
)
def test_samples_are_split_by_weight_and_no_task_goes_without(count, weights, expected):
    parts = split(count, {str(number): weight for number, weight in enumerate(weights)})
    assert list(parts.values()) == expected


def test_a_restored_mixer_goes_on_where_it_was():
    mixer = TaskMixer(WEIGHTS, seed=5)
    for _ in range(10):
        mixer.draw(2, 8)
    state = json.loads(json.dumps(mixer.state()))
    rest = [mixer.draw(2, 8) for _ in range(20)]
    other = TaskMixer(WEIGHTS, seed=6)
    other.restore(state)
    assert [other.draw(2, 8) for _ in range(20)] == rest
    assert [TaskMixer(WEIGHTS, seed=6).draw(2, 8) for _ in range(20)] != rest

from __future__ import annotations

import json
from collections import Counter

import pytest

from onefill.rl.mixer import TaskMixer

WEIGHTS = {"fill": 2.0, "extend": 1.0, "removal": 1.0}


def test_tasks_come_as_often_as_their_weights_say():
    mixer = TaskMixer(WEIGHTS, seed=0)
    drawn = Counter(mixer.draw() for _ in range(4000))
    assert drawn["fill"] / 4000 == pytest.approx(0.5, abs=0.03)
    assert drawn["extend"] / 4000 == pytest.approx(0.25, abs=0.03)


def test_a_restored_mixer_goes_on_where_it_was():
    mixer = TaskMixer(WEIGHTS, seed=5)
    for _ in range(10):
        mixer.draw()
    state = json.loads(json.dumps(mixer.state()))
    rest = [mixer.draw() for _ in range(20)]
    other = TaskMixer(WEIGHTS, seed=6)
    other.restore(state)
    assert [other.draw() for _ in range(20)] == rest
    assert [TaskMixer(WEIGHTS, seed=6).draw() for _ in range(20)] != rest

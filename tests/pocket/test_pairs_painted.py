"""Contests of what the embedded policy paints."""

from __future__ import annotations

import numpy as np
import pytest

from onefill.pocket import embedded
from onefill.pocket.contests import painted as pairs_painted
from onefill.pocket.contests.cache import TASKS, Contests
from onefill.pocket.contests.painted import distance, load_painted
from onefill.pocket.contests.pairs import (
    ALIGNMENT,
    DIMENSIONS,
    GAP,
    LABELS,
    NOTHING,
    REMOVAL,
    UNCLEAR,
)
from onefill.pocket.material.sources import TRAIN
from onefill.policy.loading import load_policy


@pytest.fixture(scope="module")
def policy():
    return load_policy(embedded.resolve("policies", "pocket"))


@pytest.fixture
def paint(policy, pictures, tmp_path, monkeypatch):
    """Draws a few contests; the material is the tests' own."""
    monkeypatch.setattr(pairs_painted, "load_pictures", lambda split, cache: pictures)
    monkeypatch.setattr(pairs_painted, "_CHUNK", 10)
    said: list[str] = []

    def run(count: int) -> Contests:
        said.clear()
        return load_painted(policy, TRAIN, count, 0, tmp_path, said.append)

    run.said = said
    return run


def test_a_contest_knows_its_better_pictures(paint):
    contests = paint(20)
    assert len(contests) == 20
    assert len(set(contests.tasks.tolist())) >= 3
    shares = contests.levels.sum(2) == 0
    assert shares[:, 0].all() and not shares[:, 1:].any()
    align = contests.levels[..., DIMENSIONS.index(ALIGNMENT)]
    for place, task in enumerate(TASKS[t] for t in contests.tasks):
        truth, painted, weak, other = contests.pictures[place]
        assert not any(np.array_equal(truth, shown) for shown in (painted, weak, other))
        if task in ("fill", "text"):
            asked, _, _, unlike = contests.shown[place]
            assert LABELS[asked] == LABELS[contests.words[place]] != LABELS[unlike]
            assert align[place, 3] - align[place, 1] >= GAP
        else:
            assert set(contests.shown[place]) <= {NOTHING, UNCLEAR}
            assert not align[place].any()
        if task == "removal":
            assert contests.levels[place, 1:, DIMENSIONS.index(REMOVAL)].min() >= GAP
            assert contests.harm[place, 1:, DIMENSIONS.index(REMOVAL)].any()
        # Outside of what was painted all are one picture.
        spoilt = contests.harm[place, 3].max(0) > 0
        same = (contests.pictures[place] == truth).all((0, 3))
        assert same.reshape(8, 8, 8, 8).all((1, 3))[~spoilt].all()


def test_what_was_painted_is_kept_and_the_rest_goes_on(paint):
    first = paint(10)
    assert len(paint.said) == 1
    both = paint(15)
    assert len(paint.said) == 1 and len(both) == 15
    assert all(np.array_equal(vars(first)[k], vars(both)[k][:10]) for k in vars(first))
    assert not np.array_equal(both.pictures[0], both.pictures[10])


def test_neither_a_blur_nor_other_grain_passes_for_the_truth():
    rng = np.random.default_rng(0)
    mask = np.zeros((64, 64), bool)
    mask[16:48, 16:48] = True
    truth, grain = (rng.integers(88, 168, (64, 64, 3)).astype(np.uint8) for _ in range(2))
    flat = np.full_like(truth, 128)
    assert distance(truth, truth, mask) == pytest.approx(2)
    slightly = (truth * 0.9 + flat * 0.1).astype(np.uint8)
    far = [distance(shown, truth, mask) for shown in (slightly, grain, flat)]
    assert far[0] < far[1] < far[2]
    # What lies outside the mask does not count.
    assert distance(np.where(mask[..., None], truth, flat), truth, mask) < far[0]

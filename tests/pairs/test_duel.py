"""Two renderings of one subject: the winner is known, whatever the size."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onefill.pairs.duel import draw_duel
from onefill.pairs.subject import AESTHETICS, ALIGNMENT, KNOWN, STRUCTURE, Subject, grey_out
from onefill.tasks import shapes
from onefill.tasks.registry import load_tasks

from .conftest import draw_picture


def draw_subject(width: int, height: int, seed: int, known: bool) -> Subject:
    rng = np.random.default_rng(seed)
    clean = np.asarray(draw_picture(seed, width, height), np.float32) / 255
    shape = (shapes.box, shapes.blob, shapes.border)[seed % 3]
    mask = shape((width, height), rng)
    background = clean.copy()
    background[mask] = 0.5
    return Subject(
        load_tasks().get("fill"), "a hat", "scene", clean, mask, grey_out(clean, mask),
        background if known else None,
    )  # fmt: skip


def stripes(subject: Subject):
    def other(rng: np.random.Generator) -> np.ndarray:
        layer = np.zeros((*subject.mask.shape, 4), np.float32)
        layer[..., :3] = rng.random(3)
        layer[..., 3] = subject.mask
        return layer

    return other


def test_what_is_not_there_is_never_the_sounder_one():
    subject, gone = draw_subject(48, 64, 1, True), 0
    behind = np.rint(subject.background * 255)
    for seed in range(300):
        rng = np.random.default_rng(seed)
        duel = draw_duel(subject, ALIGNMENT, KNOWN, stripes(subject), rng)
        if duel is not None and np.array_equal(duel.pictures[1], behind):
            gone += 1
            assert duel.winner[ALIGNMENT] == 0
            assert duel.winner.get(STRUCTURE) != 1
    assert gone >= 10


@given(
    st.sampled_from(KNOWN),
    st.integers(32, 120),
    st.integers(32, 120),
    st.integers(0, 10_000),
    st.booleans(),
)
def test_the_winner_is_the_less_damaged_one(dimension, width, height, seed, known):
    subject = draw_subject(width, height, seed, known)
    duels = [
        draw_duel(subject, dimension, KNOWN, stripes(subject), np.random.default_rng(seed))
        for _ in range(2)
    ]
    duel = duels[0]
    if duel is None:
        assert duels[1] is None
        return
    assert duel.winner[dimension] == 0
    assert duel.winner.keys() == duel.strength.keys()
    assert all(0 < value <= 1 for value in duel.strength.values())
    for picture, again in zip(duel.pictures, duels[1].pictures, strict=True):
        assert picture.shape == (height, width, 3) and picture.dtype == np.uint8
        assert np.array_equal(picture, again)
    assert not np.array_equal(*duel.pictures)
    if AESTHETICS not in duel.winner:
        kept = ~subject.mask
        clean = np.rint(subject.clean * 255).astype(np.uint8)
        assert all(np.array_equal(picture[kept], clean[kept]) for picture in duel.pictures)


@pytest.mark.parametrize("dimension", KNOWN)
def test_a_stronger_fault_is_further_from_the_clean_picture(dimension):
    """Where one fault alone tells the two apart, the loser is the one that changed more."""
    further = []
    for seed in range(40):
        subject = draw_subject(64, 64, seed, known=False)
        only = (dimension,)
        rng = np.random.default_rng(seed)
        duel = draw_duel(subject, dimension, only, stripes(subject), rng)
        if duel is not None:
            clean = subject.clean * 255
            better, worse = (np.abs(picture - clean).mean() for picture in duel.pictures)
            further.append(worse > better)
    assert len(further) > 20
    assert all(further)


def test_where_nothing_can_be_seen_there_is_no_pair():
    flat = np.full((64, 64, 3), 0.5, np.float32)
    mask = np.zeros((64, 64), bool)
    mask[20:40, 20:40] = True
    subject = Subject(
        load_tasks().get("fill"), None, "flat", flat, mask, grey_out(flat, mask), flat
    )
    clear = np.zeros((64, 64, 4), np.float32)
    for seed in range(10):
        rng = np.random.default_rng(seed)
        assert draw_duel(subject, ALIGNMENT, (ALIGNMENT,), lambda rng: clear, rng) is None

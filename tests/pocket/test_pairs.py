from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from onefill.pocket.contests import pairs
from onefill.pocket.contests.pairs import (
    CELLS,
    DIMENSIONS,
    GAP,
    draw_contest,
    draw_pair,
    draw_words,
)
from onefill.pocket.material import sources, vocabulary
from onefill.pocket.material.pictures import DRAWING_SIZE, Pictures, load_pictures
from onefill.pocket.material.sources import HELD_OUT, TRAIN


def drawn_shape(index: int) -> Image.Image:
    """A drawing per word that needs no download: polygons of its own colours and corners."""
    rng = np.random.default_rng(index)
    drawing = Image.new("RGBA", (DRAWING_SIZE, DRAWING_SIZE))
    draw = ImageDraw.Draw(drawing)
    for reach in (44, 26):
        turns = np.sort(rng.uniform(0, 2 * np.pi, 5 + index % 4))
        corners = [(48 + reach * np.cos(t), 48 + reach * np.sin(t)) for t in turns]
        draw.polygon(corners, fill=(*rng.integers(0, 256, 3).tolist(), 255))
    return drawing


@pytest.fixture(scope="module")
def pictures() -> Pictures:
    rng = np.random.default_rng(0)
    photographs = []
    for _ in range(3):
        coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        photographs.append(coarse.resize((160, 120), Image.Resampling.BICUBIC))
    font = ImageFont.load_default(64)
    assert isinstance(font, ImageFont.FreeTypeFont)
    drawings = {word: [drawn_shape(i)] for i, word in enumerate(vocabulary.WORDS)}
    return Pictures(drawings=drawings, photographs=photographs, fonts=[font])


@pytest.mark.parametrize(("task", "dimension"), CELLS)
def test_the_winner_is_the_less_damaged_one(pictures, task, dimension):
    column = DIMENSIONS.index(dimension)
    for seed in range(6):
        rng = np.random.default_rng(seed)
        contest = draw_contest(pictures, np.random.default_rng(seed), task, (dimension,))
        better, worse = contest.renderings
        assert worse.levels[column] - better.levels[column] >= GAP - 1e-6
        pair = draw_pair(pictures, rng, task, dimension)
        shown = (pair.first, pair.second)
        if pair.winner == "second":
            shown = shown[::-1]
        assert np.array_equal(shown[0], better.picture)
        assert np.array_equal(shown[1], worse.picture)
        assert not np.array_equal(*shown)
        assert (pair.words is not None) == (dimension == pairs.ALIGNMENT)


def test_a_seed_says_all(pictures):
    first, second = (
        draw_pair(pictures, np.random.default_rng(3), "fill", "structure") for _ in range(2)
    )
    assert np.array_equal(first.first, second.first)
    assert np.array_equal(first.second, second.second)
    assert first.winner == second.winner


def test_either_side_wins(pictures):
    rng = np.random.default_rng(0)
    won = [draw_pair(pictures, rng, "removal", pairs.REMOVAL).winner for _ in range(40)]
    assert 8 <= won.count("first") <= 32


def test_the_loser_in_alignment_shows_something_else(pictures):
    for seed in range(20):
        contest = draw_contest(pictures, np.random.default_rng(seed), "fill", (pairs.ALIGNMENT,))
        better, worse = contest.renderings
        asked = pairs.LABELS.index(contest.word)
        assert better.shown in (asked, pairs.UNCLEAR)
        assert worse.shown != asked


def test_a_thing_that_is_not_there_is_not_sound(pictures):
    """Were it free of faults, a policy could please a judge best by painting nothing."""
    column, found = DIMENSIONS.index(pairs.STRUCTURE), 0
    for seed in range(40):
        contest = draw_contest(pictures, np.random.default_rng(seed), "fill", (pairs.ALIGNMENT,))
        better, worse = contest.renderings
        if worse.shown == pairs.NOTHING:
            found += 1
            assert worse.levels[column] == 1
            assert worse.harm[column].max() == 1
            assert not (worse.levels[column] < better.levels[column])
    assert found >= 3


def test_words_are_typed_in_several_ways():
    rng = np.random.default_rng(0)
    typed = {draw_words("apple", rng) for _ in range(60)}
    assert {"apple", "an apple"} <= typed
    assert all(words.split()[-1] in ("apple", "apples") for words in typed)
    assert {draw_words("澳门", rng) for _ in range(5)} == {"澳门"}


def test_some_better_ones_are_worse_elsewhere(pictures):
    """Conflicts: without them a judge could answer every question with one overall score."""
    conflicts = 0
    for seed in range(40):
        contest = draw_contest(pictures, np.random.default_rng(seed), "fill", (pairs.STRUCTURE,))
        better, worse = contest.renderings
        conflicts += bool((better.levels - worse.levels).max() >= GAP)
    assert 4 <= conflicts <= 24


def test_nothing_held_out_is_trained_on():
    train, held_out = (sources.PHOTOGRAPHS[split] for split in (TRAIN, HELD_OUT))
    assert not set(train) & set(held_out)
    assert not set(sources.FONTS[TRAIN]) & set(sources.FONTS[HELD_OUT])
    assert vocabulary.HELD_OUT_SET not in vocabulary.DRAWING_SETS


@pytest.mark.skipif(
    "ONEFILL_POCKET_CACHE" not in os.environ,
    reason="needs the fetched pictures; set ONEFILL_POCKET_CACHE to the recipe's --cache",
)
def test_nothing_held_out_is_trained_on_by_hash():
    cache = Path(os.environ["ONEFILL_POCKET_CACHE"])
    train, held_out = (_digests(load_pictures(split, cache)) for split in (TRAIN, HELD_OUT))
    for kind, seen in train.items():
        assert seen
        assert held_out[kind]
        assert not seen & held_out[kind]


def _digests(pictures: Pictures) -> dict[str, set[str]]:
    drawings = (image for group in pictures.drawings.values() for image in group)
    return {
        "drawings": {hashlib.sha256(image.tobytes()).hexdigest() for image in drawings},
        "photographs": {
            hashlib.sha256(image.tobytes()).hexdigest() for image in pictures.photographs
        },
        "fonts": {str(font.getname()) for font in pictures.fonts},
    }

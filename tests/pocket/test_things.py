"""What a prompt asks for is what stands in the scene."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from onefill.pocket.material import vocabulary
from onefill.pocket.material.pictures import DRAWING_SIZE, Pictures, recolour
from onefill.pocket.material.things import Wish, draw_thing, draw_wish

GREY = np.full((64, 64, 3), 0.5, np.float32)


@pytest.fixture(scope="module")
def pictures() -> Pictures:
    """A blue disc for every word."""
    disc = Image.new("RGBA", (DRAWING_SIZE, DRAWING_SIZE))
    ImageDraw.Draw(disc).ellipse((8, 8, DRAWING_SIZE - 8, DRAWING_SIZE - 8), fill="#2040c0")
    return Pictures({word: [disc] for word in vocabulary.WORDS}, [], [])


def _solid(pictures: Pictures, wish: Wish, seeds: int = 30) -> list[np.ndarray]:
    layers = [draw_thing(pictures, np.random.default_rng(s), wish, GREY) for s in range(seeds)]
    return [(layer[..., 3] > 0.6) & (layer[..., :3].max(2) > 0.2) for layer in layers]


def _pieces(solid: np.ndarray) -> int:
    """How many things stand side by side: runs of columns that hold some of one."""
    filled = solid.any(0).astype(int)
    return int((np.diff(np.concatenate([[0], filled])) == 1).sum())


@pytest.mark.parametrize("count", [1, 2, 3])
def test_as_many_as_are_asked_for_stand_in_the_scene(pictures: Pictures, count: int) -> None:
    found = [_pieces(solid) for solid in _solid(pictures, Wish("star", count=count))]
    assert np.mean(np.array(found) == count) > 0.8


def test_a_big_one_is_larger_than_a_plain_one_and_a_small_one_smaller(pictures: Pictures) -> None:
    small, plain, big = (
        np.mean([solid.sum() for solid in _solid(pictures, Wish("star", size=size))])
        for size in ("small", "", "big")
    )
    assert 1.8 * small < plain < big / 1.2


@pytest.mark.parametrize("colour", sorted(vocabulary.HUES))
def test_a_drawing_takes_the_colour_asked_for_and_keeps_its_white(colour: str) -> None:
    drawing = Image.new("RGBA", (8, 8), "#2040c0")
    drawing.paste("white", (0, 0, 4, 8))
    coloured = np.asarray(recolour(drawing, colour).convert("HSV"), int)
    assert (coloured[:, :4, 1] == 0).all()
    away = np.abs(coloured[:, 4:, 0] - vocabulary.HUES[colour] / 360 * 255)
    assert (np.minimum(away, 255 - away) < 4).all()
    assert (coloured[:, 4:, 1] > 80).all()


def test_a_colour_that_is_kept_out_is_never_wished_for() -> None:
    rng = np.random.default_rng(0)
    held_out = [concept for concept in vocabulary.CONCEPTS if concept.unseen]
    assert len(held_out) >= 10
    for concept in held_out:
        drawn = {draw_wish(rng, concept.word).colour for _ in range(200)}
        assert drawn == {"", *vocabulary.HUES} - {concept.unseen}


def test_every_way_to_say_a_wish_is_made_of_known_words() -> None:
    known, rng = set(vocabulary.prompt_pieces()), np.random.default_rng(1)
    said = [draw_wish(rng, word).phrase(rng) for word in vocabulary.WORDS for _ in range(40)]
    assert {piece for phrase in said for piece in phrase.split()} <= known
    rng = np.random.default_rng(2)
    phrases = {Wish("car", "red", "big").phrase(rng) for _ in range(60)}
    assert {"big red car", "a big red car", "the big red automobile"} <= phrases
    assert Wish("butterfly", "", "", 3).phrase(rng) == "three butterflies"
    assert Wish("grapes").phrase(rng).split()[-1] == "grapes"
    assert vocabulary.with_article("grapes") == "grapes"
    assert vocabulary.with_article("orange") == "an orange"


@pytest.mark.parametrize(
    ("prompt", "word"),
    [
        ("two big red kittens", "cat"),
        ("a cable car", "cable car"),
        ("the automobile", "car"),
        ("three butterflies", "butterfly"),
        ("OPEN", "OPEN"),
        ("oscar", ""),
        ("a zebra", ""),
    ],
)
def test_what_a_prompt_asks_for(prompt: str, word: str) -> None:
    assert vocabulary.asked_for(prompt) == word

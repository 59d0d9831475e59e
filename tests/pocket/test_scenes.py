from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from onefill.pocket.material import scenes, vocabulary
from onefill.pocket.material.pictures import DRAWING_SIZE, Pictures
from onefill.pocket.material.scenes import (
    OBLONG,
    SIZE,
    SQUARE,
    Shape,
    draw_background,
    draw_scene,
    text_layer,
)


@pytest.fixture(scope="module")
def pictures() -> Pictures:
    """A disc for every word, two photographs and Pillow's own font."""
    drawings = {}
    for index, word in enumerate(vocabulary.WORDS):
        disc = Image.new("RGBA", (DRAWING_SIZE, DRAWING_SIZE))
        colour = (10 * index, 255 - 10 * index, 128, 255)
        ImageDraw.Draw(disc).ellipse((8, 8, DRAWING_SIZE - 8, DRAWING_SIZE - 8), fill=colour)
        drawings[word] = [disc]
    noise = np.random.default_rng(0).integers(0, 255, (2, 120, 160, 3), np.uint8)
    photographs = [Image.fromarray(picture) for picture in noise]
    return Pictures(drawings, photographs, [ImageFont.load_default(40)])


@pytest.mark.parametrize("task", sorted(scenes.TASK_SHARES))
def test_the_same_seed_draws_the_same_scene(pictures: Pictures, task: str) -> None:
    first, second = (draw_scene(pictures, np.random.default_rng(5), task) for _ in range(2))
    other = draw_scene(pictures, np.random.default_rng(6), task)
    assert np.array_equal(first.target, second.target)
    assert np.array_equal(first.mask, second.mask)
    assert first.prompt == second.prompt
    assert not np.array_equal(first.target, other.target)


@pytest.mark.parametrize("task", ["fill", "removal", "text"])
def test_the_mask_covers_what_was_put_on_the_background(pictures: Pictures, task: str) -> None:
    rng = np.random.default_rng(0)
    visible = 0
    for _ in range(40):
        scene = draw_scene(pictures, rng, task)
        changed = np.abs(scene.with_object.astype(int) - scene.background).max(2) > 60
        visible += bool(changed.any())
        assert (changed & ~scene.mask).sum() <= 0.06 * changed.sum()
        assert np.array_equal(
            scene.target, scene.background if task == "removal" else scene.with_object
        )
    assert visible > 30


def test_extend_masks_leave_one_rectangle_and_touch_the_border(pictures: Pictures) -> None:
    rng = np.random.default_rng(1)
    for _ in range(40):
        mask = draw_scene(pictures, rng, "extend").mask
        rows, columns = np.flatnonzero(~mask.all(1)), np.flatnonzero(~mask.all(0))
        kept = ~mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert kept.all()
        assert kept.sum() == (~mask).sum()
        assert mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any()


def test_every_prompt_is_made_of_known_pieces(pictures: Pictures) -> None:
    known = set(vocabulary.prompt_pieces())
    rng = np.random.default_rng(2)
    for _ in range(200):
        scene = draw_scene(pictures, rng)
        assert set(scene.prompt.split()) <= known
        assert scene.target.shape == (SIZE, SIZE, 3)


@pytest.mark.parametrize("shape", OBLONG)
def test_oblong_scenes_are_made_like_square_ones(pictures: Pictures, shape: Shape) -> None:
    rng = np.random.default_rng(3)
    for number in range(40):
        task = sorted(scenes.TASK_SHARES)[number % len(scenes.TASK_SHARES)]
        scene = draw_scene(pictures, rng, task, shape=shape)
        assert scene.target.shape == scene.with_object.shape == scene.background.shape
        assert scene.target.shape == (*shape, 3)
        assert scene.mask.shape == shape
        assert 0.04 < scene.mask.mean() < 0.85
        if task != "extend":
            changed = np.abs(scene.with_object.astype(int) - scene.background).max(2) > 0
            assert not (changed & ~scene.mask).any()


def test_oblong_shapes_have_about_as_many_pixels_and_fit_the_policy(pictures: Pictures) -> None:
    for height, width in OBLONG:
        assert height % 8 == width % 8 == 0
        assert 0.9 * SIZE**2 <= height * width <= 1.1 * SIZE**2
        assert (width, height) in OBLONG  # lying and upright alike
    assert SQUARE not in OBLONG


@pytest.mark.parametrize("shape", OBLONG)
def test_a_photograph_is_not_stretched_to_an_oblong_scene(shape: Shape) -> None:
    rows, columns = np.mgrid[:300, :500].astype(np.float64)
    tilted = np.stack([rows / 2, columns / 4, 0 * rows], 2).astype(np.uint8)
    slopes = Pictures({}, [Image.fromarray(tilted)], [])
    rng, seen = np.random.default_rng(0), 0
    while seen < 8:
        picture, photograph = draw_background(slopes, rng, shape)
        if photograph:
            down, across = (np.abs(np.diff(picture[..., c], axis=c)).mean() for c in (0, 1))
            # Twice as steep down as across in the photograph, so also in what is cut from it.
            if picture.min() > 0 and picture.max() < 1:
                assert 1.7 < down / across < 2.3
                seen += 1


def test_words_stay_inside_oblong_scenes(pictures: Pictures) -> None:
    rng = np.random.default_rng(4)
    for shape in OBLONG:
        for word in vocabulary.TEXT_WORDS:
            alpha = text_layer(pictures, rng, word, np.ones((*shape, 3), np.float32))[..., 3]
            assert alpha.shape == shape
            assert alpha.max() > 0.5

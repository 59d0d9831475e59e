from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from onefill.edit.crop import Box, Crop, bounding_box, choose_crop, shrink_mask, shrink_picture


@st.composite
def targets(draw: st.DrawFn, longest: int = 4000) -> tuple[Box, Box]:
    """A box inside bounds that need not start at the origin."""
    width = draw(st.integers(1, longest))
    height = draw(st.integers(1, longest))
    bounds = Box(draw(st.integers(0, 500)), draw(st.integers(0, 500)), width, height)
    wide, high = draw(st.integers(1, width)), draw(st.integers(1, height))
    x = bounds.x + draw(st.integers(0, width - wide))
    y = bounds.y + draw(st.integers(0, height - high))
    return Box(x, y, wide, high), bounds


models = st.sampled_from([(32, 8), (64, 8), (64, 16), (1024, 16)])
contexts = st.floats(0.01, 8)


@settings(max_examples=600)
@given(targets(), models, contexts, st.integers(0, 80))
def test_the_crop_holds_the_mask_and_stays_inside(
    boxes: tuple[Box, Box], model: tuple[int, int], context: float, feather: int
) -> None:
    target, bounds = boxes
    size, multiple = model
    crop = choose_crop(
        target, bounds, size=size, multiple=multiple, context=context, feather=feather
    )
    box = crop.box
    assert bounds.x <= box.x <= target.x and target.right <= box.right <= bounds.right
    assert bounds.y <= box.y <= target.y and target.bottom <= box.bottom <= bounds.bottom
    assert crop.width % multiple == 0 and crop.height % multiple == 0
    assert crop.width >= multiple and crop.height >= multiple
    # The whole band is inside, or the bounds end there.
    assert target.x - box.x >= min(feather, target.x - bounds.x)
    assert box.right - target.right >= min(feather, bounds.right - target.right)
    assert target.y - box.y >= min(feather, target.y - bounds.y)
    assert box.bottom - target.bottom >= min(feather, bounds.bottom - target.bottom)


@settings(max_examples=300)
@given(targets(), models)
def test_the_work_is_that_of_the_models_own_square(
    boxes: tuple[Box, Box], model: tuple[int, int]
) -> None:
    size, multiple = model
    crop = choose_crop(*boxes, size=size, multiple=multiple)
    if crop.width > multiple and crop.height > multiple:
        assert 0.6 * size**2 < crop.width * crop.height < 1.6 * size**2


@settings(max_examples=300)
@given(targets(), models)
def test_pictures_are_hardly_stretched(boxes: tuple[Box, Box], model: tuple[int, int]) -> None:
    size, multiple = model
    crop = choose_crop(*boxes, size=size, multiple=multiple)
    if min(crop.width, crop.height) < 2 * multiple or min(crop.box[2:]) < 16:
        return  # a strip narrower than the model can show
    stretch = (crop.box.width / crop.width) / (crop.box.height / crop.height)
    shortest = min(crop.width, crop.height)
    assert abs(stretch - 1) < 0.75 * multiple / (shortest - multiple / 2) + 0.1


def test_a_mask_in_the_middle_gets_a_square_with_context_all_round() -> None:
    crop = choose_crop(Box(1300, 700, 600, 500), Box(0, 0, 3000, 2000), size=64, multiple=8)
    assert crop.box.width == crop.box.height
    assert (crop.width, crop.height) == (64, 64)
    assert crop.box.width > 1.5 * 600
    assert abs((crop.box.x + crop.box.right) / 2 - 1600) <= 1
    assert abs((crop.box.y + crop.box.bottom) / 2 - 950) <= 1


def test_a_small_mask_is_painted_at_full_resolution() -> None:
    crop = choose_crop(Box(1500, 1000, 9, 5), Box(0, 0, 3000, 2000), size=64, multiple=8)
    assert crop.box[2:] == (64, 64)
    assert crop.scale == 1


def test_a_mask_in_the_corner_gets_its_context_from_the_other_sides() -> None:
    crop = choose_crop(Box(0, 0, 100, 100), Box(0, 0, 800, 600), size=64, multiple=8)
    assert crop.box[:2] == (0, 0)
    assert crop.box[2:] == (200, 200)


def test_a_whole_picture_mask_is_the_whole_picture() -> None:
    bounds = Box(0, 0, 3000, 2000)
    crop = choose_crop(bounds, bounds, size=64, multiple=8)
    assert crop.box == bounds
    assert (crop.width, crop.height) == (80, 56)


def test_bounding_box_of_scattered_regions() -> None:
    mask = np.zeros((20, 30), bool)
    mask[3, 25] = mask[17, 4] = True
    assert bounding_box(mask) == Box(4, 3, 22, 15)


@settings(max_examples=200)
@given(
    st.integers(1, 90), st.integers(1, 90), st.integers(1, 5), st.integers(1, 5), st.integers(0, 99)
)
def test_every_masked_pixel_is_masked_for_the_model(
    width: int, height: int, wide: int, high: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.random((height, width)) < rng.choice([0.002, 0.05, 0.5])
    mask[rng.integers(height), rng.integers(width)] = True
    crop = Crop(Box(0, 0, width, height), 8 * wide, 8 * high)
    small = shrink_mask(mask, crop)
    assert small.shape == (crop.height, crop.width)
    rows, columns = np.nonzero(mask)
    # Each masked pixel, from its first to its last edge, lies on masked working pixels.
    for edge in (1e-9, 0.5, 1 - 1e-9):
        row = ((rows + edge) * crop.height / height).astype(int)
        column = ((columns + edge) * crop.width / width).astype(int)
        assert small[row, column].all()
    if crop.height <= height and crop.width <= width:
        assert small.sum() <= 4 * mask.sum()


def test_a_hair_line_survives_any_reduction() -> None:
    mask = np.zeros((3000, 3000), bool)
    mask[1500, :] = True
    small = shrink_mask(mask, Crop(Box(0, 0, 3000, 3000), 64, 64))
    assert small.any(axis=0).all()
    assert small.sum() <= 2 * 64


def test_a_crop_of_the_working_size_is_not_resampled() -> None:
    picture = Image.effect_noise((64, 64), 60).convert("RGB")
    assert shrink_picture(picture, Crop(Box(5, 5, 64, 64), 64, 64)).tobytes() == picture.tobytes()

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from onefill.edit.canvas import Canvas
from onefill.edit.crop import Box, Crop, bounding_box, choose_crop
from onefill.edit.stitch import default_feather, feather_weights, grow_patch, stitch


def distance_to(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Brute force: for each pixel the distance to the nearest True one."""
    true = np.argwhere(mask)
    every = np.argwhere(np.ones_like(mask))
    squared = ((every[:, None, :] - true[None, :, :]) ** 2).sum(axis=2)
    return np.sqrt(squared.min(axis=1)).reshape(mask.shape)


@st.composite
def masks(draw: st.DrawFn, longest: int = 40) -> NDArray[np.bool_]:
    width, height = draw(st.integers(1, longest)), draw(st.integers(1, longest))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind = draw(st.sampled_from(["dots", "box", "line", "all", "border"]))
    mask = np.zeros((height, width), bool)
    if kind == "dots":
        mask = rng.random((height, width)) < 0.02
    elif kind == "box":
        y, x = rng.integers(height), rng.integers(width)
        mask[y : y + rng.integers(1, height + 1), x : x + rng.integers(1, width + 1)] = True
    elif kind == "line":
        mask[rng.integers(height)] = True
    elif kind == "all":
        mask[:] = True
    else:
        mask[:2] = mask[:, -1:] = True
    mask[rng.integers(height), rng.integers(width)] = True
    return mask


@settings(max_examples=300)
@given(masks(), st.integers(0, 30))
def test_weights_follow_the_distance_to_the_mask(mask: NDArray[np.bool_], feather: int) -> None:
    weights = feather_weights(mask, feather)
    distance = distance_to(mask)
    assert (weights[mask] == 1).all()
    assert (weights[distance > feather] == 0).all()
    band = (distance > 0) & (distance <= feather)
    expected = 0.5 + 0.5 * np.cos(np.pi * distance[band] / (feather + 1))
    np.testing.assert_allclose(weights[band], expected, atol=1e-5)
    assert (weights[band] > 0).all()


@settings(max_examples=500)
@given(masks(), st.integers(0, 12), st.sampled_from([1, 2, 3, 4]), st.integers(0, 2**32 - 1))
def test_outside_mask_and_band_every_bit_stays(
    mask: NDArray[np.bool_], feather: int, channels: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    height, width = mask.shape
    canvas = Canvas(rng.integers(0, 256, (height, width, channels), np.uint8))
    before = canvas.pixels.copy()
    crop = choose_crop(bounding_box(mask), canvas.box, size=16, multiple=8, feather=feather)
    painting = rng.integers(0, 256, (crop.height, crop.width, 3), np.uint8)
    patch = Image.fromarray(painting)
    weights = feather_weights(mask[crop.box.slices], feather)
    after = stitch(canvas, crop, patch, weights).pixels

    assert (canvas.pixels == before).all()
    assert after.shape == before.shape
    outside = distance_to(mask) > feather
    assert (after[outside] == before[outside]).all()
    if channels in (2, 4):
        assert (after[..., -1] == before[..., -1]).all()
    grown = grow_patch(patch, crop)
    inside = np.asarray(grown if channels > 2 else grown.convert("L")).reshape(
        crop.box.height, crop.box.width, -1
    )
    region = mask[crop.box.slices]
    colours = 3 if channels > 2 else 1
    assert (after[crop.box.slices][region][:, :colours] == inside[region]).all()


def test_the_band_blends_from_painting_to_picture() -> None:
    canvas = Canvas(np.zeros((64, 64, 3), np.uint8))
    mask = np.zeros((64, 64), bool)
    mask[:, :20] = True
    crop = Crop(canvas.box, 64, 64)
    white = Image.new("RGB", (64, 64), "white")
    row = stitch(canvas, crop, white, feather_weights(mask, 8)).pixels[30, :, 0].astype(int)
    assert (row[:20] == 255).all() and (row[28:] == 0).all()
    assert (np.diff(row[19:29]) < 0).all()


def test_a_feather_wider_than_the_picture_is_fine() -> None:
    mask = np.zeros((5, 7), bool)
    mask[2, 3] = True
    assert (feather_weights(mask, 500) > 0.99).all()


@pytest.mark.parametrize(("box", "expected"), [(64, 2), (640, 10), (1000, 16)])
def test_the_default_band_is_one_pixel_of_the_model(box: int, expected: int) -> None:
    assert default_feather(Crop(Box(0, 0, box, box), 64, 64)) == expected


@settings(max_examples=100)
@given(st.integers(1, 30), st.integers(1, 30), st.sampled_from([1, 2, 3, 4]), st.data())
def test_an_enlarged_canvas_holds_the_picture_unchanged(
    width: int, height: int, channels: int, data: st.DataObject
) -> None:
    rng = np.random.default_rng(0)
    canvas = Canvas(rng.integers(0, 256, (height, width, channels), np.uint8))
    wide, high = width + data.draw(st.integers(0, 20)), height + data.draw(st.integers(0, 20))
    x, y = data.draw(st.integers(0, wide - width)), data.draw(st.integers(0, high - height))
    keep = Box(x, y, width, height)
    larger = canvas.enlarge(wide, high, keep)
    assert larger.pixels.shape == (high, wide, channels)
    assert (larger.pixels[keep.slices] == canvas.pixels).all()
    if larger.has_alpha:
        new = np.ones((high, wide), bool)
        new[keep.slices] = False
        assert (larger.pixels[new][:, -1] == 255).all()


def test_what_is_transparent_shows_white() -> None:
    pixels = np.zeros((2, 2, 4), np.uint8)
    pixels[0, 0] = (10, 20, 30, 255)
    view = np.asarray(Canvas(pixels).view(Box(0, 0, 2, 2)))
    assert view[0, 0].tolist() == [10, 20, 30]
    assert (view[1] == 255).all()

"""Thousands of random pictures, masks, bands and models: what no edit touches keeps its bits.

No model paints here: the painting is noise, so that whatever leaks out of the mask is seen. The
distance to a mask made of boxes is known without looking at a pixel.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from onefill.edit.canvas import Canvas
from onefill.edit.crop import (
    Box,
    Crop,
    bounding_box,
    choose_crop,
    shrink_mask,
    shrink_picture,
)
from onefill.edit.stitch import default_feather, feather_weights, stitch

_MODELS = ((16, 8), (32, 8), (64, 8), (64, 16), (96, 16))
_GROUPS, _CASES = 8, 500


@dataclass(frozen=True)
class Case:
    """One random edit."""

    canvas: Canvas
    boxes: list[Box]
    feather: int | None
    size: int
    multiple: int

    @property
    def mask(self) -> NDArray[np.bool_]:
        mask = np.zeros(self.canvas.pixels.shape[:2], bool)
        for box in self.boxes:
            mask[box.slices] = True
        return mask

    def distance(self) -> NDArray[np.float64]:
        """Of every pixel to the mask: to the nearest of its boxes."""
        height, width = self.canvas.pixels.shape[:2]
        y, x = np.arange(height)[:, None], np.arange(width)[None]
        nearest = np.full((height, width), np.inf)
        for box in self.boxes:
            beside = np.maximum(np.maximum(box.x - x, x - box.right + 1), 0)
            above = np.maximum(np.maximum(box.y - y, y - box.bottom + 1), 0)
            nearest = np.minimum(nearest, np.hypot(beside, above))
        return nearest


def draw_length(rng: np.random.Generator, longest: int) -> int:
    """From 1 to ``longest``; short ones are as likely as long ones."""
    return int(np.exp(rng.uniform(0, np.log(longest + 1))))


def draw_case(rng: np.random.Generator) -> Case:
    width, height = draw_length(rng, 400), draw_length(rng, 400)
    boxes = []
    for _ in range(rng.integers(1, 5)):
        wide, high = draw_length(rng, width), draw_length(rng, height)
        x, y = rng.integers(width - wide + 1), rng.integers(height - high + 1)
        boxes.append(Box(int(x), int(y), wide, high))
    size, multiple = _MODELS[rng.integers(len(_MODELS))]
    channels = int(rng.integers(1, 5))
    pixels = rng.integers(0, 256, (height, width, channels), np.uint8)
    feather = None if rng.random() < 0.3 else int(rng.integers(0, 40))
    return Case(Canvas(pixels), boxes, feather, size, multiple)


def edit(case: Case, rng: np.random.Generator) -> tuple[Canvas, Crop, int]:
    """What an edit does around its painting."""
    mask = case.mask
    crop = choose_crop(
        bounding_box(mask),
        case.canvas.box,
        size=case.size,
        multiple=case.multiple,
        feather=case.feather or 0,
    )
    feather = default_feather(crop) if case.feather is None else case.feather
    part = mask[crop.box.slices]
    seen = shrink_picture(case.canvas.view(crop.box), crop)
    shown = shrink_mask(part, crop)
    assert seen.size == (crop.width, crop.height) and shown.shape == (crop.height, crop.width)
    assert crop.width % case.multiple == 0 and crop.height % case.multiple == 0
    assert shown.any()
    painting = rng.integers(0, 256, (crop.height, crop.width, 3), np.uint8)
    weights = feather_weights(part, feather)
    return stitch(case.canvas, crop, Image.fromarray(painting), weights), crop, feather


@pytest.mark.parametrize("group", range(_GROUPS))
def test_outside_mask_and_band_every_bit_stays(group: int) -> None:
    rng = np.random.default_rng(group)
    changed = 0
    for _ in range(_CASES):
        case = draw_case(rng)
        before = case.canvas.pixels.copy()
        after, crop, feather = edit(case, rng)
        assert (case.canvas.pixels == before).all()  # the photograph itself is never painted on
        assert after.pixels.shape == before.shape and after.pixels.dtype == np.uint8
        far = case.distance() > feather
        assert (after.pixels[far] == before[far]).all(), (case.boxes, crop, feather)
        if case.canvas.has_alpha:
            assert (after.pixels[..., -1] == before[..., -1]).all()
        for box in case.boxes:  # the whole mask is inside what was painted
            assert crop.box.x <= box.x and box.right <= crop.box.right
            assert crop.box.y <= box.y and box.bottom <= crop.box.bottom
        changed += bool((after.pixels[case.mask] != before[case.mask]).any())
    assert changed > 0.9 * _CASES  # a mask of one pixel may be given its own colour


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_a_lossless_file_holds_exactly_those_bits(kind: str) -> None:
    rng = np.random.default_rng(77)
    for _ in range(150):
        case = draw_case(rng)
        after, _, feather = edit(case, rng)
        pixels = after.pixels
        image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
        stream = io.BytesIO()
        options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
        image.save(stream, kind, **options)
        with Image.open(stream) as reopened:
            read = np.asarray(reopened.convert(image.mode)).reshape(pixels.shape)
        far = case.distance() > feather
        assert (read == pixels).all()
        assert (read[far] == case.canvas.pixels[far]).all()


def test_crops_of_pictures_of_any_size_hold_mask_and_band() -> None:
    rng = np.random.default_rng(5)
    for _ in range(3000):
        width, height = draw_length(rng, 12_000), draw_length(rng, 12_000)
        wide, high = draw_length(rng, width), draw_length(rng, height)
        x, y = int(rng.integers(width - wide + 1)), int(rng.integers(height - high + 1))
        target, bounds = Box(x, y, wide, high), Box(0, 0, width, height)
        size, multiple = ((64, 8), (512, 16), (1024, 16))[rng.integers(3)]
        feather = int(rng.integers(0, 100))
        crop = choose_crop(target, bounds, size=size, multiple=multiple, feather=feather)
        box = crop.box
        assert 0 <= box.x <= max(0, x - feather)
        assert box.right >= min(width, target.right + feather) and box.right <= width
        assert 0 <= box.y <= max(0, y - feather)
        assert min(height, target.bottom + feather) <= box.bottom <= height
        assert min(crop.width, crop.height) >= multiple
        assert crop.width % multiple == 0 and crop.height % multiple == 0

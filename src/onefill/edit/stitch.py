"""Bring a painted crop back to the picture's size and blend it in along a feather band."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from onefill.edit.canvas import Canvas
from onefill.edit.crop import Crop, bounding_box
from onefill.tasks.types import Mask

_NARROWEST = 2


def default_feather(crop: Crop) -> int:
    """Width of the band in picture pixels: one working pixel, and at least two."""
    return max(_NARROWEST, math.ceil(crop.scale))


def feather_weights(mask: Mask, feather: int) -> NDArray[np.float32]:
    """How much of the painting each pixel takes: 1 in the mask, 0 beyond the feather band.

    The band lies outside the mask, so that nothing of what was masked shows through; across it
    the weight falls along a raised cosine of the Euclidean distance to the mask.

    Args:
        mask: (H, W), with at least one True pixel.
        feather: width of the band in pixels; 0 gives a hard edge.

    Returns:
        (H, W) in [0, 1]; exactly 0 at distances greater than ``feather``.
    """
    weights = mask.astype(np.float32)
    box = bounding_box(mask)
    near = (
        slice(max(0, box.y - feather), box.bottom + feather),
        slice(max(0, box.x - feather), box.right + feather),
    )
    part = mask[near]
    rows, columns = np.nonzero(_reach(_reach(part, feather).T, feather).T & ~part)
    squared = _squared_distance(part, rows, columns, feather)
    fall = 0.5 + 0.5 * np.cos(np.pi * np.sqrt(squared) / (feather + 1))
    weights[near][rows, columns] = np.where(squared > feather**2, 0, fall)
    return weights


def _reach(mask: Mask, steps: int) -> Mask:
    """True where a True pixel is at most ``steps`` away along the first axis."""
    counts = np.concatenate([np.zeros_like(mask[:1], np.int32), mask.cumsum(0, dtype=np.int32)])
    rows = np.arange(len(mask))
    return counts[np.minimum(rows + steps + 1, len(mask))] > counts[np.maximum(rows - steps, 0)]


def _squared_distance(
    mask: Mask, rows: NDArray[np.intp], columns: NDArray[np.intp], limit: int
) -> NDArray[np.int32]:
    """Exact squared distance from some pixels to the mask; above limit² it only means "far"."""
    far = limit + 1
    row = np.arange(mask.shape[0], dtype=np.int32)[:, None]
    above = np.maximum.accumulate(np.where(mask, row, -far), axis=0)
    below = np.minimum.accumulate(np.where(mask, row, len(row) + far)[::-1], axis=0)[::-1]
    vertical = np.minimum(np.minimum(row - above, below - row), far).astype(np.int32) ** 2
    reach = min(limit, mask.shape[1])
    vertical = np.pad(vertical, ((0, 0), (reach, reach)), constant_values=far**2)
    places = rows * vertical.shape[1] + columns + reach
    nearest = vertical.take(places)
    for shift in range(1, reach + 1):
        sides = np.minimum(vertical.take(places - shift), vertical.take(places + shift))
        np.minimum(nearest, sides + shift**2, out=nearest)
    return nearest


def grow_patch(patch: Image.Image, crop: Crop) -> Image.Image:
    """A painting of the working size at the size of the crop's box."""
    size = (crop.box.width, crop.box.height)
    if patch.size == size:
        return patch
    # Lanczos rings when it enlarges many times; bicubic hardly does.
    enlarges = crop.box.width * crop.box.height >= crop.width * crop.height
    kernel = Image.Resampling.BICUBIC if enlarges else Image.Resampling.LANCZOS
    return patch.resize(size, kernel)


def stitch(canvas: Canvas, crop: Crop, patch: Image.Image, weights: NDArray[np.float32]) -> Canvas:
    """The canvas with a painting of the crop blended in.

    Args:
        canvas: the whole picture.
        crop: where the painting belongs.
        patch: RGB at the crop's working size.
        weights: (height, width) of the crop's box, from ``feather_weights``.
    """
    return canvas.paste(crop.box, grow_patch(patch, crop), weights)

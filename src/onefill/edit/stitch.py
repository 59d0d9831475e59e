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
    weights = np.zeros(mask.shape, np.float32)
    near = _surroundings(mask, feather)
    squared = _squared_distance(mask[near], feather)
    distance = np.sqrt(np.minimum(squared, (feather + 1) ** 2), dtype=np.float32)
    fall = 0.5 + 0.5 * np.cos(np.pi * distance / (feather + 1))
    weights[near] = np.where(squared > feather**2, 0, fall)
    return weights


def _surroundings(mask: Mask, margin: int) -> tuple[slice, slice]:
    box = bounding_box(mask)
    rows = slice(max(0, box.y - margin), box.bottom + margin)
    return rows, slice(max(0, box.x - margin), box.right + margin)


def _squared_distance(mask: Mask, limit: int) -> NDArray[np.int32]:
    """Exact squared distance to the nearest True pixel; values above limit² only mean "far"."""
    far = limit + 1
    rows = np.arange(mask.shape[0], dtype=np.int32)[:, None]
    above = np.maximum.accumulate(np.where(mask, rows, -far), axis=0)
    below = np.minimum.accumulate(np.where(mask, rows, len(rows) + far)[::-1], axis=0)[::-1]
    vertical = np.minimum(np.minimum(rows - above, below - rows), far) ** 2
    nearest = vertical.copy()
    for shift in range(1, min(limit, mask.shape[1] - 1) + 1):
        step = vertical + shift**2
        np.minimum(nearest[:, shift:], step[:, :-shift], out=nearest[:, shift:])
        np.minimum(nearest[:, :-shift], step[:, shift:], out=nearest[:, :-shift])
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

"""The shadow that an object casts on even ground: what is taken out takes it along.

A shadow is the ground with less light: about the same chromaticity, darker in all channels. Whether
a dark patch beside an object is one cannot be known for certain, so all that is looked for is what
can hardly be anything else: much of what surrounds the object is one ground, and the patch lies
against the object, ends inside that ground, and is not much larger than the object. The limits were
chosen on photographs with shadows drawn into them, as ``bench/edit_shadow.py`` draws others.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from onefill.edit.canvas import Canvas
from onefill.edit.crop import Box, Crop, bounding_box, shrink_mask
from onefill.edit.grow import dilate
from onefill.edit.separate import connected_parts
from onefill.tasks.types import Mask

REACH = 1.25
"""How far from the mask a shadow is looked for, in sides of a square as large as the mask."""

MOST = 1.5
"""What a shadow may take in at most, in areas of the mask."""

_SIDE = 40  # cells of the side of that square: a shadow needs no finer grid
_EDGE = 2  # cells next to the mask that show the object's own blurred edge
_GAMMA, _DARKEST = 2.2, 0.003  # of light from values in [0, 1]; noise rules below the latter

# Of the natural logarithm of light, against the ground:
_TINT = 0.5  # channels may differ by so much: outdoors a shadow is lit by the blue sky
_EVEN = 0.4  # ground
_FAINT, _DEEP = 0.25, 3.2  # shadow
_SPREADS = 3.0  # and beyond so many standard deviations of the ground's own texture

_GROUND = 0.35  # share of the surroundings that is ground
_AROUND = 0.5  # share of what lies round a shadow that is ground
_TOUCH = 0.1  # share of the mask's outline that a shadow lies against
_LEAST = 0.05  # area of a shadow, in areas of the mask
_CUT = 0.6  # length on the rim of the search, in sides of a square as large as the shadow


def find_shadow(canvas: Canvas, mask: Mask) -> Mask:
    """What lies in the shadow of the masked object; nothing where that is not plain to see.

    Args:
        canvas: the picture.
        mask: (H, W) of the picture, with at least one True.

    Returns:
        (H, W), without any pixel of the mask; at most ``MOST`` times as large and within
        ``REACH`` of it.
    """
    shadow = np.zeros_like(mask)
    side = math.sqrt(np.count_nonzero(mask))
    box = _search_box(bounding_box(mask), canvas.box, math.ceil(REACH * side))
    if canvas.has_alpha and (canvas.pixels[box.slices][..., -1] < 255).any():
        return shadow  # the ground is partly not there
    scale = min(1.0, _SIDE / side)
    size = (math.ceil(box.width * scale), math.ceil(box.height * scale))
    covered = shrink_mask(mask[box.slices], Crop(box, *size))
    colours = Canvas(canvas.pixels[..., : canvas.colours])  # spares the view its blending
    found = _find(_light(colours.view(box), size), covered, side * scale)
    if not found.any():
        return shadow
    grid = Image.fromarray(found).resize((box.width, box.height), Image.Resampling.NEAREST)
    near = dilate(mask, math.floor(REACH * side))
    shadow[box.slices] = np.asarray(grid)
    shadow &= near & ~mask
    if np.count_nonzero(shadow) > MOST * np.count_nonzero(mask):
        return np.zeros_like(mask)
    return shadow


def _search_box(target: Box, canvas: Box, margin: int) -> Box:
    x, y = max(0, target.x - margin), max(0, target.y - margin)
    right = min(canvas.width, target.right + margin)
    bottom = min(canvas.height, target.bottom + margin)
    return Box(x, y, right - x, bottom - y)


def _light(picture: Image.Image, size: tuple[int, int]) -> NDArray[np.float64]:
    """Logarithm of the light in each cell: (h, w, 3)."""
    values = np.asarray(picture.resize(size, Image.Resampling.BOX), np.float64) / 255
    return np.log(values**_GAMMA + _DARKEST)


def _find(light: NDArray[np.float64], mask: Mask, side: float) -> Mask:
    """The cells in shadow.

    Args:
        light: see ``_light``.
        mask: (h, w), the object.
        side: of a square as large as it, in cells.
    """
    nothing = np.zeros_like(mask)
    near = dilate(mask, _EDGE)
    far = dilate(mask, math.floor(REACH * side))
    ring = far & ~near
    if not ring.any():
        return nothing
    # The ground is what most of the brighter half of the surroundings looks like.
    bright = light[ring].mean(axis=-1)
    ground_light = np.median(light[ring][bright >= np.median(bright)], axis=0)
    above = light - ground_light
    same_colour = np.ptp(above, axis=-1) < _TINT
    level = above.mean(axis=-1)
    ground = same_colour & (np.abs(level) < _EVEN) & ring
    if np.count_nonzero(ground) < _GROUND * np.count_nonzero(ring):
        return nothing
    texture = level[ground]
    spread = 1.48 * np.median(np.abs(texture - np.median(texture)))
    dark = (level < -max(_FAINT, _SPREADS * spread)) & (level > -_DEEP)
    dark = _without_specks(same_colour & dark & ring) & ring
    outline = dilate(near, _EDGE) & ~near
    rim = far & ~_inside(far)
    shadow = nothing
    for part in connected_parts(dark) if dark.any() else ():
        area = np.count_nonzero(part)
        around = dilate(part, 2 * _EDGE) & ~dilate(part, _EDGE) & ring
        if (
            area >= _LEAST * np.count_nonzero(mask)
            and np.count_nonzero(part & outline) >= _TOUCH * np.count_nonzero(outline)
            and np.count_nonzero(around & ground) >= _AROUND * np.count_nonzero(around)
            and np.count_nonzero(part & rim) < _CUT * math.sqrt(area)
        ):
            shadow = shadow | part
    if not shadow.any():
        return nothing
    # What lies between a shadow and the mask's edge, and the shadow's own soft edge.
    return dilate(shadow, _EDGE) & far


def _without_specks(mask: Mask) -> Mask:
    """True where at least five of the nine cells around are."""
    padded = np.pad(mask.astype(np.uint8), 1, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3))
    return windows.sum(axis=(2, 3)) >= 5


def _inside(mask: Mask) -> Mask:
    """True where the four neighbours are, too; the picture goes on beyond its border."""
    padded = np.pad(mask, 1, mode="edge")
    sides = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    return np.logical_and.reduce((mask, *sides))

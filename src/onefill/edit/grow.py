"""A mask made larger: what is taken out of a picture takes its shadow and its halo along."""

from __future__ import annotations

import math

import numpy as np

from onefill.edit.crop import bounding_box
from onefill.edit.length import parse_length
from onefill.errors import BadInput
from onefill.tasks.types import Mask

USUAL_GROWTH = {"removal": "8%"}
"""By the name of a built-in task; the others paint what they are given."""

_LEAST = 3  # pixels of a growth in percent: an outline drawn by hand misses the edge by as much
_MOST = 4096
_MOST_CELLS = 32


def grow_mask(mask: Mask, growth: str) -> Mask:
    """Every pixel that is at most so far from the mask.

    Args:
        mask: (H, W), with at least one True.
        growth: pixels, or percent of the side of a square as large as what is painted: objects
            far apart do not make each other's margin wide, as a common box would.

    Raises:
        BadInput: it is no length, or a wider one than any picture needs.
    """
    where = f"--grow {growth}"
    wanted = parse_length(growth, math.sqrt(np.count_nonzero(mask)), where=where)
    if wanted > _MOST:
        raise BadInput(f"{where}: at most {_MOST} pixels")
    reach = round(wanted)
    if growth.strip().endswith("%") and wanted > 0:
        reach = max(_LEAST, reach)
    return dilate(mask, reach)


def dilate(mask: Mask, reach: int) -> Mask:
    """Every pixel at most ``reach`` pixels from the mask; wide reaches to within a twentieth.

    Args:
        mask: (H, W), with at least one True.
        reach: pixels between the centres; 0 leaves the mask as it is.
    """
    if reach < 1:
        return mask
    box = bounding_box(mask)
    near = (
        slice(max(0, box.y - reach), box.bottom + reach),
        slice(max(0, box.x - reach), box.right + reach),
    )
    whole = mask.copy()
    whole[near] |= _dilate_coarsely(mask[near], reach)
    return whole


def _dilate_coarsely(mask: Mask, reach: int) -> Mask:
    """On a grid so coarse that the reach is few cells: the work grows with the square of it."""
    cell = -(-reach // _MOST_CELLS)
    if cell == 1:
        return _dilate(mask, reach)
    height, width = mask.shape
    cells = np.pad(mask, ((0, -height % cell), (0, -width % cell)))
    coarse = np.any(cells.reshape(cells.shape[0] // cell, cell, -1, cell), axis=(1, 3))
    grown = _dilate(coarse, round(reach / cell))
    return grown.repeat(cell, axis=0).repeat(cell, axis=1)[:height, :width]


def _dilate(mask: Mask, reach: int) -> Mask:
    rows, columns = mask.shape
    padded = np.pad(mask, reach)
    grown = np.zeros_like(mask)
    # A disc is a stack of horizontal bars; each bar is one difference of running counts.
    counts = np.zeros((padded.shape[0], padded.shape[1] + 1), np.int32)
    np.cumsum(padded, axis=1, dtype=np.int32, out=counts[:, 1:])
    for shift in range(-reach, reach + 1):
        half = math.isqrt(reach**2 - shift**2)
        bar = counts[reach + shift : reach + shift + rows]
        ends = bar[:, reach + half + 1 : reach + half + 1 + columns]
        grown |= ends > bar[:, reach - half : reach - half + columns]
    return grown

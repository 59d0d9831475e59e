"""The surroundings of a mask carried into it: as a start for painting, and as a correction.

Both are the smoothest surface that meets what is known at the mask's edge (a membrane: Perez et
al. 2003, "Poisson image editing", section 2).

As a start, it is what a removal most probably shows, up to structure and grain.

As a correction: the model paints the whole crop, the known pixels too, and never quite in their
colours: the VAE rounds them, and a smooth sky comes out a shade off. How far it is off can be
seen outside the mask; carried into it, that error is taken away. What was painted keeps its own
shapes; only a slow change of colour is added.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from onefill.tasks.types import Mask

Planes = NDArray[np.float32]
"""Shape (3, H, W); of pictures, values in [0, 1]."""

_FINEST = 64
"""Longest side of the grid that the membrane is computed on: it has no fine detail."""

_COARSEST, _SWEEPS = 4, 48
_LEAST_KNOWN = 1e-3


def fill_smoothly(known: Planes, mask: Mask) -> Planes:
    """The picture with the mask filled by the membrane of its surroundings.

    Args:
        known: the picture; its pixels inside the mask do not matter.
        mask: (H, W), True where it is filled.

    Returns:
        (3, H, W) in [0, 1]; mid-grey where the mask covers everything.
    """
    if mask.all():
        return np.full_like(known, 0.5)
    return np.where(mask, _carry_in(known, mask), known).astype(np.float32)


def match_colours(painted: Planes, known: Planes, mask: Mask) -> Planes:
    """The painting with its slow colour error, as seen outside the mask, taken away.

    Args:
        painted: what the model made of the crop, inside the mask and outside.
        known: the picture; its pixels inside the mask do not matter.
        mask: (H, W), True where the model paints.

    Returns:
        (3, H, W) in [0, 1]; ``painted`` as it is if the mask leaves nothing to compare with.
    """
    if mask.all():
        return painted
    return np.clip(painted + _carry_in(known - painted, mask), 0, 1).astype(np.float32)


def _carry_in(field: Planes, mask: Mask) -> Planes:
    """A field known outside the mask, with its membrane inside; slow changes only."""
    height, width = mask.shape
    weight = (~mask).astype(np.float32)[None]
    shrink = min(1.0, _FINEST / max(height, width))
    size = (max(1, round(height * shrink)), max(1, round(width * shrink)))
    surface = _membrane(_resize(field * weight, size), _resize(weight, size))
    return _resize(surface, (height, width))


def _membrane(sums: Planes, weight: NDArray[np.float32]) -> Planes:
    """Fill in where nothing is known, coarse grids first.

    Args:
        sums: (3, h, w), mean of a cell times the known share of it.
        weight: (1, h, w), the known share, 0 to 1.
    """
    size = weight.shape[1:]
    known = weight > _LEAST_KNOWN
    values = np.where(known, sums / np.maximum(weight, _LEAST_KNOWN), 0).astype(np.float32)
    if known.all():
        return values
    if max(size) <= _COARSEST:
        start = values[:, known[0]].mean(1)[:, None, None]
    else:
        half = ((size[0] + 1) // 2, (size[1] + 1) // 2)
        start = _resize(_membrane(_resize(sums, half), _resize(weight, half)), size)
    # In place, with its border repeated outwards: new arrays cost more than the sums in them.
    padded = np.pad(np.where(known, values, start), ((0, 0), (1, 1), (1, 1)), mode="edge")
    surface, unknown = padded[:, 1:-1, 1:-1], ~known
    around = np.empty_like(surface)
    for _ in range(_SWEEPS):
        np.add(padded[:, :-2, 1:-1], padded[:, 2:, 1:-1], out=around)
        around += padded[:, 1:-1, :-2]
        around += padded[:, 1:-1, 2:]
        around /= 4
        np.copyto(surface, around, where=unknown)
        padded[:, 0], padded[:, -1] = padded[:, 1], padded[:, -2]
        padded[:, :, 0], padded[:, :, -1] = padded[:, :, 1], padded[:, :, -2]
    return surface.astype(np.float32)


def _resize(planes: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    if planes.shape[1:] == size:
        return planes
    kernel = Image.Resampling.BOX if size[0] < planes.shape[1] else Image.Resampling.BILINEAR
    return np.stack(
        [
            np.asarray(Image.fromarray(plane).resize(size[::-1], kernel), np.float32)
            for plane in planes.astype(np.float32)
        ]
    )

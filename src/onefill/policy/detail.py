"""Fine detail that a painting lacks, taken from where its surroundings look the same.

A VAE smooths, and so does a model that is not sure. What that takes away can be seen outside the
mask, where the picture is known and painted as well: there the two differ by just that detail.
Inside, each pixel is given the detail of the known pixel whose neighbourhood in the painting is
most like its own (the painting and the picture are the pair A, A' of Hertzmann et al. 2001, "Image
analogies", section 3; only the high frequencies are taken over).
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from onefill.policy.surroundings import Planes
from onefill.tasks.types import Mask

_SIDE = 5
"""Pixels a side of a neighbourhood."""

_RADIUS = 2.0
"""Standard deviation in pixels of the blur that what is slower is measured by."""

_DITHER = 1 / 255
"""Differences that nobody sees decide nothing."""

_FEWEST, _MOST = 64, 4096
"""Known places to choose from: with fewer nothing is changed, of more an even part is taken."""

_TOGETHER = 1024


def give_detail(matched: Planes, painted: Planes, known: Planes, mask: Mask) -> Planes:
    """The painting with fine detail like that of the pixels round the mask.

    Args:
        matched: what is shown inside the mask, from ``match_colours``.
        painted: what the model made of the whole crop, inside the mask and outside.
        known: the picture; its pixels inside the mask do not matter.
        mask: (H, W), True where the model paints.

    Returns:
        (3, H, W) in [0, 1]; ``matched`` as it is where too little is known round the mask.
    """
    places = whole_places(mask, _SIDE)
    holes = np.flatnonzero(mask)
    if len(places) < _FEWEST or not len(holes):
        return matched
    places = places[:: -(-len(places) // _MOST)]
    # Where the painting is flat all places are alike, and all pixels would take the same one.
    dither = np.random.default_rng(0).uniform(-_DITHER, _DITHER, painted.shape)
    around = _neighbourhoods((painted + dither).astype(np.float32))
    nearest = places[_nearest(around, holes, places)]
    difference = np.where(mask, 0, known - painted)
    detail = (difference - _blurred(difference, ~mask)).reshape(3, -1)
    result = matched.reshape(3, -1).copy()
    result[:, holes] += detail[:, nearest]
    return np.clip(result, 0, 1).reshape(matched.shape).astype(np.float32)


def whole_places(mask: Mask, side: int) -> NDArray[np.intp]:
    """Flat indices of the middles of all squares wholly in the picture and off the mask."""
    padded = np.pad(mask, side // 2, constant_values=True)
    return np.flatnonzero(~sliding_window_view(padded, (side, side)).any((2, 3)))


def _neighbourhoods(picture: Planes) -> NDArray[np.float32]:
    """Views (3, H, W, side, side); the border is mirrored."""
    edge = _SIDE // 2
    padded = np.pad(picture, ((0, 0), (edge, edge), (edge, edge)), mode="reflect")
    views: NDArray[np.float32] = sliding_window_view(padded, (_SIDE, _SIDE), axis=(1, 2))
    return views


def _nearest(
    around: NDArray[np.float32], holes: NDArray[np.intp], places: NDArray[np.intp]
) -> NDArray[np.intp]:
    """For each hole the index in ``places`` of the neighbourhood at the least distance."""
    choices = _rows(around, places)
    lengths = np.square(choices).sum(1)
    found = [
        (lengths - 2 * _rows(around, holes[start : start + _TOGETHER]) @ choices.T).argmin(1)
        for start in range(0, len(holes), _TOGETHER)
    ]
    return np.concatenate(found)


def _rows(around: NDArray[np.float32], places: NDArray[np.intp]) -> NDArray[np.float32]:
    """The neighbourhoods of some pixels, one a row, float32."""
    down, across = np.divmod(places, around.shape[2])
    rows = around[:, down, across].transpose(1, 0, 2, 3)
    return np.ascontiguousarray(rows, np.float32).reshape(len(places), -1)


def _blurred(planes: Planes, where: Mask) -> Planes:
    """A Gaussian blur of what is known, which what is not known does not enter."""
    weight = where.astype(np.float32)[None]
    return np.asarray(_blur(planes * weight) / np.maximum(_blur(weight), 1e-3), np.float32)


def _blur(planes: NDArray[np.float32]) -> NDArray[np.float32]:
    reach = round(3 * _RADIUS)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / _RADIUS) ** 2)
    kernel = (kernel / kernel.sum()).astype(np.float32)
    for axis in (1, 2):
        edges = [(0, 0)] * 3
        edges[axis] = (reach, reach)
        padded = np.pad(planes, edges, mode="edge")
        planes = np.asarray(
            sliding_window_view(padded, 2 * reach + 1, axis=axis) @ kernel, np.float32
        )
    return planes

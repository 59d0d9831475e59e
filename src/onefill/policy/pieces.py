"""A hole laid with pieces of what surrounds it, led by what a model painted there.

A small model knows which colour goes where, but not what grass looks like from near; the picture
round the mask knows that. From the rim inwards, each piece is the known one that goes best with
what is already there and, with less weight, with the painting below it (exemplar-based inpainting:
Criminisi et al. 2004, section 3, ordered by their confidence term alone). Pieces may be lightened
or darkened a little, as slopes of light need (Darabi et al. 2012, "Image melding", section 4.1).

What comes of it shows nothing but the surroundings: that is what a removal asks for, and no other
task.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from onefill.policy.detail import whole_places
from onefill.policy.surroundings import Planes
from onefill.tasks.types import Mask

_SIDE = 7
"""Pixels a side of a piece."""

_LED = 0.1
"""Weight of a painted pixel, where one that is known or laid has 1."""

_LIGHTER = 0.1
"""What a piece's channels may be lightened or darkened by, in values of [0, 1]."""

_SPREAD = _SIDE / 3
"""Standard deviation in pixels of the weights over a piece: its middle counts most."""

_FEWEST, _MOST = 32, 4096
"""Pieces to choose from: with fewer nothing is changed, of more an even part is taken."""

_EDGE = _SIDE // 2

_Value = TypeVar("_Value", bound=np.generic)


@dataclass(frozen=True)
class Laid:
    """A painting whose mask is laid with pieces of the picture.

    Attributes:
        picture: (3, H, W) in [0, 1].
        sources: (H, W), flat index of the known pixel that each pixel is a copy of; outside the
            mask its own.
        lighter: (3, H, W), what was added to the copy.
    """

    picture: Planes
    sources: NDArray[np.intp]
    lighter: Planes


def lay_pieces(painted: Planes, known: Planes, mask: Mask) -> Laid | None:
    """The painting with its mask laid with pieces of the picture.

    Args:
        painted: (3, H, W) in [0, 1], colours matched to the surroundings.
        known: the picture; its pixels inside the mask do not matter.
        mask: (H, W), True where the model paints.

    Returns:
        None where too little is known round the mask.
    """
    places = whole_places(mask, _SIDE)
    if len(places) < _FEWEST or not mask.any():
        return None
    pieces = _Pieces.cut(known, places[:: -(-len(places) // _MOST)])
    sources = _padded(np.arange(mask.size).reshape(mask.shape))
    lighter = _padded(np.zeros_like(painted))
    picture = _padded(np.where(mask, painted, known))
    inside = _padded(np.ones_like(mask))
    bare = _padded(mask)
    confidence = (inside & ~bare).astype(np.float32)
    while bare.any():
        rim = bare & _beside(inside & ~bare)
        sureness = np.where(rim, _means(confidence), -1)
        down, across = np.unravel_index(sureness.argmax(), sureness.shape)
        window = (
            slice(down - _EDGE, down + _EDGE + 1),
            slice(across - _EDGE, across + _EDGE + 1),
        )
        hole = bare[window].copy()
        weights = _WEIGHTS * inside[window] * np.where(hole, _LED, 1)
        best, more = pieces.nearest(picture[:, *window], weights.astype(np.float32))
        piece = pieces.values[best] + more[:, None]
        picture[:, *window][:, hole] = piece[:, hole.ravel()]
        sources[window][hole] = pieces.pixels[best, hole.ravel()]
        lighter[:, *window][:, hole] = more[:, None]
        confidence[window][hole] = sureness[down, across]
        bare[window] = False
    inner = (..., slice(_EDGE, -_EDGE), slice(_EDGE, -_EDGE))
    laid = np.where(mask, np.clip(picture[inner], 0, 1), painted)
    return Laid(laid.astype(np.float32), sources[inner], lighter[inner])


@dataclass(frozen=True)
class _Pieces:
    """N pieces of a picture.

    Attributes:
        pixels: (N, pixels), flat indices into the picture.
        values: (N, 3, pixels).
        squares: (N, pixels), summed over the channels.
    """

    pixels: NDArray[np.intp]
    values: NDArray[np.float32]
    squares: NDArray[np.float32]

    @classmethod
    def cut(cls, known: Planes, places: NDArray[np.intp]) -> _Pieces:
        """Those whose middles are at ``places`` of the flattened picture."""
        steps = np.arange(-_EDGE, _EDGE + 1)
        pixels = places[:, None] + (steps[:, None] * known.shape[2] + steps).ravel()
        values = known.reshape(3, -1)[:, pixels].transpose(1, 0, 2)
        values = np.ascontiguousarray(values, np.float32)
        return cls(pixels, values, np.square(values).sum(1))

    def nearest(
        self, there: Planes, weights: NDArray[np.float32]
    ) -> tuple[int, NDArray[np.float32]]:
        """The piece at the least weighted squared distance once it is lightened as it may be.

        Args:
            there: (3, side, side), what the place shows.
            weights: (side, side), what each pixel counts.

        Returns:
            Its place among the pieces, and (3,), what it is lightened by.
        """
        flat = weights.ravel()
        total = flat.sum()
        weighted = (there * weights).reshape(3, -1)
        distance = self.squares @ flat
        distance -= 2 * (self.values.reshape(len(self.values), -1) @ weighted.ravel())
        wanted = (weighted.sum(1) - self.values @ flat) / total
        lighter = np.clip(wanted, -_LIGHTER, _LIGHTER)
        distance += total * (lighter * (lighter - 2 * wanted)).sum(1)
        best = int(distance.argmin())
        return best, lighter[best]


def _weights() -> NDArray[np.float32]:
    steps = np.arange(-_EDGE, _EDGE + 1) / _SPREAD
    return np.exp(-0.5 * (steps[:, None] ** 2 + steps**2)).astype(np.float32)


_WEIGHTS = _weights()


def _padded(field: NDArray[_Value]) -> NDArray[_Value]:
    """With zeros round it, so that a piece may hang over the border."""
    return np.pad(field, [(0, 0)] * (field.ndim - 2) + [(_EDGE, _EDGE)] * 2)


def _beside(where: Mask) -> Mask:
    """Pixels that have one of ``where`` above, below, left or right of them."""
    near = np.zeros_like(where)
    near[1:] |= where[:-1]
    near[:-1] |= where[1:]
    near[:, 1:] |= where[:, :-1]
    near[:, :-1] |= where[:, 1:]
    return near


def _means(field: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mean over the piece round each pixel."""
    views = sliding_window_view(_padded(field), (_SIDE, _SIDE))
    return np.asarray(views.mean((2, 3)), np.float32)

"""In which of the vocabulary's colours something was painted, by the hue of its pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from onefill.pocket.material.vocabulary import HUES
from onefill.tasks.types import Mask

_CHANGED = 24  # grey levels
_LEAST_CHROMA, _LEAST_LIGHT = 0.2, 0.25
_LEAST_PIXELS = 12
_FULL, _PALE = 0.85, 0.45  # saturation of a colour, and of pink, which is a pale red


def colour_of(picture: NDArray[np.uint8], background: NDArray[np.uint8], mask: Mask) -> str:
    """The key of ``HUES`` that most of what was painted is in; empty if hardly any is coloured.

    Counted are pixels inside the mask that differ from the background by more than 24 grey
    levels, are neither grey (maximum less minimum of the three channels at least 0.2) nor black
    (maximum at least 0.25). Each votes for the nearest colour in the plane of hue and saturation.

    Args:
        picture: uint8 (H, W, 3), with the thing.
        background: uint8 (H, W, 3), without it.
        mask: (H, W), where it was painted.
    """
    change = np.abs(picture.astype(np.int16) - background).max(2)
    pixels = picture[mask & (change > _CHANGED)]
    light = pixels.max(1) / 255
    chroma = light - pixels.min(1) / 255
    pixels = pixels[(chroma >= _LEAST_CHROMA) & (light >= _LEAST_LIGHT)]
    if len(pixels) < _LEAST_PIXELS:
        return ""
    votes = np.abs(_in_plane(pixels)[:, None] - _COLOURS).argmin(1)
    return list(HUES)[int(np.bincount(votes, minlength=len(HUES)).argmax())]


def _in_plane(pixels: NDArray[np.uint8]) -> NDArray[np.complex128]:
    """Pixels (N, 3) as points, their angle the hue and their length the saturation."""
    hsv = np.asarray(Image.fromarray(pixels[None]).convert("HSV"))[0].astype(np.float64)
    return hsv[:, 1] / 255 * np.exp(2j * np.pi * hsv[:, 0] / 255)


_COLOURS = np.array(
    [
        (_PALE if name == "pink" else _FULL) * np.exp(1j * np.deg2rad(hue))
        for name, hue in HUES.items()
    ]
)

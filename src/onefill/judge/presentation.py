"""How a judge is shown the edit that two results come from, if it was trained to see it.

A judge compares two images. One whose card says that it sees the mask gets the mask's outline
drawn on each of them; one that sees the source gets the source beside each of them, on the left.
So the conversation keeps its two images, and stock models and processors read it.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from onefill.tasks.types import Mask

_OUTLINE = (255, 0, 255)  # magenta: rare in pictures
_OUTLINE_SHARE = 64  # of the shorter side, so that the line survives the judge's resize


def present(
    picture: Image.Image, source: Image.Image | None, mask: Mask | None, sees: Collection[str]
) -> Image.Image:
    """A result of an edit as the judge is to see it.

    Args:
        picture: the result, mode RGB.
        source: the picture that was edited; of another size, it is brought to the result's.
        mask: where it was edited, True inside, of the result's (height, width).
        sees: ``Judge.sees``; what is not in it is left out.

    Returns:
        ``picture`` itself, or it with the outline, twice as wide beside a source.
    """
    if mask is not None and "mask" in sees:
        pixels = np.array(picture)
        pixels[_outline(mask, max(1, min(mask.shape) // _OUTLINE_SHARE))] = _OUTLINE
        picture = Image.fromarray(pixels)
    if source is None or "source" not in sees:
        return picture
    if source.size != picture.size:
        source = source.resize(picture.size, Image.Resampling.BICUBIC)
    both = Image.new("RGB", (2 * picture.width, picture.height))
    both.paste(source, (0, 0))
    both.paste(picture, (picture.width, 0))
    return both


def _outline(mask: Mask, width: int) -> NDArray[np.bool_]:
    """Pixels outside the mask and at most ``width`` from it: what was edited stays in sight."""
    grown = mask.copy()
    for _ in range(width):
        before = grown.copy()
        grown[1:] |= before[:-1]
        grown[:-1] |= before[1:]
        grown[:, 1:] |= before[:, :-1]
        grown[:, :-1] |= before[:, 1:]
    return grown & ~mask

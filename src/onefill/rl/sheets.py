"""Sample sheets: what the start model and the trained one make of the same noise, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from onefill.images import array_to_image

COLUMNS = ("source", "mask", "start model", "trained model")

_SMALLEST, _LARGEST = 128, 384
_GAP, _TEXT = 8, 14
_PAPER, _INK, _FAINT = (255, 255, 255), (20, 20, 20), (110, 110, 110)


@dataclass(frozen=True)
class SheetRow:
    """One sample.

    Attributes:
        caption: the task and what it was told.
        source: float (3, H, W) in [0, 1].
        mask: (H, W), 1 where the model painted.
        start: the start model's image, as ``source``.
        trained: the trained model's, from the same noise.
    """

    caption: str
    source: NDArray[np.float32]
    mask: NDArray[np.float32]
    start: NDArray[np.float32]
    trained: NDArray[np.float32]


def draw_sheet(title: str, rows: Sequence[SheetRow]) -> Image.Image:
    """A labelled picture with one row per sample."""
    side = min(max(rows[0].source.shape[-1], _SMALLEST), _LARGEST)
    line = _TEXT + _GAP
    width = _GAP + len(COLUMNS) * (side + _GAP)
    sheet = Image.new("RGB", (width, 2 * line + _GAP + len(rows) * (side + line + _GAP)), _PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(_TEXT)
    draw.text((_GAP, _GAP), title, _INK, font)
    for number, label in enumerate(COLUMNS):
        draw.text((_GAP + number * (side + _GAP), line + _GAP), label, _INK, font)
    for place, row in enumerate(rows):
        top = 2 * line + _GAP + place * (side + line + _GAP)
        draw.text((_GAP, top), _drawable(row.caption), _FAINT, font)
        mask = np.repeat(row.mask[None], 3, axis=0)
        for number, picture in enumerate((row.source, mask, row.start, row.trained)):
            cell = array_to_image(picture).resize((side, side), Image.Resampling.BICUBIC)
            sheet.paste(cell, (_GAP + number * (side + _GAP), top + line))
    return sheet


def _drawable(text: str) -> str:
    """Pillow's own font knows Latin letters only; anything else is shown by its code."""
    return text.encode("latin-1", "backslashreplace").decode("latin-1")

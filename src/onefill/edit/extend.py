"""Geometry of an extension: the enlarged canvas, and the passes that fill it."""

from __future__ import annotations

import math
import re

from onefill.edit.crop import Box
from onefill.errors import BadInput
from onefill.images import MAX_PIXELS

_RATIO = re.compile(r"(\d+(?:\.\d+)?):(\d+(?:\.\d+)?)")
_SIZE = re.compile(r"(\d+)x(\d+)")
_MOST_GROWTH = 2.0  # a pass paints at most as much as it is shown


def target_size(to: str, width: int, height: int) -> tuple[int, int]:
    """The canvas that ``--to`` asks for around a picture of the given size.

    Args:
        to: a ratio ("16:9": the smallest canvas of it that holds the picture) or pixels
            ("1920x1080").
        width: of the picture.
        height: of the picture.

    Raises:
        BadInput: it is neither, adds nothing, would cut the picture, or is over the pixel cap.
    """
    wide, high = _parse(to, width, height)
    if (wide, high) == (width, height):
        raise BadInput(f"--to {to}: the picture has that shape already; ask for another one")
    if wide < width or high < height:
        raise BadInput(
            f"--to {to}: the picture is {width}x{height} and would not fit; "
            f"ask for at least that size, or for a ratio as --to 16:9"
        )
    if wide * high > MAX_PIXELS:
        raise BadInput(
            f"--to {to}: the canvas would have {wide * high / 1e6:.0f} megapixels, more than "
            f"{MAX_PIXELS / 1e6:.0f}; ask for less"
        )
    return wide, high


def _parse(to: str, width: int, height: int) -> tuple[int, int]:
    if match := _SIZE.fullmatch(to.strip().lower()):
        return int(match[1]), int(match[2])
    match = _RATIO.fullmatch(to.strip())
    if match is None or not float(match[1]) or not float(match[2]):
        raise BadInput(f"--to {to}: not a shape; write a ratio as 16:9 or pixels as 1920x1080")
    ratio = float(match[1]) / float(match[2])
    # One side keeps its length; the other is never rounded below the picture.
    if width < height * ratio:
        return max(width, round(height * ratio)), height
    return width, max(height, round(width / ratio))


def centre(width: int, height: int, canvas: tuple[int, int]) -> Box:
    """Where a picture stands in the middle of a canvas of (width, height)."""
    return Box((canvas[0] - width) // 2, (canvas[1] - height) // 2, width, height)


def plan_passes(keep: Box, canvas: tuple[int, int]) -> list[Box]:
    """Growing boxes, each to be painted from the one before; the last is the whole canvas.

    One pass at most doubles the area, so that at least half of what the model is shown is
    picture. All passes grow by the same factor, and each side in proportion to what it lacks.

    Args:
        keep: the picture's place in the canvas.
        canvas: (width, height) in pixels.
    """
    width, height = canvas
    growth = (width * height) / (keep.width * keep.height)
    count = max(1, math.ceil(math.log(growth) / math.log(_MOST_GROWTH) - 1e-9))
    boxes: list[Box] = []
    last = keep
    for step in range(1, count + 1):
        x, wide = _grow(keep.x, keep.width, width, step / count)
        y, high = _grow(keep.y, keep.height, height, step / count)
        box = Box(x, y, wide, high)
        if box != last:
            boxes.append(box)
            last = box
    return boxes


def _grow(start: int, length: int, final: int, progress: float) -> tuple[int, int]:
    """Start and length of a side after ``progress`` in [0, 1] of its geometric growth."""
    if length == final:
        return 0, final
    grown = round(length * (final / length) ** progress)
    return start - round(start * (grown - length) / (final - length)), grown

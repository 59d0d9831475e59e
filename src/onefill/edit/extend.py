"""Geometry of an extension: the enlarged canvas, and the passes that fill it."""

from __future__ import annotations

import math
import re

from onefill.edit.crop import Box
from onefill.edit.length import parse_length
from onefill.errors import BadInput
from onefill.images import MAX_PIXELS

_RATIO = re.compile(r"(\d+(?:\.\d+)?):(\d+(?:\.\d+)?)")
_SIZE = re.compile(r"(\d+)x(\d+)")
_MOST_GROWTH = 2.0  # a pass paints at most as much as it is shown
_SIDES = ("left", "right", "top", "bottom")

ANCHORS = {
    "center": (0.5, 0.5),
    "left": (0, 0.5),
    "right": (1, 0.5),
    "top": (0.5, 0),
    "bottom": (0.5, 1),
    "top-left": (0, 0),
    "top-right": (1, 0),
    "bottom-left": (0, 1),
    "bottom-right": (1, 1),
}
"""Where the picture stands in the canvas: the share of what is new that lies left of and above it.
"""


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
    _check_pixels(f"--to {to}", (wide, high))
    return wide, high


def _check_pixels(where: str, size: tuple[int, int]) -> None:
    if size[0] * size[1] > MAX_PIXELS:
        raise BadInput(
            f"{where}: the canvas would have {size[0] * size[1] / 1e6:.0f} megapixels, more than "
            f"{MAX_PIXELS / 1e6:.0f}; ask for less"
        )


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


def place(width: int, height: int, canvas: tuple[int, int], anchor: str = "center") -> Box:
    """Where a picture stands in a canvas of (width, height).

    Raises:
        BadInput: there is no such anchor.
    """
    if anchor not in ANCHORS:
        raise BadInput(f"--anchor {anchor}: choose from {', '.join(ANCHORS)}")
    left, above = ANCHORS[anchor]
    x, y = math.floor((canvas[0] - width) * left), math.floor((canvas[1] - height) * above)
    return Box(x, y, width, height)


def expand_sides(expand: str, width: int, height: int) -> tuple[tuple[int, int], Box]:
    """The canvas that ``--expand`` asks for, and the picture's place in it.

    Args:
        expand: "left=20%,top=128": sides, or "all", with pixels or percent of the picture's width
            or height.
        width: of the picture.
        height: of the picture.

    Raises:
        BadInput: it is not written so, adds nothing, or the canvas is over the pixel cap.
    """
    where = f"--expand {expand}"
    added: dict[str, int] = {}
    for part in expand.split(","):
        side, equals, length = part.strip().partition("=")
        named = _SIDES if side == "all" else (side,)
        if not equals or not set(named) <= set(_SIDES):
            raise BadInput(
                f"{where}: write sides and lengths, as left=20%,top=128; "
                f"sides are {', '.join(_SIDES)} and all"
            )
        for name in named:
            if name in added:
                raise BadInput(f"{where}: names {name} twice; leave one out")
            whole = width if name in ("left", "right") else height
            pixels = parse_length(length, whole, where=where)
            added[name] = round(min(pixels, MAX_PIXELS))
    left, right, above, below = (added.get(side, 0) for side in _SIDES)
    if not left + right + above + below:
        raise BadInput(f"{where}: adds nothing; ask for a pixel at least")
    size = (left + width + right, above + height + below)
    _check_pixels(where, size)
    return size, Box(left, above, width, height)


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

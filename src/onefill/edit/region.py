"""Where to paint, as a user says it: an image file, an alpha channel, a box or a polygon."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from onefill.edit.canvas import Canvas
from onefill.edit.decode import open_photo
from onefill.edit.length import parse_lengths
from onefill.errors import BadInput
from onefill.images import read_mask
from onefill.tasks.types import Mask

ALPHA_PARTS = ("opaque", "transparent")
"""What of an alpha channel may be painted."""

_HALF = 127
_BOX_FORM = "x,y,width,height"
_MOST_COORDINATE = 10**6  # pixels; beyond it a vertex is a slip of the finger


@dataclass(frozen=True, kw_only=True)
class Region:
    """One place to paint; exactly one of the first three says where.

    Attributes:
        mask: image file of the photograph's size, white where the model paints.
        box: "x,y,width,height", each in pixels or percent.
        polygon: "x,y x,y x,y ...", likewise, three vertices or more.
        words: its own prompt, where regions are painted one by one.
    """

    mask: Path | None = None
    box: str | None = None
    polygon: str | None = None
    words: str | None = None


def draw_region(region: Region, size: tuple[int, int], alpha: str | None) -> Mask:
    """The mask of a region.

    Args:
        region: where.
        size: (width, height) of the upright photograph.
        alpha: which part of a mask file's alpha channel is painted, in place of what is bright.

    Returns:
        (height, width), with at least one True.

    Raises:
        BadInput: the file cannot be used, or what was typed is no box or polygon, or names
            nothing inside the photograph.
    """
    if region.box is not None:
        return draw_box(region.box, size)
    if region.polygon is not None:
        return draw_polygon(region.polygon, size)
    if region.mask is None:
        raise ValueError("a region needs a mask, a box or a polygon")
    if alpha is None:
        return read_mask(region.mask, size)
    return _read_alpha(region.mask, size, alpha)


def draw_box(text: str, size: tuple[int, int], *, flag: str = "--box") -> Mask:
    """A rectangle, as far as it lies in the photograph.

    Raises:
        BadInput: it is not written as ``x,y,width,height``, or holds no pixel of it.
    """
    where = f"{flag} {text}"
    width, height = size
    x, y, wide, high = parse_lengths(
        text, (width, height, width, height), where=where, form=_BOX_FORM
    )
    left, top = round(min(x, width)), round(min(y, height))
    right, bottom = round(min(x + wide, width)), round(min(y + high, height))
    mask = np.zeros((height, width), np.bool_)
    mask[top:bottom, left:right] = True
    return _check_painted(mask, where)


def draw_polygon(text: str, size: tuple[int, int], *, flag: str = "--polygon") -> Mask:
    """The inside and the outline of a polygon, as far as it lies in the photograph.

    Raises:
        BadInput: it is not written as ``x,y x,y x,y``, or holds no pixel of it.
    """
    where = f"{flag} {text}"
    corners = text.replace(";", " ").split()
    if len(corners) < 3:
        raise BadInput(f"{where}: a polygon has three corners or more; write 'x,y x,y x,y'")
    vertices = []
    for corner in corners:
        x, y = parse_lengths(corner, size, where=where, form="'x,y x,y x,y'")
        if max(x, y) > _MOST_COORDINATE:
            raise BadInput(f"{where}: {corner} lies far outside the picture of {size[0]}x{size[1]}")
        vertices.append((x, y))
    canvas = Image.new("1", size)
    ImageDraw.Draw(canvas).polygon(vertices, fill=1, outline=1)
    return _check_painted(np.array(canvas), where)


def _check_painted(mask: Mask, where: str) -> Mask:
    if not mask.any():
        height, width = mask.shape
        raise BadInput(f"{where}: holds no pixel of the picture, which is {width}x{height}")
    return mask


def alpha_mask(canvas: Canvas, part: str, *, where: str) -> Mask:
    """What is opaque, or what is transparent, in a picture's own alpha channel.

    Raises:
        BadInput: it has none, or nothing of that kind in it.
    """
    if not canvas.has_alpha:
        raise BadInput(f"{where}: has no alpha channel to take a mask from; leave --mask-alpha out")
    opaque = canvas.pixels[..., -1] > _HALF
    mask = opaque if part == "opaque" else ~opaque
    if not mask.any():
        raise BadInput(f"{where}: nothing in it is {part}; see --mask-alpha")
    return mask


def show_painted(canvas: Canvas, mask: Mask) -> Canvas:
    """A canvas whose pixels in the mask are opaque, so that what is painted there is seen."""
    if not canvas.has_alpha:
        return canvas
    pixels = canvas.pixels.copy()
    pixels[mask, -1] = 255
    return Canvas(pixels)


def _read_alpha(path: Path, size: tuple[int, int], part: str) -> Mask:
    mask = alpha_mask(open_photo(path, flag="--mask").canvas, part, where=f"--mask {path}")
    if mask.shape != (size[1], size[0]):
        raise BadInput(
            f"--mask {path}: the mask is {mask.shape[1]}x{mask.shape[0]} but the image is "
            f"{size[0]}x{size[1]}; give a mask of the image's size"
        )
    return mask

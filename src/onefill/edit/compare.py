"""One sheet that shows a photograph beside what was made of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from onefill.edit.canvas import Canvas
from onefill.edit.crop import Box, bounding_box
from onefill.edit.request import EditPlan
from onefill.images import read_image

_SIDE = 448
_GAP = 12
_LINE = 26
_MOST_COLUMNS = 5
_PAPER, _INK, _NOTHING = (255, 255, 255), (40, 40, 40), (224, 224, 224)
_CLOSE = 0.5  # a mask whose box takes less of both sides is shown from close by, too


def compare_sheet(plan: EditPlan, results: Sequence[tuple[Path, str]]) -> Image.Image:
    """Before and after in columns: whole, and below from close by where the mask is small.

    Args:
        plan: the edit; what an extension adds is grey in "before".
        results: written files with what is to be said above each.
    """
    target = bounding_box(plan.whole_mask())
    close = _close_box(target, plan.canvas.box)
    columns = [("before", _cells(_before(plan), close))]
    # One at a time: results of many megapixels are not all held.
    columns += [(label, _cells(read_image(path), close)) for path, label in results]
    width = max(cell.width for _, cells in columns for cell in cells)
    heights = [cell.height for cell in columns[0][1]]
    block = _LINE + sum(height + _GAP for height in heights)
    rows = -(-len(columns) // _MOST_COLUMNS)
    across = -(-len(columns) // rows)
    sheet = Image.new("RGB", (across * (width + _GAP) + _GAP, rows * (block + _GAP)), color=_PAPER)
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(size=16)
    for number, (label, cells) in enumerate(columns):
        x = _GAP + number % across * (width + _GAP)
        y = _GAP // 2 + number // across * (block + _GAP)
        pen.text((x, y), label, fill=_INK, font=font)
        y += _LINE
        for cell in cells:
            sheet.paste(cell, (x, y))
            y += cell.height + _GAP
    return sheet


def _before(plan: EditPlan) -> Image.Image:
    if plan.canvas.box == plan.photo.canvas.box:
        return plan.photo.canvas.view(plan.photo.canvas.box)
    pixels = np.array(plan.canvas.view(plan.canvas.box))
    pixels[plan.whole_mask()] = _NOTHING
    return Canvas(pixels).view(plan.canvas.box)


def _close_box(target: Box, canvas: Box) -> tuple[int, int, int, int] | None:
    if target.width >= _CLOSE * canvas.width or target.height >= _CLOSE * canvas.height:
        return None
    margin = max(target.width, target.height) // 2
    return (
        max(0, target.x - margin),
        max(0, target.y - margin),
        min(canvas.width, target.right + margin),
        min(canvas.height, target.bottom + margin),
    )


def _cells(picture: Image.Image, close: tuple[int, int, int, int] | None) -> list[Image.Image]:
    cells = [picture] if close is None else [picture, picture.crop(close)]
    return [_fit(cell) for cell in cells]


def _fit(picture: Image.Image) -> Image.Image:
    scale = _SIDE / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.BICUBIC)

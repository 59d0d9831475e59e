"""A picture that shows what masks a task draws: the sheet of ``onefill tasks show``."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from onefill.tasks.types import Mask, Task

_CELL = 240
_GAP = 12
_LABEL = 22
_LABEL_WIDTH = 150
_TITLE = 40
_COLUMNS = 4
_PAPER = (250, 249, 246)
_INK = (40, 40, 44)
_TINT = np.array([226, 58, 106], dtype=np.float32)
_TINT_STRENGTH = 0.62


def draw_sheet(
    task: Task, picture: Image.Image, *, seed: int, count: int = 12
) -> tuple[Image.Image, list[float]]:
    """Masks of ``count`` seeds, beginning with ``seed``, in red over a picture.

    Returns:
        The sheet, and the share of the picture that each mask covers, in (0, 1].

    Raises:
        OnefillError: the task's mask generator failed.
    """
    thumbnail = picture.convert("RGB")
    thumbnail.thumbnail((_CELL, _CELL))
    cell = (max(thumbnail.width, _LABEL_WIDTH) + _GAP, thumbnail.height + _LABEL + _GAP)
    rows = math.ceil(count / _COLUMNS)
    size = (_GAP + _COLUMNS * cell[0], _TITLE + _GAP + rows * cell[1])
    sheet = Image.new("RGB", size, _PAPER)
    pen = ImageDraw.Draw(sheet)
    title = f"{task.name}: {task.summary}"
    pen.text((_GAP, _GAP), title, fill=_INK, font=ImageFont.load_default(20))
    shares = []
    for index in range(count):
        mask = task.draw_mask(thumbnail, np.random.default_rng(seed + index))
        shares.append(float(mask.mean()))
        x = _GAP + index % _COLUMNS * cell[0]
        y = _TITLE + _GAP + index // _COLUMNS * cell[1]
        sheet.paste(_tinted(thumbnail, mask), (x, y))
        label = f"seed {seed + index}: {100 * shares[-1]:.0f} % painted"
        pen.text((x, y + thumbnail.height + 3), label, fill=_INK, font=ImageFont.load_default(13))
    return sheet, shares


def _tinted(picture: Image.Image, mask: Mask) -> Image.Image:
    pixels = np.asarray(picture, dtype=np.float32).copy()
    pixels[mask] = (1 - _TINT_STRENGTH) * pixels[mask] + _TINT_STRENGTH * _TINT
    return Image.fromarray(np.rint(pixels).astype(np.uint8))


def sample_picture() -> Image.Image:
    """A small drawn landscape, 320 x 240, for when the user gives no photograph."""
    width, height = 320, 240
    down = np.linspace(0.0, 1.0, height, dtype=np.float32)[:, None, None]
    sky = (1 - down) * np.array([110, 168, 220]) + down * np.array([246, 226, 190])
    picture = Image.fromarray(np.broadcast_to(sky, (height, width, 3)).astype(np.uint8))
    pen = ImageDraw.Draw(picture)
    pen.ellipse((232, 30, 280, 78), fill=(255, 236, 150))
    across = np.arange(0, width + 8, 8)
    for base, swing, pitch, colour in (
        (140, 22, 50.0, (126, 156, 142)),
        (172, 14, 34.0, (92, 134, 96)),
        (204, 7, 61.0, (70, 112, 66)),
    ):
        ridge = [(int(x), int(base + swing * math.sin(x / pitch + base))) for x in across]
        pen.polygon([(0, height), *ridge, (width, height)], fill=colour)
    pen.rectangle((88, 142, 146, 196), fill=(214, 196, 168))
    pen.polygon([(80, 144), (117, 112), (154, 144)], fill=(150, 70, 58))
    pen.rectangle((110, 166, 126, 196), fill=(96, 66, 50))
    for x in (206, 250):
        pen.rectangle((x - 4, 160, x + 4, 204), fill=(92, 70, 54))
        pen.ellipse((x - 24, 108, x + 24, 170), fill=(58, 100, 60))
    return picture

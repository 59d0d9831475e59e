"""One training sample, and the square cut out of a picture that it is made from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from onefill.tasks.types import Mask

Box = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels; right and bottom are the first outside."""

_LEAST_SHARE = 0.7
"""Smallest side of a drawn square, as a share of the picture's short side."""

_ROOM = 1.25
"""A square round a mask is at least this many times as wide as the mask, where it fits."""

_MOST_MASKED = 0.75
"""Most of a square that a mask larger than any square may cover."""


@dataclass(frozen=True, eq=False)
class Sample:
    """What one place of a batch is made of.

    Attributes:
        image: uint8 (size, size, 3), RGB.
        mask: bool (size, size), True where the policy paints; never empty.
        words: what a user would type, or None.
        task: name of the task.
        key: hash of everything above, the same for equal samples.
    """

    image: NDArray[np.uint8]
    mask: Mask
    words: str | None
    task: str
    key: str


def make_sample(image: NDArray[np.uint8], mask: Mask, words: str | None, task: str) -> Sample:
    """A sample with its content hash."""
    digest = hashlib.sha256()
    for part in (image.tobytes(), mask.tobytes(), (words or "").encode(), task.encode()):
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return Sample(image, mask, words, task, digest.hexdigest())


def draw_square(
    picture: Image.Image, size: int, rng: np.random.Generator, mask: Mask | None = None
) -> Box:
    """Draw a square inside a picture that a sample of side ``size`` is cut from.

    A picture that is already a ``size`` square is taken whole. Otherwise the side is drawn
    between 0.7 and 1 times the picture's short side (never below ``size``: nothing is enlarged
    that need not be), and the square holds the whole mask. A mask too long for any square is
    cut by the square that shows most of it while leaving a quarter unmasked.
    """
    width, height = picture.size
    short = min(width, height)
    left, top, right, bottom = _bounds(mask) if mask is not None else (0, 0, 0, 0)
    extent = max(right - left, bottom - top)
    if mask is not None and extent > short:
        return _square_along(mask)
    least = max(min(size, short), round(_LEAST_SHARE * short), round(_ROOM * extent))
    side = int(rng.integers(min(least, short), short + 1))
    x, y = _offset(left, right, side, width, rng), _offset(top, bottom, side, height, rng)
    return x, y, x + side, y + side


def cut_image(picture: Image.Image, box: Box, size: int) -> NDArray[np.uint8]:
    """The square ``box`` of an RGB picture, brought to (size, size, 3)."""
    return np.asarray(picture.resize((size, size), Image.Resampling.LANCZOS, box=box))


def cut_mask(mask: Mask, box: Box, size: int) -> Mask:
    """The square ``box`` of a mask, brought to (size, size).

    A pixel is painted where at least half of it was; should nothing be left of a very small
    mask, where any of it was.
    """
    grey = Image.fromarray(mask.astype(np.float32))
    share = np.asarray(grey.resize((size, size), Image.Resampling.BOX, box=box))
    cut = share >= 0.5
    return cut if cut.any() else share > 0


def _bounds(mask: Mask) -> Box:
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _offset(low: int, high: int, side: int, length: int, rng: np.random.Generator) -> int:
    first = max(0, high - side)
    last = min(low, length - side) if high else length - side
    return int(rng.integers(first, last + 1))


def _square_along(mask: Mask) -> Box:
    height, width = mask.shape
    short = min(width, height)
    painted = np.concatenate([[0], np.cumsum(mask.sum(0 if width > height else 1))])
    shares = (painted[short:] - painted[:-short]) / short**2
    allowed = shares <= _MOST_MASKED
    offset = int(np.where(allowed, shares, -1).argmax() if allowed.any() else shares.argmin())
    x, y = (offset, 0) if width > height else (0, offset)
    return x, y, x + short, y + short

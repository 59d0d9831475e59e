"""Where the model looks: a crop around the mask, and the working size it is brought to."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from onefill.policy.settings import USUAL_CONTEXT
from onefill.tasks.types import Mask


class Box(NamedTuple):
    """A rectangle of pixels; ``right`` and ``bottom`` are exclusive."""

    x: int
    y: int
    width: int
    height: int

    @property
    def right(self) -> int:
        """First column beyond the box."""
        return self.x + self.width

    @property
    def bottom(self) -> int:
        """First row beyond the box."""
        return self.y + self.height

    @property
    def slices(self) -> tuple[slice, slice]:
        """Index of the box in an array of shape (H, W, ...)."""
        return slice(self.y, self.bottom), slice(self.x, self.right)


@dataclass(frozen=True)
class Crop:
    """A box of the picture and the size, in pixels, at which the model paints it.

    The two aspects differ by less than one multiple of the model; stitching undoes it.
    """

    box: Box
    width: int
    height: int

    @property
    def scale(self) -> float:
        """Picture pixels per working pixel, of the coarser side."""
        return max(self.box.width / self.width, self.box.height / self.height)


def bounding_box(mask: Mask) -> Box:
    """The smallest box that holds every True pixel of a mask that has one."""
    rows = np.flatnonzero(mask.any(axis=1))
    columns = np.flatnonzero(mask.any(axis=0))
    x, y = int(columns[0]), int(rows[0])
    return Box(x, y, int(columns[-1]) + 1 - x, int(rows[-1]) + 1 - y)


def choose_crop(
    target: Box,
    bounds: Box,
    *,
    size: int,
    multiple: int,
    context: float = USUAL_CONTEXT,
    feather: int = 0,
) -> Crop:
    """The crop for painting ``target`` with a model that works at about ``size`` × ``size``.

    The box is square wherever the picture leaves room, at least ``size`` wide so that small
    masks are painted at full resolution, centred on the target and pushed inside the bounds.

    Args:
        target: the mask's bounding box, inside ``bounds``.
        bounds: the part of the picture that may be shown to the model.
        size: side in pixels of the square the model was made for.
        multiple: both working sides are multiples of it.
        context: what is shown round the target on each side, as a share of its mean side.
        feather: pixels around the target that stitching will blend.
    """
    longest = max(target.width, target.height)
    # The middle term serves thin masks; the last keeps two working pixels around any mask.
    room = max(
        feather,
        math.ceil(context * math.sqrt(target.width * target.height)),
        math.ceil(2 * longest / size),
    )
    side = max(longest + 2 * room, size)
    width, height = min(side, bounds.width), min(side, bounds.height)
    working = _working_size(width, height, size, multiple)
    width, height = _match_aspect(width, height, working, target, bounds, 2 * feather)
    x = _place(target.x, target.width, width, bounds.x, bounds.right)
    y = _place(target.y, target.height, height, bounds.y, bounds.bottom)
    return Crop(Box(x, y, width, height), *working)


def _working_size(width: int, height: int, size: int, multiple: int) -> tuple[int, int]:
    """Sides of the given aspect and about size² pixels, rounded to the multiple."""
    stretch = math.sqrt(width / height)
    return (
        max(multiple, round(size * stretch / multiple) * multiple),
        max(multiple, round(size / stretch / multiple) * multiple),
    )


def _match_aspect(
    width: int, height: int, working: tuple[int, int], target: Box, bounds: Box, margin: int
) -> tuple[int, int]:
    """Change one side so that the crop has the working aspect, where the picture allows it."""
    wanted = round(height * working[0] / working[1])
    if min(target.width + margin, bounds.width) <= wanted <= bounds.width:
        return wanted, height
    wanted = round(width * working[1] / working[0])
    if min(target.height + margin, bounds.height) <= wanted <= bounds.height:
        return width, wanted
    return width, height


def _place(start: int, length: int, wanted: int, low: int, high: int) -> int:
    centred = start + (length - wanted) // 2
    return min(max(centred, low), high - wanted)


def shrink_picture(picture: Image.Image, crop: Crop) -> Image.Image:
    """The crop's pixels at the working size."""
    if picture.size == (crop.width, crop.height):
        return picture
    return picture.resize((crop.width, crop.height), Image.Resampling.LANCZOS)


def shrink_mask(mask: Mask, crop: Crop) -> Mask:
    """The mask the model sees, at the working size: True where any masked pixel falls.

    A masked pixel is always repainted by the model, however thin the mask is.
    """
    return _cover(_cover(mask, crop.height).T, crop.width).T


def _cover(mask: Mask, length: int) -> Mask:
    """Change the first axis to ``length``: True where any True of the old axis overlaps."""
    starts, ends = spans(len(mask), length)
    counts = np.concatenate([np.zeros_like(mask[:1], np.int32), mask.cumsum(0, dtype=np.int32)])
    return counts[ends] > counts[starts]


def spans(length: int, working: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """First pixel that each working pixel of a side overlaps, and the one after its last."""
    steps = np.arange(working)
    return steps * length // working, -(-(steps + 1) * length // working)

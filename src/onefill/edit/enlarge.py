"""A painting at the size of the box it was painted for."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from onefill.edit.canvas import Canvas, Pixels
from onefill.edit.crop import Crop, spans
from onefill.edit.stitch import grow_patch
from onefill.images import array_to_image
from onefill.policy.finishing import Finished
from onefill.policy.pieces import Laid


def enlarge(painting: Finished, canvas: Canvas, crop: Crop) -> Image.Image:
    """RGB of the crop's box, from a painting of the working size.

    Pieces of the picture are taken anew from its own pixels, so that they are as fine as what is
    round them. Where some of the box is transparent they are enlarged like all else: the model
    was shown other colours there.
    """
    patch = grow_patch(array_to_image(painting.picture), crop)
    alpha = canvas.pixels[crop.box.slices][..., -1]
    if painting.laid is None or (canvas.has_alpha and alpha.min() < 255):
        return patch
    own = np.asarray(canvas.view(crop.box))
    return Image.fromarray(_laid(painting.laid, np.asarray(patch), own, crop))


def _laid(laid: Laid, patch: Pixels, own: Pixels, crop: Crop) -> Pixels:
    """``patch`` with the picture's own pixels ``own`` wherever pieces were laid.

    Between the middles of working pixels their copies are faded into each other, so that no edge
    shows where two pieces meet.
    """
    upper, lower, sinking, top, bottom = _spread(crop.box.height, crop.height)
    before, after, passing, left, right = _spread(crop.box.width, crop.width)
    down_by, across_by = crop.box.height / crop.height, crop.box.width / crop.width
    flat = np.arange(laid.sources.size).reshape(laid.sources.shape)
    y, x = np.arange(crop.box.height), np.arange(crop.box.width)
    nearest = np.ix_(y * crop.height // crop.box.height, x * crop.width // crop.box.width)
    y, x = np.nonzero((laid.sources != flat)[nearest])
    lighter = 255 * laid.lighter.transpose(1, 2, 0)
    copies = np.zeros((len(y), 3), np.float32)
    for rows, much in ((upper[y], 1 - sinking[y]), (lower[y], sinking[y])):
        for columns, more in ((before[x], 1 - passing[x]), (after[x], passing[x])):
            down, across = np.divmod(laid.sources[rows, columns], crop.width)
            # As far away as the source is, but never outside it: what is beside it may be masked.
            away = np.rint((down - rows) * down_by).astype(np.intp)
            down = np.clip(y + away, top[down], bottom[down])
            away = np.rint((across - columns) * across_by).astype(np.intp)
            across = np.clip(x + away, left[across], right[across])
            copy = own[down, across] + lighter[rows, columns]
            copies += (much * more)[:, None] * copy
    result = patch.copy()
    result[y, x] = np.clip(np.rint(copies), 0, 255).astype(np.uint8)
    return result


def _spread(length: int, working: int) -> tuple[NDArray[Any], ...]:
    """How a side lies on the working pixels.

    Returns:
        Of each pixel the working pixels whose middles it lies between, and its way from one to
        the other, 0 to 1; of each working pixel the first and the last pixel.
    """
    places = (np.arange(length) + 0.5) * working / length - 0.5
    before = np.floor(places).astype(np.intp)
    first, after_last = spans(length, working)
    way = (places - before).astype(np.float32)
    return before.clip(0), (before + 1).clip(max=working - 1), way, first, after_last - 1

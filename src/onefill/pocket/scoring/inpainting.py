"""Ways without learning to fill a hole, which an edit is measured against."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from onefill.policy.surroundings import fill_smoothly
from onefill.tasks.types import Mask

Picture = NDArray[np.uint8]
"""Shape (H, W, 3), RGB."""

Fill = Callable[[Picture, Mask], Picture]
"""(picture, mask) to the picture with the mask filled; its pixels inside do not matter."""

# In pixels. On removals made of training pictures 1 came nearest to the truth in LPIPS, of 1, 3
# and 5 for OpenCV's ways and of 1, 2, 3 and 5 for patches.
_RADIUS, _PATCH_RADIUS = 1, 1


def telea(picture: Picture, mask: Mask) -> Picture:
    """OpenCV's inpainting after Telea 2004, "An image inpainting technique based on the FMM"."""
    import cv2

    return _by_opencv(picture, mask, cv2.INPAINT_TELEA)


def navier_stokes(picture: Picture, mask: Mask) -> Picture:
    """OpenCV's inpainting after Bertalmio et al. 2001, "Navier-Stokes, fluid dynamics"."""
    import cv2

    return _by_opencv(picture, mask, cv2.INPAINT_NS)


def _by_opencv(picture: Picture, mask: Mask, method: int) -> Picture:
    import cv2

    # What lies under the mask is hidden first: Navier-Stokes is not quite blind to it.
    hidden = mean_colour(picture, mask)
    return np.asarray(cv2.inpaint(hidden, _bytes(mask), _RADIUS, method), np.uint8)


def patch_match(picture: Picture, mask: Mask) -> Picture:
    """PyPatchMatch, after Barnes et al. 2009, "PatchMatch", with patches of 3 pixels a side."""
    import patchmatch

    patchmatch.set_random_seed(0)
    filled = patchmatch.inpaint(picture, _bytes(mask), patch_size=_PATCH_RADIUS)
    return np.asarray(filled, np.uint8)


def membrane(picture: Picture, mask: Mask) -> Picture:
    """The smoothest surface that meets the surroundings, which a removal begins from."""
    known = picture.transpose(2, 0, 1).astype(np.float32) / np.float32(255)
    smooth = fill_smoothly(known, mask)
    return (255 * smooth.transpose(1, 2, 0) + 0.5).astype(np.uint8)


def mean_colour(picture: Picture, mask: Mask) -> Picture:
    """The mean colour of the pixels within four of the mask but outside it."""
    grown = Image.fromarray(_bytes(mask)).filter(ImageFilter.MaxFilter(9))
    ring = (np.asarray(grown) > 127) & ~mask
    colour = picture[ring if ring.any() else ~mask].astype(np.float64).mean(0)
    return np.where(mask[..., None], (colour + 0.5).astype(np.uint8), picture)


def mirror(picture: Picture, mask: Mask) -> Picture:
    """What is known, a rectangle, mirrored at its sides as often as it takes."""
    rows, columns = np.flatnonzero(~mask.all(1)), np.flatnonzero(~mask.all(0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    beyond = ((top, mask.shape[0] - bottom), (left, mask.shape[1] - right), (0, 0))
    return np.pad(picture[top:bottom, left:right], beyond, mode="reflect")


REMOVAL: dict[str, Fill] = {
    "Telea": telea,
    "Navier-Stokes": navier_stokes,
    "PatchMatch": patch_match,
}
"""What a removal has to be as good as."""

SIMPLE: dict[str, Fill] = {"membrane": membrane, "mean colour": mean_colour}
"""What is told beside them: what a removal begins from, and the least that can be done."""

EXTEND: dict[str, Fill] = {"mirror": mirror, "Telea": telea, "Navier-Stokes": navier_stokes}
"""What an extension has to be better than."""


def have_opencv() -> bool:
    """Whether OpenCV is installed."""
    return find_spec("cv2") is not None


def have_patch_match() -> bool:
    """Whether PyPatchMatch is installed with its compiled part."""
    if find_spec("patchmatch") is None:
        return False
    import patchmatch

    return bool(patchmatch.patchmatch_available)


def _bytes(mask: Mask) -> NDArray[np.uint8]:
    return np.where(mask, 255, 0).astype(np.uint8)

"""What the model saw and how its painting was stitched, as PNG files to look at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from onefill.edit.crop import Box, Crop
from onefill.errors import OnefillError
from onefill.tasks.types import Mask


def save_pass(
    folder: Path,
    stem: str,
    view: Image.Image,
    model_mask: Mask,
    crop: Crop,
    weights: NDArray[np.float32],
    canvas: Box,
) -> None:
    """Write three pictures of one pass.

    ``<stem>-crop.png`` is the crop at the model's working size, ``<stem>-model-mask.png`` the
    mask it was given at that size, ``<stem>-stitch-mask.png`` the blending weights on the whole
    canvas, white where the painting stands alone.

    Raises:
        OnefillError: the folder cannot be written to.
    """
    stitched = np.zeros((canvas.height, canvas.width), np.uint8)
    # Rounded up: every pixel that was touched at all shows.
    stitched[crop.box.slices] = np.ceil(weights * 255).astype(np.uint8)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        view.save(folder / f"{stem}-crop.png")
        Image.fromarray(model_mask).save(folder / f"{stem}-model-mask.png")
        Image.fromarray(stitched).save(folder / f"{stem}-stitch-mask.png")
    except OSError as error:
        raise OnefillError(
            f"--save-debug {folder}: cannot be written ({error.strerror}); choose another folder"
        ) from error

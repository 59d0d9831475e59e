"""What the model is shown of a canvas: a cut-out without the emptiness round it."""

from __future__ import annotations

import numpy as np
from PIL import Image

from onefill.edit.canvas import Canvas
from onefill.edit.crop import Crop, shrink_picture
from onefill.images import array_to_image, image_to_array
from onefill.policy.surroundings import fill_smoothly
from onefill.tasks.types import Mask

_VISIBLE = 0.25  # opacity from which 8 bits still tell the colour


def show_crop(canvas: Canvas, crop: Crop, mask: Mask) -> Image.Image:
    """A crop as RGB at its working size.

    Where the canvas is transparent, the colours of what is opaque and not masked are carried on
    smoothly: any backdrop, white or other, would be painted on into the mask. What is partly
    transparent shows its own colour. Where nothing else can be seen, white is shown.

    Args:
        canvas: the whole picture.
        crop: the part, and its working size.
        mask: (H, W) of the working size, True where the model paints.
    """
    view = shrink_picture(canvas.view(crop.box), crop)
    if not canvas.has_alpha:
        return view
    opacity = Image.fromarray(np.ascontiguousarray(canvas.pixels[crop.box.slices][..., -1]))
    alpha = image_to_array(shrink_picture(opacity, crop).convert("RGB"))
    hidden = alpha[0] < _VISIBLE
    unknown = hidden | mask
    if not hidden.any() or unknown.all():
        unknown = hidden
    if unknown.all() or (alpha == 1).all():
        return view
    # The view is the colours laid on white, and so they are found again.
    colours = 1 - (1 - image_to_array(view)) / np.maximum(alpha, _VISIBLE)
    own = np.clip(colours, 0, 1).astype(np.float32)
    return array_to_image(np.where(hidden, fill_smoothly(own, unknown), own))

"""Panoramas in linear light to photographs as a camera would show them."""

from __future__ import annotations

import base64
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_BENT = 1 / 8
"""Share of the height, at top and bottom each, that is left out: everything is bent there."""

_BRIGHT = 75
"""Percentile of the light that is shown as middle grey."""


def read_panorama(path: Path) -> Image.Image:
    """The upright part of an equirectangular picture.

    Args:
        path: a JavaScript module whose only value is an OpenEXR file, as a base64 data URL.
    """
    import OpenEXR

    encoded = path.read_text(encoding="ascii").split("base64,", 1)[1].rstrip("'; \n")
    with tempfile.TemporaryDirectory() as shelf:
        file = Path(shelf) / "panorama.exr"
        file.write_bytes(base64.b64decode(encoded))
        with OpenEXR.File(str(file)) as stored:
            light = np.asarray(stored.channels()["RGB"].pixels, np.float32)
    bent = round(_BENT * len(light))
    return Image.fromarray(_shown(light[bent:-bent]))


def _shown(light: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Linear light (H, W, 3) to 8 bits: Reinhard et al. 2002, equation 3, and the sRGB gamma."""
    light = np.maximum(np.nan_to_num(light, posinf=1e4), 0)
    scaled = 0.5 * light / max(float(np.percentile(light, _BRIGHT)), 1e-6)
    shown = np.clip(1.4 * scaled / (1 + scaled), 0, 1) ** (1 / 2.2)
    return (255 * shown + 0.5).astype(np.uint8)

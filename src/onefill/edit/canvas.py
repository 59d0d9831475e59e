"""The picture being edited: every pixel that no edit touches keeps its bits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from onefill.edit.crop import Box

Pixels = NDArray[np.uint8]
"""Shape (H, W, channels), 8 bits each: grey, grey + alpha, RGB or RGB + alpha."""


@dataclass(frozen=True)
class Canvas:
    """Pixels as decoded: grey, grey + alpha, RGB or RGB + alpha by the number of channels."""

    pixels: Pixels

    @property
    def box(self) -> Box:
        """The whole canvas."""
        return Box(0, 0, self.pixels.shape[1], self.pixels.shape[0])

    @property
    def colours(self) -> int:
        """Channels that carry colour, the alpha channel left out: 1 or 3."""
        return (self.pixels.shape[2] - 1) | 1

    @property
    def has_alpha(self) -> bool:
        """Whether the last channel is transparency."""
        return self.pixels.shape[2] in (2, 4)

    def view(self, box: Box) -> Image.Image:
        """A part as RGB; transparent pixels show white, so their hidden colours do not matter."""
        part = self.pixels[box.slices]
        colour = np.broadcast_to(part[..., : self.colours], (*part.shape[:2], 3))
        if self.has_alpha:
            alpha = part[..., -1:].astype(np.float32) / 255
            colour = np.rint(colour * alpha + 255 * (1 - alpha)).astype(np.uint8)
        return Image.fromarray(np.ascontiguousarray(colour))

    def paste(self, box: Box, patch: Image.Image, weights: NDArray[np.float32]) -> Canvas:
        """A new canvas with ``patch`` blended into ``box``.

        Pixels of weight 0 keep their bits, and so does all alpha. A grey canvas takes the
        patch's luma.

        Args:
            box: where the patch goes; inside the canvas.
            patch: RGB of the box's size.
            weights: (box height, box width) in [0, 1]; 1 takes the patch alone.
        """
        paint = np.asarray(patch if self.colours == 3 else patch.convert("L"), np.float32)
        paint = paint.reshape(box.height, box.width, self.colours)
        pixels = self.pixels.copy()
        touched = weights > 0
        region = pixels[box.slices]
        old = region[touched][:, : self.colours].astype(np.float32)
        mixed = old + weights[touched][:, None] * (paint[touched] - old)
        region[touched, : self.colours] = np.rint(mixed).astype(np.uint8)
        return Canvas(pixels)

    def enlarge(self, width: int, height: int, keep: Box) -> Canvas:
        """A larger canvas with this one at ``keep``; new pixels repeat the edge, opaque.

        The repeated edge is painted over; until then it keeps resampling from mixing a foreign
        colour into the picture's own border.
        """
        pad = ((keep.y, height - keep.bottom), (keep.x, width - keep.right), (0, 0))
        pixels = np.pad(self.pixels, pad, mode="edge")
        if self.has_alpha:
            pixels[..., -1] = 255
            pixels[keep.slices] = self.pixels
        return Canvas(pixels)

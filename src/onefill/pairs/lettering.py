"""Writing words into pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from onefill.errors import BadInput
from onefill.pairs.subject import Write, bounds
from onefill.pocket.material.scenes import Rgb, composite
from onefill.tasks.types import Mask

LONGEST = 16
"""Most characters that are written into one region."""

_FONT_FILES = frozenset({".ttf", ".otf", ".ttc"})
_HEIGHT = 64
_NO_GLYPH = "\U0010fffd"
_INKS = np.array(
    [[0.05, 0.05, 0.08], [0.96, 0.96, 0.94], [0.82, 0.1, 0.12], [0.1, 0.2, 0.7], [0.98, 0.85, 0.2]]
)


@dataclass(frozen=True)
class Fonts:
    """The fonts that words are written with.

    Attributes:
        faces: at a size that letters are drawn at before they are brought to their place.
    """

    faces: tuple[ImageFont.FreeTypeFont, ...]

    def able(self, text: str) -> list[ImageFont.FreeTypeFont]:
        """Those that have every character of ``text``."""
        return [face for face in self.faces if all(_has(face, c) for c in text if c != " ")]


def built_in_font() -> Fonts:
    """The one that Pillow carries; Latin letters only."""
    face = ImageFont.load_default(_HEIGHT)
    return Fonts((face,) if isinstance(face, ImageFont.FreeTypeFont) else ())


def open_fonts(paths: Sequence[Path]) -> Fonts:
    """Font files, and all font files in folders.

    Raises:
        BadInput: a path is no font, or a folder holds none.
    """
    faces = []
    for path in paths:
        files = [path]
        if path.is_dir():
            found = (file for file in path.rglob("*") if file.suffix.lower() in _FONT_FILES)
            files = sorted(found)
            if not files:
                raise BadInput(f"--fonts {path}: no .ttf, .otf or .ttc in it; name a font file")
        for file in files:
            try:
                faces.append(ImageFont.truetype(str(file), _HEIGHT))
            except OSError as error:
                raise BadInput(
                    f"--fonts {file}: no font that can be read ({error}); name a .ttf or .otf"
                ) from error
    return Fonts(tuple(faces))


def _has(face: ImageFont.FreeTypeFont, character: str) -> bool:
    drawn, missing = face.getmask(character), face.getmask(_NO_GLYPH)
    return drawn.getbbox() is not None and bytes(drawn) != bytes(missing)


def open_writing(
    background: Rgb, mask: Mask, words: str, faces: Sequence[ImageFont.FreeTypeFont], seed: int
) -> Write:
    """A hand that writes in the region: whatever the text, in one font, ink, size and slant."""
    rng = np.random.default_rng(seed)
    face = faces[int(rng.integers(len(faces)))]
    slant = rng.uniform(-5, 5)
    box = bounds(mask)
    behind = background[box].mean((0, 1))
    distances = np.abs(_INKS - behind).sum(1) + rng.uniform(0, 0.5, len(_INKS))
    ink = _INKS[int(distances.argmax())]
    room = (box[1].stop - box[1].start, box[0].stop - box[0].start)
    share = rng.uniform(0.85, 1)
    whole = _stencil(face, words, slant)
    size = share * min(room[0] / whole.width, room[1] / whole.height)

    def write(text: str, mirrored: bool) -> Rgb:
        if not text.strip():
            return background
        stencil = _stencil(face, text, slant)
        scale = min(size, room[0] / stencil.width, room[1] / stencil.height)
        width, height = (max(1, round(side * scale)) for side in stencil.size)
        stencil = stencil.resize((width, height), Image.Resampling.LANCZOS)
        if mirrored:
            stencil = ImageOps.mirror(stencil)
        alpha = Image.new("L", mask.shape[::-1])
        corner = (box[1].start + (room[0] - width) // 2, box[0].start + (room[1] - height) // 2)
        alpha.paste(stencil, corner)
        layer = np.empty((*mask.shape, 4), np.float32)
        layer[..., :3] = ink
        layer[..., 3] = np.asarray(alpha, np.float32) / 255 * mask
        return composite(background, layer)

    return write


def _stencil(face: ImageFont.FreeTypeFont, text: str, slant: float) -> Image.Image:
    left, top, right, bottom = face.getbbox(text)
    pad = 4
    stencil = Image.new("L", (int(right - left) + 2 * pad, int(bottom - top) + 2 * pad))
    ImageDraw.Draw(stencil).text((pad - left, pad - top), text, font=face, fill=255)
    return stencil.rotate(slant, Image.Resampling.BILINEAR)

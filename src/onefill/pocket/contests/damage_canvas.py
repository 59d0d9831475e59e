"""What damage is done to, how it is done so that it shows, and the brushes it is done with.

Pictures may be of any size. Lengths are said for a picture of ``SIZE`` pixels and grow with the
shorter side, so that a fault looks the same from as far as the whole picture is seen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from onefill.pocket.material.scenes import SIZE, Rgb, to_bytes

Plane = NDArray[np.float32]
"""Shape (H, W, 1), values in [0, 1]."""

VISIBLE, PLAIN = 0.03, 0.08
"""Mean change, of values in [0, 1] and over the damaged region, that can be seen, and that cannot
be overlooked. Damage to structure must be plain: a sky drawn out in streaks is still a sky."""


@dataclass(frozen=True)
class Canvas:
    """What damage is done to.

    Attributes:
        picture: the undamaged result, float32 (H, W, 3); both sides at least 2 pixels.
        background: the same scene before the object or the word was put on it.
        mask: bool (H, W), the region that was painted.

    """

    picture: Rgb
    background: Rgb
    mask: NDArray[np.bool_]

    @classmethod
    def of_levels(
        cls, picture: NDArray[np.uint8], background: NDArray[np.uint8], mask: NDArray[np.bool_]
    ) -> Canvas:
        """A canvas of pictures in grey levels."""
        shown, behind = ((levels / 255).astype(np.float32) for levels in (picture, background))
        return cls(shown, behind, mask)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.mask.shape[0], self.mask.shape[1]

    @property
    def scale(self) -> float:
        """How many pixels of this picture are one pixel of a picture of ``SIZE``."""
        return min(self.shape) / SIZE

    @property
    def rows(self) -> NDArray[np.float32]:
        """The row of every pixel, (H, W); not to be written to."""
        return _grid(*self.shape)[0]

    @property
    def columns(self) -> NDArray[np.float32]:
        """The column of every pixel, (H, W); not to be written to."""
        return _grid(*self.shape)[1]

    @cached_property
    def region(self) -> Plane:
        """The mask as numbers."""
        return self.mask[..., None].astype(np.float32)

    @cached_property
    def matte(self) -> Plane:
        """Where the object is: 1 on it, 0 elsewhere, a pixel or so of slope between."""
        change = np.abs(self.picture - self.background).max(-1, keepdims=True)
        return np.clip(change * 12, 0, 1)

    @cached_property
    def box(self) -> tuple[slice, slice]:
        """Rows and columns of the smallest box around the object, or the mask if there is none."""
        seen = self.matte[..., 0] > 0.5
        enough = 20 * self.scale**2
        rows, columns = np.nonzero(seen if seen.sum() > enough else self.mask)
        return slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)


Damage = Callable[[Canvas, float, np.random.Generator], Rgb]
"""(canvas, strength in (0, 1], generator) to the damaged picture, values in [0, 1]."""


def apply(
    kinds: tuple[Damage, ...],
    canvas: Canvas,
    strength: float,
    rng: np.random.Generator,
    least: float = VISIBLE,
    plainest: float | None = None,
) -> Rgb:
    """Damage the canvas with the first of ``kinds``, in drawn order, that changes it enough.

    A blur does nothing to a flat sky: such a fault is passed over for the next one.

    Args:
        kinds: what may be done.
        canvas: what it is done to.
        strength: in (0, 1].
        rng: decides everything else.
        least: mean change that is enough.
        plainest: strength at which the change must be enough; ``strength`` where it is None. The
            same fault at two strengths is of one kind only if this is the same for both: by
            strength alone, a faint ghost and a plain stain cannot be compared.
    """
    best, most = canvas.picture, -1.0
    for index in rng.permutation(len(kinds)):
        seed = int(rng.integers(2**62))

        def damage(at: float, kind: Damage = kinds[index], seed: int = seed) -> Rgb:
            return kind(canvas, at, np.random.default_rng(seed))

        plain = damage(strength if plainest is None else plainest)
        change = np.abs(plain - canvas.picture).max(-1)
        touched = change > 1 / 255
        # Small but strong changes count as well as wide ones: the mean over an eighth at least.
        seen = float(change.sum() / max(int(touched.sum()), touched.size // 8, 1))
        if seen > most:
            most = seen
            best = plain if plainest in (None, strength) else damage(strength)
        if seen >= least:
            break
    return best


def blend(picture: Rgb, other: Rgb, weight: Plane | float) -> Rgb:
    """``picture`` going over into ``other`` (or one colour) where ``weight`` is 1."""
    return np.clip(picture + (other - picture) * weight, 0, 1).astype(np.float32)


def numbers(image: Image.Image) -> Rgb:
    """An 8-bit image as values in [0, 1]."""
    return (np.asarray(image, np.float32) / 255).astype(np.float32)


def blurred(picture: Rgb, radius: float) -> Rgb:
    """A Gaussian blur, radius in pixels."""
    soft = Image.fromarray(to_bytes(picture)).filter(ImageFilter.GaussianBlur(radius))
    return numbers(soft)


def blur_plane(plane: Plane, radius: float) -> Plane:
    """A Gaussian blur of one plane, radius in pixels."""
    grey = Image.fromarray(np.round(plane[..., 0] * 255).astype(np.uint8))
    return numbers(grey.filter(ImageFilter.GaussianBlur(radius)))[..., None]


def field(rng: np.random.Generator, cells: int, shape: tuple[int, int], channels: int = 1) -> Rgb:
    """Smooth random planes (*shape, channels), values about [-1, 1], ``cells`` bumps across."""
    planes = []
    for _ in range(channels):
        coarse = Image.fromarray(rng.uniform(-1, 1, (cells, cells)).astype(np.float32))
        planes.append(np.asarray(coarse.resize(shape[::-1], Image.Resampling.BICUBIC)))
    return np.stack(planes, -1)


def colour(rng: np.random.Generator) -> Rgb:
    """A direction in colour space whose largest component is 1 or -1."""
    direction = rng.normal(size=3).astype(np.float32)
    return direction / np.abs(direction).max()


def grain(rng: np.random.Generator, shape: tuple[int, int], scale: float) -> Rgb:
    """Normal noise (*shape, 3) whose grains grow with the picture, so that they stay visible."""
    side = max(1, round(scale / 2))
    cells = (-(-shape[0] // side), -(-shape[1] // side), 3)
    noise = rng.normal(size=cells).astype(np.float32)
    return noise.repeat(side, 0).repeat(side, 1)[: shape[0], : shape[1]]


@lru_cache(maxsize=8)
def _grid(height: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    return rows, columns


def resample(planes: Rgb, rows: NDArray[np.float32], columns: NDArray[np.float32]) -> Rgb:
    """Planes (H, W, C) read bilinearly at float positions (H, W), edges repeated."""
    height, width = planes.shape[:2]
    rows, columns = np.clip(rows, 0, height - 1.001), np.clip(columns, 0, width - 1.001)
    top, left = rows.astype(np.intp), columns.astype(np.intp)
    down, right = (rows - top)[..., None], (columns - left)[..., None]
    upper = planes[top, left] * (1 - right) + planes[top, left + 1] * right
    lower = planes[top + 1, left] * (1 - right) + planes[top + 1, left + 1] * right
    return (upper * (1 - down) + lower * down).astype(np.float32)

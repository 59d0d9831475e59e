"""Graded damage: what makes one result worse than another, one dimension at a time.

A pair for the judge is two renderings of one scene with different damage. All of it is drawn
from a generator first and scaled by ``strength`` last, so that the same generator state at a
higher strength gives the same fault, only plainer.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from onefill.pocket.scenes import SIZE, Rgb, to_bytes

Plane = NDArray[np.float32]
"""Shape (SIZE, SIZE, 1), values in [0, 1]."""

VISIBLE = 0.03
"""Smallest mean change, of values in [0, 1] and over the damaged region, that counts as seen."""


@dataclass(frozen=True)
class Canvas:
    """What damage is done to.

    Attributes:
        picture: the undamaged result.
        background: the same scene before the object or the word was put on it.
        mask: bool (SIZE, SIZE), the region that was painted.

    """

    picture: Rgb
    background: Rgb
    mask: NDArray[np.bool_]

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
        rows, columns = np.nonzero(seen if seen.sum() > 20 else self.mask)
        return slice(rows.min(), rows.max() + 1), slice(columns.min(), columns.max() + 1)


Damage = Callable[[Canvas, float, np.random.Generator], Rgb]
"""(canvas, strength in (0, 1], generator) to the damaged picture, values in [0, 1]."""


def apply(
    kinds: tuple[Damage, ...], canvas: Canvas, strength: float, rng: np.random.Generator
) -> Rgb:
    """Damage the canvas with the first of ``kinds``, in drawn order, that can be seen on it.

    A blur does nothing to a flat sky: such a fault is passed over for the next one.
    """
    best, most = canvas.picture, -1.0
    for index in rng.permutation(len(kinds)):
        damaged = kinds[index](canvas, strength, np.random.default_rng(int(rng.integers(2**62))))
        change = np.abs(damaged - canvas.picture).max(-1)
        touched = change > 1 / 255
        # Small but strong changes count as well as wide ones: the mean over an eighth at least.
        seen = float(change.sum() / max(int(touched.sum()), SIZE * SIZE // 8))
        if seen >= VISIBLE:
            return damaged
        if seen > most:
            best, most = damaged, seen
    return best


def _blend(picture: Rgb, other: Rgb, weight: Plane | float) -> Rgb:
    return np.clip(picture + (other - picture) * weight, 0, 1).astype(np.float32)


def _numbers(image: Image.Image) -> Rgb:
    """An 8-bit image as values in [0, 1]."""
    return (np.asarray(image, np.float32) / 255).astype(np.float32)


def _blur(picture: Rgb, radius: float) -> Rgb:
    soft = Image.fromarray(to_bytes(picture)).filter(ImageFilter.GaussianBlur(radius))
    return _numbers(soft)


def _blur_plane(plane: Plane, radius: float) -> Plane:
    grey = Image.fromarray(np.round(plane[..., 0] * 255).astype(np.uint8))
    return _numbers(grey.filter(ImageFilter.GaussianBlur(radius)))[..., None]


def _field(rng: np.random.Generator, cells: int, channels: int = 1) -> Rgb:
    """Smooth random planes (SIZE, SIZE, channels), values about [-1, 1], ``cells`` bumps across."""
    planes = []
    for _ in range(channels):
        coarse = Image.fromarray(rng.uniform(-1, 1, (cells, cells)).astype(np.float32))
        planes.append(np.asarray(coarse.resize((SIZE, SIZE), Image.Resampling.BICUBIC)))
    return np.stack(planes, -1)


def _colour(rng: np.random.Generator) -> Rgb:
    """A direction in colour space whose largest component is 1 or -1."""
    direction = rng.normal(size=3).astype(np.float32)
    return direction / np.abs(direction).max()


_ROWS, _COLUMNS = np.mgrid[:SIZE, :SIZE].astype(np.float32)


def _resample(planes: Rgb, rows: NDArray[np.float32], columns: NDArray[np.float32]) -> Rgb:
    """Planes (SIZE, SIZE, C) read bilinearly at float positions, edges repeated."""
    rows, columns = np.clip(rows, 0, SIZE - 1.001), np.clip(columns, 0, SIZE - 1.001)
    top, left = rows.astype(np.intp), columns.astype(np.intp)
    down, right = (rows - top)[..., None], (columns - left)[..., None]
    upper = planes[top, left] * (1 - right) + planes[top, left + 1] * right
    lower = planes[top + 1, left] * (1 - right) + planes[top + 1, left + 1] * right
    return (upper * (1 - down) + lower * down).astype(np.float32)


# --- consistency: the painted region does not belong to its surroundings -----------------------


def tint(canvas: Canvas, strength: float, rng: np.random.Generator) -> Rgb:
    """The region takes on a colour."""
    shifted = canvas.picture + (0.12 + 0.3 * strength) * _colour(rng)
    return _blend(canvas.picture, shifted, canvas.region)


def light(canvas: Canvas, strength: float, rng: np.random.Generator) -> Rgb:
    """The region is brighter or darker than its surroundings."""
    sign = 1.0 if rng.random() < 0.5 else -1.0
    shifted = canvas.picture + sign * (0.1 + 0.35 * strength)
    return _blend(canvas.picture, shifted, canvas.region)


def soft_region(canvas: Canvas, strength: float, rng: np.random.Generator) -> Rgb:
    """The region is out of focus in a sharp picture."""
    return _blend(canvas.picture, _blur(canvas.picture, 1 + 3 * strength), canvas.region)


def grain_region(canvas: Canvas, strength: float, rng: np.random.Generator) -> Rgb:
    """The region has a grain that its surroundings lack."""
    noise = rng.normal(size=(SIZE, SIZE, 3)).astype(np.float32)
    return _blend(canvas.picture, canvas.picture + (0.06 + 0.14 * strength) * noise, canvas.region)


def veil(canvas: Canvas, strength: float, rng: np.random.Generator) -> Rgb:
    """A flat colour lies over the region like fog."""
    return _blend(
        canvas.picture, rng.random(3).astype(np.float32), canvas.region * (0.2 + 0.45 * strength)
    )


def grey_region(canvas: Canvas, strength: float, rng: np.random.Generator) -> Rgb:
    """The region has lost its colours."""
    grey = canvas.picture.mean(-1, keepdims=True)
    return _blend(canvas.picture, grey, canvas.region * (0.4 + 0.6 * strength))


def seam(canvas: Canvas, strength: float, rng: np.random.Generator) -> Rgb:
    """A light or dark line runs along the edge of the region."""
    width = int(rng.integers(1, 3))
    shape = Image.fromarray(np.where(canvas.mask, 255, 0).astype(np.uint8))
    inner = np.asarray(shape.filter(ImageFilter.MinFilter(2 * width + 1))) > 127
    line = (canvas.mask & ~inner)[..., None].astype(np.float32)
    ink = np.full(3, float(rng.random() < 0.5), np.float32)
    return _blend(canvas.picture, ink, line * (0.3 + 0.6 * strength))


# --- structure: the thing itself is misshapen ---------------------------------------------------


def _on_background(canvas: Canvas, rows: NDArray[np.float32], columns: NDArray[np.float32]) -> Rgb:
    """The object read at other positions, over the clean background, inside the mask."""
    moved = _resample(np.concatenate([canvas.picture, canvas.matte], -1), rows, columns)
    painted = _blend(canvas.background, moved[..., :3], moved[..., 3:])
    return _blend(canvas.picture, painted, canvas.region)


def bent_object(canvas: Canvas, strength: float, rng: np.random.Generator) -> Rgb:
    """The object's outline wobbles."""
    shift = _field(rng, 5, 2) * (5 + 11 * strength)
    return _on_background(canvas, _ROWS + shift[..., 0], _COLUMNS + shift[..., 1])


def _shuffled(
    box: tuple[slice, slice], grid: int, share: float, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Positions that exchange a share of the cells of a grid laid over ``box``."""
    rows, columns = _ROWS.copy(), _COLUMNS.copy()
    height = max(1, (box[0].stop - box[0].start) // grid)
    width = max(1, (box[1].stop - box[1].start) // grid)
    order = rng.permutation(grid * grid)
    chosen = order[: max(2, round(share * grid * grid))]
    for cell, other in zip(chosen, np.roll(chosen, 1), strict=True):
        (row, column), (from_row, from_column) = divmod(cell, grid), divmod(other, grid)
        top, left = box[0].start + row * height, box[1].start + column * width
        here = np.s_[top : top + height, left : left + width]
        rows[here] += (from_row - row) * height
        columns[here] += (from_column - column) * width
    return rows, columns


def shuffled_object(canvas: Canvas, strength: float, rng: np.random.Generator) -> Rgb:
    """Parts of the object stand where other parts belong."""
    return _on_background(canvas, *_shuffled(canvas.box, 4, 0.25 + 0.75 * strength, rng))


def split_object(canvas: Canvas, strength: float, rng: np.random.Generator) -> Rgb:
    """The object is cut in slices that slid apart."""
    slices, along_rows = int(rng.integers(2, 5)), rng.random() < 0.5
    slips = rng.choice([-1.0, 1.0], slices) * rng.uniform(0.7, 1, slices)
    slips[1::2] = -np.sign(slips[:-1:2]) * np.abs(slips[1::2])
    box = canvas.box[0] if along_rows else canvas.box[1]
    length = max(box.stop - box.start, 1)
    along = _ROWS if along_rows else _COLUMNS
    which = np.clip((along - box.start) * slices / length, 0, slices - 1).astype(np.intp)
    slip = slips[which].astype(np.float32) * (3 + 8 * strength)
    if along_rows:
        return _on_background(canvas, _ROWS, _COLUMNS + slip)
    return _on_background(canvas, _ROWS + slip, _COLUMNS)


def doubled_object(canvas: Canvas, strength: float, rng: np.random.Generator) -> Rgb:
    """A second, displaced copy of the object's parts lies across it."""
    angle = rng.uniform(0, 2 * np.pi)
    reach = 6 + 8 * strength
    planes = np.concatenate([canvas.picture, canvas.matte], -1)
    copy = _resample(planes, _ROWS + reach * np.sin(angle), _COLUMNS + reach * np.cos(angle))
    half = (_field(rng, 3) > -0.2).astype(np.float32)
    doubled = _blend(canvas.picture, copy[..., :3], copy[..., 3:] * half)
    return _blend(canvas.picture, doubled, canvas.region)


def bent_region(canvas: Canvas, strength: float, rng: np.random.Generator) -> Rgb:
    """Everything in the region wobbles."""
    shift = _field(rng, 7, 2) * (4 + 10 * strength)
    moved = _resample(canvas.picture, _ROWS + shift[..., 0], _COLUMNS + shift[..., 1])
    return _blend(canvas.picture, moved, canvas.region)


def shuffled_region(canvas: Canvas, strength: float, rng: np.random.Generator) -> Rgb:
    """Squares of the region stand where other squares belong."""
    whole = (slice(0, SIZE), slice(0, SIZE))
    grid = int(rng.choice([6, 8]))
    rows, columns = _shuffled(whole, grid, 0.3 + 0.7 * strength, rng)
    return _blend(canvas.picture, _resample(canvas.picture, rows, columns), canvas.region)


def mirrored_region(canvas: Canvas, strength: float, rng: np.random.Generator) -> Rgb:
    """The region repeats the other side of the picture, upside down, instead of going on."""
    turned = canvas.picture[::-1] if rng.random() < 0.5 else canvas.picture[::-1, ::-1]
    return _blend(canvas.picture, turned, canvas.region * (0.35 + 0.65 * strength))


def streaked_region(canvas: Canvas, strength: float, rng: np.random.Generator) -> Rgb:
    """The edge of the kept part is drawn out in streaks across the region."""
    kept_rows = np.flatnonzero(~canvas.mask.all(1))
    kept_columns = np.flatnonzero(~canvas.mask.all(0))
    rows = np.clip(_ROWS, kept_rows.min(), kept_rows.max())
    columns = np.clip(_COLUMNS, kept_columns.min(), kept_columns.max())
    drawn = _resample(canvas.picture, rows, columns)
    return _blend(canvas.picture, drawn, canvas.region * (0.4 + 0.6 * strength))


# --- aesthetics: the whole picture is ugly ------------------------------------------------------


def noise(canvas: Canvas, strength: float, rng: np.random.Generator) -> Rgb:
    """Sensor noise everywhere."""
    grain = rng.normal(size=(SIZE, SIZE, 3)).astype(np.float32)
    return np.clip(canvas.picture + (0.06 + 0.16 * strength) * grain, 0, 1)


def compression(canvas: Canvas, strength: float, rng: np.random.Generator) -> Rgb:
    """JPEG blocks."""
    stream = io.BytesIO()
    quality = round(16 - 14 * strength)
    Image.fromarray(to_bytes(canvas.picture)).save(stream, "JPEG", quality=quality)
    return _numbers(Image.open(stream))


def blur(canvas: Canvas, strength: float, rng: np.random.Generator) -> Rgb:
    """Nothing is in focus."""
    return _blur(canvas.picture, 1 + 2.5 * strength)


def garish(canvas: Canvas, strength: float, rng: np.random.Generator) -> Rgb:
    """Colours and contrast are driven until they clip."""
    grey = canvas.picture.mean(-1, keepdims=True)
    driven = grey + (canvas.picture - grey) * (1.8 + 3 * strength)
    return np.clip(0.5 + (driven - 0.5) * (1.2 + 0.9 * strength), 0, 1).astype(np.float32)


def dull(canvas: Canvas, strength: float, rng: np.random.Generator) -> Rgb:
    """Hardly any contrast is left."""
    level = rng.uniform(0.35, 0.65)
    return (level + (canvas.picture - level) * (0.6 - 0.45 * strength)).astype(np.float32)


def pixelated(canvas: Canvas, strength: float, rng: np.random.Generator) -> Rgb:
    """Coarse square dots, as if enlarged from a thumbnail."""
    side = round(30 - 18 * strength)
    small = Image.fromarray(to_bytes(canvas.picture)).resize((side, side), Image.Resampling.BOX)
    return _numbers(small.resize((SIZE, SIZE), Image.Resampling.NEAREST))


def exposure(canvas: Canvas, strength: float, rng: np.random.Generator) -> Rgb:
    """So bright, or so dark, that a part of the picture is lost."""
    power = 1.8 + 1.6 * strength
    if rng.random() < 0.5:
        return np.clip(canvas.picture * power, 0, 1)
    return np.clip((canvas.picture - 1) * power + 1, 0, 1)


# --- removal quality: what was taken away left something behind ---------------------------------


def flat_patch(canvas: Canvas, strength: float, rng: np.random.Generator) -> Rgb:
    """The region is filled with one colour near that of the picture."""
    mean = canvas.picture.mean((0, 1)) + 0.15 * _colour(rng)
    return _blend(canvas.picture, mean, canvas.region * (0.35 + 0.6 * strength))


def smear(canvas: Canvas, strength: float, rng: np.random.Generator) -> Rgb:
    """The region is wiped sideways."""
    reach = 4 + 10 * strength
    angle = rng.uniform(0, np.pi)
    steps = np.linspace(-reach, reach, 9)
    wiped = sum(
        _resample(canvas.picture, _ROWS + s * np.sin(angle), _COLUMNS + s * np.cos(angle))
        for s in steps
    )
    mean = (np.asarray(wiped) / len(steps)).astype(np.float32)
    return _blend(canvas.picture, mean, canvas.region)


def remnant(layer: Rgb) -> Damage:
    """The damage of an object that is still there, faintly or in full: an RGBA layer."""

    def ghost(canvas: Canvas, strength: float, rng: np.random.Generator) -> Rgb:
        return _blend(
            canvas.picture, layer[..., :3], layer[..., 3:] * canvas.region * (0.3 + 0.7 * strength)
        )

    return ghost


def outline(layer: Rgb) -> Damage:
    """The damage of a halo that follows the outline of an object that is gone."""

    def halo(canvas: Canvas, strength: float, rng: np.random.Generator) -> Rgb:
        ring = _blur_plane(layer[..., 3:], 2.5) * 4 * (1 - layer[..., 3:])
        ink = layer[..., :3].mean((0, 1)) if rng.random() < 0.5 else rng.random(3)
        weight = np.clip(ring, 0, 1) * canvas.region * (0.3 + 0.6 * strength)
        return _blend(canvas.picture, np.asarray(ink, np.float32), weight)

    return halo


# --- what a model that has learnt too little paints ---------------------------------------------


def painted_weakly(canvas: Canvas, strength: float, rng: np.random.Generator) -> Rgb:
    """Blurred blobs with wandering outlines and blotches of stray colour, inside the mask."""
    shift = _field(rng, 5, 2) * (1 + 7 * strength)
    cells = int(rng.choice([8, 12, 16]))
    blotches = _field(rng, cells, 3) * (0.03 + 0.3 * strength)
    focus = _blur_plane(canvas.matte, 3) if rng.random() < 0.7 else canvas.region
    moved = _resample(canvas.picture, _ROWS + shift[..., 0], _COLUMNS + shift[..., 1])
    painted = _blur(moved, 0.5 + 1.5 * strength) + blotches * (0.25 + 0.75 * focus)
    return _blend(canvas.picture, painted, canvas.region)


CONSISTENCY: tuple[Damage, ...] = (
    tint, light, soft_region, grain_region, veil, grey_region, seam,
)  # fmt: skip
OBJECT_STRUCTURE: tuple[Damage, ...] = (
    bent_object, shuffled_object, split_object, doubled_object,
)  # fmt: skip
BORDER_STRUCTURE: tuple[Damage, ...] = (
    bent_region, shuffled_region, mirrored_region, streaked_region,
)  # fmt: skip
AESTHETICS: tuple[Damage, ...] = (
    noise, compression, blur, garish, dull, pixelated, exposure,
)  # fmt: skip
REMOVAL: tuple[Damage, ...] = (flat_patch, smear, tint, soft_region)

"""Graded damage: what makes one result worse than another, one dimension at a time.

A pair for the judge is two renderings of one scene with different damage. All of it is drawn
from a generator first and scaled by ``strength`` last, so that the same generator state at a
higher strength gives the same fault, only plainer.
"""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from onefill.pocket.contests.damage_canvas import (
    Canvas,
    Damage,
    blend,
    blur_plane,
    blurred,
    colour,
    field,
    grain,
    numbers,
    resample,
)
from onefill.pocket.material.scenes import Rgb, to_bytes

# --- consistency: the painted region does not belong to its surroundings -----------------------


def tint(canvas: Canvas, strength: float, rng: np.random.Generator) -> Rgb:
    """The region takes on a colour."""
    shifted = canvas.picture + (0.12 + 0.3 * strength) * colour(rng)
    return blend(canvas.picture, shifted, canvas.region)


def light(canvas: Canvas, strength: float, rng: np.random.Generator) -> Rgb:
    """The region is brighter or darker than its surroundings."""
    sign = 1.0 if rng.random() < 0.5 else -1.0
    shifted = canvas.picture + sign * (0.1 + 0.35 * strength)
    return blend(canvas.picture, shifted, canvas.region)


def soft_region(canvas: Canvas, strength: float, rng: np.random.Generator) -> Rgb:
    """The region is out of focus in a sharp picture."""
    return blend(
        canvas.picture, blurred(canvas.picture, (1 + 3 * strength) * canvas.scale), canvas.region
    )


def grain_region(canvas: Canvas, strength: float, rng: np.random.Generator) -> Rgb:
    """The region has a grain that its surroundings lack."""
    noise = grain(rng, canvas.shape, canvas.scale)
    return blend(canvas.picture, canvas.picture + (0.06 + 0.14 * strength) * noise, canvas.region)


def veil(canvas: Canvas, strength: float, rng: np.random.Generator) -> Rgb:
    """A flat colour lies over the region like fog."""
    return blend(
        canvas.picture, rng.random(3).astype(np.float32), canvas.region * (0.2 + 0.45 * strength)
    )


def grey_region(canvas: Canvas, strength: float, rng: np.random.Generator) -> Rgb:
    """The region has lost its colours."""
    grey = canvas.picture.mean(-1, keepdims=True)
    return blend(canvas.picture, grey, canvas.region * (0.4 + 0.6 * strength))


def seam(canvas: Canvas, strength: float, rng: np.random.Generator) -> Rgb:
    """A light or dark line runs along the edge of the region."""
    width = max(1, round(int(rng.integers(1, 3)) * canvas.scale))
    shape = Image.fromarray(np.where(canvas.mask, 255, 0).astype(np.uint8))
    for _ in range(width):
        shape = shape.filter(ImageFilter.MinFilter(3))
    inner = np.asarray(shape) > 127
    line = (canvas.mask & ~inner)[..., None].astype(np.float32)
    ink = np.full(3, float(rng.random() < 0.5), np.float32)
    return blend(canvas.picture, ink, line * (0.3 + 0.6 * strength))


def harsh_region(canvas: Canvas, strength: float, rng: np.random.Generator) -> Rgb:
    """The region is sharpened until light and dark part, in a picture that is not."""
    return blend(canvas.picture, _sharpened(canvas, canvas.picture, strength, rng), canvas.region)


def _sharpened(canvas: Canvas, picture: Rgb, strength: float, rng: np.random.Generator) -> Rgb:
    """An unsharp mask far beyond taste: what a policy does that is led towards crispness."""
    soft = blurred(picture, rng.uniform(1, 4) * canvas.scale)
    return np.clip(picture + (picture - soft) * (0.3 + 2.2 * strength), 0, 1)


# --- structure: the thing itself is misshapen ---------------------------------------------------


def _on_background(canvas: Canvas, rows: NDArray[np.float32], columns: NDArray[np.float32]) -> Rgb:
    """The object read at other positions, over the clean background, inside the mask."""
    moved = resample(np.concatenate([canvas.picture, canvas.matte], -1), rows, columns)
    painted = blend(canvas.background, moved[..., :3], moved[..., 3:])
    return blend(canvas.picture, painted, canvas.region)


def bent_object(canvas: Canvas, strength: float, rng: np.random.Generator) -> Rgb:
    """The object's outline wobbles."""
    shift = field(rng, 5, canvas.shape, 2) * ((5 + 11 * strength) * canvas.scale)
    return _on_background(canvas, canvas.rows + shift[..., 0], canvas.columns + shift[..., 1])


def _shuffled(
    canvas: Canvas,
    box: tuple[slice, slice],
    grid: int,
    share: float,
    rng: np.random.Generator,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Positions that exchange a share of the cells of a grid laid over ``box``."""
    rows, columns = canvas.rows.copy(), canvas.columns.copy()
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
    return _on_background(canvas, *_shuffled(canvas, canvas.box, 4, 0.25 + 0.75 * strength, rng))


def split_object(canvas: Canvas, strength: float, rng: np.random.Generator) -> Rgb:
    """The object is cut in slices that slid apart."""
    slices, along_rows = int(rng.integers(2, 5)), rng.random() < 0.5
    slips = rng.choice([-1.0, 1.0], slices) * rng.uniform(0.7, 1, slices)
    slips[1::2] = -np.sign(slips[:-1:2]) * np.abs(slips[1::2])
    box = canvas.box[0] if along_rows else canvas.box[1]
    length = max(box.stop - box.start, 1)
    along = canvas.rows if along_rows else canvas.columns
    which = np.clip((along - box.start) * slices / length, 0, slices - 1).astype(np.intp)
    slip = slips[which].astype(np.float32) * ((3 + 8 * strength) * canvas.scale)
    if along_rows:
        return _on_background(canvas, canvas.rows, canvas.columns + slip)
    return _on_background(canvas, canvas.rows + slip, canvas.columns)


def doubled_object(canvas: Canvas, strength: float, rng: np.random.Generator) -> Rgb:
    """A second, displaced copy of the object's parts lies across it."""
    angle = rng.uniform(0, 2 * np.pi)
    reach = (6 + 8 * strength) * canvas.scale
    planes = np.concatenate([canvas.picture, canvas.matte], -1)
    copy = resample(
        planes, canvas.rows + reach * np.sin(angle), canvas.columns + reach * np.cos(angle)
    )
    half = (field(rng, 3, canvas.shape) > -0.2).astype(np.float32)
    doubled = blend(canvas.picture, copy[..., :3], copy[..., 3:] * half)
    return blend(canvas.picture, doubled, canvas.region)


def faded_object(canvas: Canvas, strength: float, rng: np.random.Generator) -> Rgb:
    """The background shows through the object, as if it had been painted by halves."""
    return blend(canvas.picture, canvas.background, canvas.region * (0.3 + 0.5 * strength))


def eaten_object(canvas: Canvas, strength: float, rng: np.random.Generator) -> Rgb:
    """Parts of the object are not there."""
    bumps = field(rng, int(rng.integers(3, 6)), canvas.shape)
    on = bumps[canvas.matte > 0.5]
    level = np.quantile(on, 1 - (0.2 + 0.55 * strength)) if len(on) else 0.0
    missing = np.clip((bumps - np.float32(level)) * 8 + 0.5, 0, 1)
    return blend(canvas.picture, canvas.background, canvas.region * missing)


def bent_region(canvas: Canvas, strength: float, rng: np.random.Generator) -> Rgb:
    """Everything in the region wobbles."""
    shift = field(rng, 7, canvas.shape, 2) * ((4 + 10 * strength) * canvas.scale)
    moved = resample(canvas.picture, canvas.rows + shift[..., 0], canvas.columns + shift[..., 1])
    return blend(canvas.picture, moved, canvas.region)


def shuffled_region(canvas: Canvas, strength: float, rng: np.random.Generator) -> Rgb:
    """Squares of the region stand where other squares belong."""
    whole = (slice(0, canvas.shape[0]), slice(0, canvas.shape[1]))
    grid = int(rng.choice([6, 8]))
    rows, columns = _shuffled(canvas, whole, grid, 0.3 + 0.7 * strength, rng)
    return blend(canvas.picture, resample(canvas.picture, rows, columns), canvas.region)


def streaked_region(canvas: Canvas, strength: float, rng: np.random.Generator) -> Rgb:
    """The edge of the kept part is drawn out in streaks across the region."""
    kept_rows = np.flatnonzero(~canvas.mask.all(1))
    kept_columns = np.flatnonzero(~canvas.mask.all(0))
    if not len(kept_rows):  # all is painted: there is no edge to draw from
        return canvas.picture
    rows = np.clip(canvas.rows, kept_rows.min(), kept_rows.max())
    columns = np.clip(canvas.columns, kept_columns.min(), kept_columns.max())
    drawn = resample(canvas.picture, rows, columns)
    return blend(canvas.picture, drawn, canvas.region * (0.4 + 0.6 * strength))


def patterned_region(canvas: Canvas, strength: float, rng: np.random.Generator) -> Rgb:
    """Stripes, checks or speckle of a short period: what a policy paints to fool a judge."""
    period, angle = (
        rng.uniform(2, 14) * canvas.scale,
        rng.choice([0.0, np.pi / 2, rng.uniform(0, np.pi)]),
    )
    along = canvas.rows * np.cos(angle) + canvas.columns * np.sin(angle)
    across = canvas.columns * np.cos(angle) - canvas.rows * np.sin(angle)
    wave = np.sin(2 * np.pi * along / period + rng.uniform(0, 6))
    kind = rng.random()
    if kind < 0.35:
        wave = wave * np.sin(2 * np.pi * across / (rng.uniform(2, 14) * canvas.scale))
    elif kind < 0.55:
        wave = field(rng, int(rng.integers(12, 33)), canvas.shape)[..., 0] * 2
    sharp = np.clip(wave * rng.uniform(1, 4), -1, 1)[..., None].astype(np.float32)
    contrast = (0.12 + 0.5 * strength) * (np.ones(3, np.float32) if kind < 0.7 else colour(rng))
    flat = canvas.picture if rng.random() < 0.5 else blurred(canvas.picture, 6 * canvas.scale)
    return blend(canvas.picture, flat + sharp * contrast, canvas.region)


# --- aesthetics: the whole picture is ugly ------------------------------------------------------


def noise(canvas: Canvas, strength: float, rng: np.random.Generator) -> Rgb:
    """Sensor noise everywhere."""
    sensor = grain(rng, canvas.shape, canvas.scale)
    return np.clip(canvas.picture + (0.06 + 0.16 * strength) * sensor, 0, 1)


def compression(canvas: Canvas, strength: float, rng: np.random.Generator) -> Rgb:
    """JPEG blocks."""
    stream = io.BytesIO()
    quality = round(16 - 14 * strength)
    Image.fromarray(to_bytes(canvas.picture)).save(stream, "JPEG", quality=quality)
    return numbers(Image.open(stream))


def blur(canvas: Canvas, strength: float, rng: np.random.Generator) -> Rgb:
    """Nothing is in focus."""
    return blurred(canvas.picture, (1 + 2.5 * strength) * canvas.scale)


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
    dot = min(canvas.shape) / round(30 - 18 * strength)
    height, width = canvas.shape
    across, down = max(1, round(width / dot)), max(1, round(height / dot))
    small = Image.fromarray(to_bytes(canvas.picture)).resize((across, down), Image.Resampling.BOX)
    return numbers(small.resize((width, height), Image.Resampling.NEAREST))


def exposure(canvas: Canvas, strength: float, rng: np.random.Generator) -> Rgb:
    """So bright, or so dark, that a part of the picture is lost."""
    power = 1.8 + 1.6 * strength
    if rng.random() < 0.5:
        return np.clip(canvas.picture * power, 0, 1)
    return np.clip((canvas.picture - 1) * power + 1, 0, 1)


def sharpened(canvas: Canvas, strength: float, rng: np.random.Generator) -> Rgb:
    """Every edge has a halo."""
    return _sharpened(canvas, canvas.picture, strength, rng)


# --- removal quality: what was taken away left something behind ---------------------------------


def flat_patch(canvas: Canvas, strength: float, rng: np.random.Generator) -> Rgb:
    """The region is filled with one colour near that of the picture."""
    mean = canvas.picture.mean((0, 1)) + 0.15 * colour(rng)
    return blend(canvas.picture, mean, canvas.region * (0.35 + 0.6 * strength))


def smear(canvas: Canvas, strength: float, rng: np.random.Generator) -> Rgb:
    """The region is wiped sideways."""
    reach = (4 + 10 * strength) * canvas.scale
    angle = rng.uniform(0, np.pi)
    steps = np.linspace(-reach, reach, round(np.clip(9 * canvas.scale, 9, 33)))
    wiped = sum(
        resample(
            canvas.picture, canvas.rows + s * np.sin(angle), canvas.columns + s * np.cos(angle)
        )
        for s in steps
    )
    mean = (np.asarray(wiped) / len(steps)).astype(np.float32)
    return blend(canvas.picture, mean, canvas.region)


def remnant(layer: Rgb) -> Damage:
    """The damage of an object that is still there, faintly or in full: an RGBA layer."""

    def ghost(canvas: Canvas, strength: float, rng: np.random.Generator) -> Rgb:
        return blend(
            canvas.picture, layer[..., :3], layer[..., 3:] * canvas.region * (0.3 + 0.7 * strength)
        )

    return ghost


def outline(layer: Rgb) -> Damage:
    """The damage of a halo that follows the outline of an object that is gone."""

    def halo(canvas: Canvas, strength: float, rng: np.random.Generator) -> Rgb:
        ring = blur_plane(layer[..., 3:], 2.5 * canvas.scale) * 4 * (1 - layer[..., 3:])
        ink = layer[..., :3].mean((0, 1)) if rng.random() < 0.5 else rng.random(3)
        weight = np.clip(ring, 0, 1) * canvas.region * (0.3 + 0.6 * strength)
        return blend(canvas.picture, np.asarray(ink, np.float32), weight)

    return halo


# --- what a model that has learnt too little paints ---------------------------------------------


def painted_weakly(canvas: Canvas, strength: float, rng: np.random.Generator) -> Rgb:
    """Blurred blobs with wandering outlines and blotches of stray colour, inside the mask."""
    shift = field(rng, 5, canvas.shape, 2) * ((1 + 7 * strength) * canvas.scale)
    cells = int(rng.choice([8, 12, 16]))
    blotches = field(rng, cells, canvas.shape, 3) * (0.03 + 0.3 * strength)
    focus = blur_plane(canvas.matte, 3 * canvas.scale) if rng.random() < 0.7 else canvas.region
    moved = resample(canvas.picture, canvas.rows + shift[..., 0], canvas.columns + shift[..., 1])
    painted = blurred(moved, (0.5 + 1.5 * strength) * canvas.scale) + blotches * (
        0.25 + 0.75 * focus
    )
    return blend(canvas.picture, painted, canvas.region)


def painted_harshly(canvas: Canvas, strength: float, rng: np.random.Generator) -> Rgb:
    """The same with all contrast driven up: crisp, and as wrong."""
    painted = painted_weakly(canvas, 0.35 * strength, rng)
    return blend(canvas.picture, _sharpened(canvas, painted, strength, rng), canvas.region)


CONSISTENCY: tuple[Damage, ...] = (
    tint, light, soft_region, harsh_region, grain_region, veil, grey_region, seam,
)  # fmt: skip
OBJECT_STRUCTURE: tuple[Damage, ...] = (
    bent_object, shuffled_object, split_object, doubled_object,
)  # fmt: skip
PLACED_OBJECT_STRUCTURE: tuple[Damage, ...] = (*OBJECT_STRUCTURE, faded_object, eaten_object)
"""Of an object whose background is known. A judge that has not seen the last two calls the faintest
thing the soundest, and a policy led by it paints ever less."""
BORDER_STRUCTURE: tuple[Damage, ...] = (
    bent_region, shuffled_region, streaked_region,
)  # fmt: skip
AESTHETICS: tuple[Damage, ...] = (
    noise, compression, blur, sharpened, garish, dull, pixelated, exposure,
)  # fmt: skip
REMOVAL: tuple[Damage, ...] = (flat_patch, smear, tint, soft_region, harsh_region)
PAINTING: tuple[Damage, ...] = (painted_weakly, painted_harshly, patterned_region)
"""What harms several dimensions at once."""


def painted_badly(canvas: Canvas, strength: float, rng: np.random.Generator) -> Rgb:
    """One of ``PAINTING``, drawn."""
    return PAINTING[int(rng.integers(len(PAINTING)))](canvas, strength, rng)

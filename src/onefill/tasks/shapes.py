"""Mask shapes: pure functions of a size, a random generator and a wanted share of the area.

Every function takes ``size`` as (width, height) in pixels and returns a boolean array of shape
(height, width), True where the model paints. ``area`` is the (lowest, highest) share of the
picture that is painted, both in (0, 1); on small pictures whole pixels make it approximate.
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw

from onefill.tasks.types import Mask

Size = tuple[int, int]
Range = tuple[float, float]

_BLOB_VERTICES = 48


def box(
    size: Size, rng: np.random.Generator, area: Range = (0.1, 0.4), ratio: Range = (0.5, 2.0)
) -> Mask:
    """A rectangle anywhere; ``ratio`` bounds its width / height where the picture has room."""
    x, y, width, height = _frame(size, rng, rng.uniform(*area), ratio)
    mask = np.zeros(size[::-1], dtype=np.bool_)
    mask[y : y + height, x : x + width] = True
    return mask


def wide_box(
    size: Size, rng: np.random.Generator, area: Range = (0.08, 0.35), ratio: Range = (1.6, 5.0)
) -> Mask:
    """A box for a line of text: always wider than high, even if a tall picture makes it small."""
    room = size[0] / (ratio[0] * size[1])
    return box(size, rng, (min(area[0], room), min(area[1], room)), ratio)


def ellipse(size: Size, rng: np.random.Generator, area: Range = (0.1, 0.4)) -> Mask:
    """An axis-aligned ellipse that lies inside the picture."""
    share = rng.uniform(*area) / (math.pi / 4)
    x, y, width, height = _frame(size, rng, share, (0.5, 2.0))
    canvas = Image.new("1", size)
    ImageDraw.Draw(canvas).ellipse((x, y, x + width - 1, y + height - 1), fill=1)
    return np.array(canvas)


def blob(size: Size, rng: np.random.Generator, area: Range = (0.1, 0.4)) -> Mask:
    """A smooth lump, like a hand-drawn outline of an object."""
    angles = np.linspace(0.0, 2 * math.pi, _BLOB_VERTICES, endpoint=False)
    radii = np.ones_like(angles)
    for waves in (2, 3, 4, 5):
        radii += rng.uniform(0.0, 0.16) * np.cos(waves * angles + rng.uniform(0.0, 2 * math.pi))
    return polygon(size, rng, np.stack([radii * np.cos(angles), radii * np.sin(angles)], -1), area)


def polygon(
    size: Size, rng: np.random.Generator, outline: np.ndarray, area: Range = (0.1, 0.4)
) -> Mask:
    """A given outline, stretched to the wanted area and put anywhere inside the picture.

    Args:
        size: (width, height) in pixels.
        rng: decides area, stretch and place.
        outline: vertices of shape (V, 2), x and y in any unit.
        area: share of the picture that is painted.
    """
    low, high = outline.min(axis=0), outline.max(axis=0)
    unit = (outline - low) / (high - low)
    x, y, width, height = _frame(size, rng, rng.uniform(*area) / _unit_area(unit), (0.6, 1.6))
    vertices = unit * (width - 1, height - 1) + (x, y)
    canvas = Image.new("1", size)
    ImageDraw.Draw(canvas).polygon([(float(a), float(b)) for a, b in vertices], fill=1, outline=1)
    return np.array(canvas)


def brush(
    size: Size, rng: np.random.Generator, area: Range = (0.1, 0.4), width: float = 0.16
) -> Mask:
    """Freehand strokes of a round brush, added bit by bit until the wanted area is painted.

    Args:
        size: (width, height) in pixels.
        rng: decides the strokes.
        area: share of the picture that is painted.
        width: diameter of the brush as a share of the picture's shorter side.
    """
    shorter = min(size)
    diameter = max(1.0, width * shorter)
    step = 0.6 * diameter
    pixels = size[0] * size[1]
    bit = (step + diameter) * diameter / pixels  # most that one more bit of stroke can add
    wanted = rng.uniform(area[0], max(area[0], area[1] - bit)) * pixels
    canvas = Image.new("1", size)
    pen = ImageDraw.Draw(canvas)
    painted = 0
    low, high = np.multiply(size, 0.08), np.multiply(size, 0.92)
    place = rng.uniform(low, high)
    heading = rng.uniform(0.0, 2 * math.pi)
    while painted < wanted:
        if rng.random() < 0.05:  # lift the brush: a new stroke elsewhere
            place = rng.uniform(low, high)
        heading += rng.normal(0.0, 0.7)
        target = place + step * np.array([math.cos(heading), math.sin(heading)])
        if (target < low).any() or (target > high).any():
            heading = rng.uniform(0.0, 2 * math.pi)  # near the edge: turn, do not run along it
            continue
        _dab(pen, place, target, diameter)
        place = target
        painted = int(np.count_nonzero(np.asarray(canvas)))
    return np.array(canvas)


def border(size: Size, rng: np.random.Generator, area: Range = (0.18, 0.57)) -> Mask:
    """What a picture lacks when it is extended: one side, two sides, or all the way round."""
    kept = 1.0 - rng.uniform(*area)
    share = rng.uniform(0.35, 0.65)
    middle = (rng.uniform(0.25, 0.75), rng.uniform(0.25, 0.75))
    start = float(rng.integers(2))
    axis = int(rng.integers(2))
    sides = rng.choice(["one", "opposite", "corner", "round"])
    if sides in {"one", "opposite"}:
        extent, offset = [1.0, 1.0], [0.0, 0.0]
        extent[axis] = kept
        offset[axis] = start if sides == "one" else middle[axis]
    else:
        extent = [kept**share, kept ** (1.0 - share)]
        offset = list(middle) if sides == "round" else [start, float(rng.integers(2))]
    keep = [max(1, round(part * length)) for part, length in zip(extent, size, strict=True)]
    if tuple(keep) == size:  # a picture so small that rounding kept all of it
        longer = size.index(max(size))
        keep[longer] = max(1, size[longer] - 1)
    x, y = (round(o * (s - k)) for o, s, k in zip(offset, size, keep, strict=True))
    return outside(size, (x, y, keep[0], keep[1]))


def outside(size: Size, keep: tuple[int, int, int, int]) -> Mask:
    """Exactly the pixels outside ``keep`` = (x, y, width, height).

    Raises:
        ValueError: ``keep`` is empty or does not lie inside the picture.
    """
    x, y, width, height = keep
    if not (0 <= x < x + width <= size[0] and 0 <= y < y + height <= size[1]):
        raise ValueError(f"keep {keep} does not lie inside {size[0]}x{size[1]}")
    mask = np.ones(size[::-1], dtype=np.bool_)
    mask[y : y + height, x : x + width] = False
    return mask


def _dab(pen: ImageDraw.ImageDraw, start: np.ndarray, end: np.ndarray, diameter: float) -> None:
    pen.line([tuple(start), tuple(end)], fill=1, width=max(1, round(diameter)))
    radius = diameter / 2
    for x, y in (start, end):
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=1)


def _unit_area(outline: np.ndarray) -> float:
    """Area of a simple polygon by the shoelace formula."""
    x, y = outline.T
    return abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2


def _frame(
    size: Size, rng: np.random.Generator, share: float, ratio: Range
) -> tuple[int, int, int, int]:
    """A rectangle (x, y, width, height) inside the picture that covers ``share`` of it.

    Its width / height is drawn log-uniformly from ``ratio``, as far as the picture has room.
    """
    width, height = size
    pixels = min(share, 1.0) * width * height
    # w = sqrt(pixels * r) <= width and h = sqrt(pixels / r) <= height bound the ratio r.
    narrowest, widest = pixels / height**2, width**2 / pixels
    low = min(max(ratio[0], narrowest), widest)
    high = max(min(ratio[1], widest), low)
    r = math.exp(rng.uniform(math.log(low), math.log(high)))
    w = min(width, max(1, round(math.sqrt(pixels * r))))
    h = min(height, max(1, round(pixels / w)))
    return int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1)), w, h

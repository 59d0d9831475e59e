"""Training scenes: a background, an object or a word on it, and the mask a model paints in.

One scene is one sample of one task. The target is the whole picture; for removal it is the
picture without the object, the mask where the object would have been.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from onefill.pocket.material import vocabulary
from onefill.pocket.material.pictures import Pictures
from onefill.pocket.material.things import Wish, draw_thing, draw_wish

SIZE = 64
"""Side of a square scene in pixels: the working size of the embedded models."""

Shape = tuple[int, int]
"""Height and width of a scene in pixels."""

SQUARE: Shape = (SIZE, SIZE)
OBLONG: tuple[Shape, ...] = ((56, 72), (72, 56), (48, 80), (80, 48), (40, 96), (96, 40))
"""What an edit may bring a photograph to in place of a square: about as many pixels, up to 12:5."""

Rgb = NDArray[np.float32]
"""Shape (height, width, 3), values in [0, 1]."""

TASK_SHARES = {"fill": 0.56, "removal": 0.12, "extend": 0.12, "text": 0.20}


@dataclass(frozen=True)
class Scene:
    """One sample.

    Attributes:
        target: what the model should produce, uint8 (height, width, 3).
        mask: True where it paints, bool (height, width).
        background: the picture before anything was put on it, uint8 (height, width, 3).
        with_object: the picture with the object or word on it, uint8 (height, width, 3).
        prompt: what the model is told.
        task: fill, extend, removal or text.
        word: the concept or text word in the scene.
        wish: how the thing was asked for; None for text.
        photograph: whether the background is cut from a photograph.

    """

    target: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    background: NDArray[np.uint8]
    with_object: NDArray[np.uint8]
    prompt: str
    task: str
    word: str
    wish: Wish | None
    photograph: bool


def draw_scene(
    pictures: Pictures,
    rng: np.random.Generator,
    task: str | None = None,
    word: str | None = None,
    wished: Wish | None = None,
    shape: Shape = SQUARE,
) -> Scene:
    """Draw a scene; task, word and how a thing is asked for are drawn too where not given."""
    if task is None:
        task = str(rng.choice(list(TASK_SHARES), p=list(TASK_SHARES.values())))
    while True:
        background, photograph = draw_background(pictures, rng, shape)
        wish: Wish | None = None
        if task == "text":
            chosen = word or str(rng.choice(vocabulary.TEXT_WORDS))
            layer = text_layer(pictures, rng, chosen, background)
            prompt = chosen
        else:
            chosen = wished.word if wished else word or str(rng.choice(vocabulary.WORDS))
            wish = wished or draw_wish(rng, chosen, every_colour=pictures.every_colour)
            layer = draw_thing(pictures, rng, wish, background)
            prompt = _prompt(task, wish, rng)
        if task == "extend":
            mask = _border_mask(rng, shape)
        else:
            covering = _covering_mask(layer[..., 3], rng, wish)
            if covering is None:
                continue
            mask = covering
            # A soft edge or shadow may reach further; an edit changes nothing beyond its mask.
            layer[~mask, 3] = 0
        if 0.04 < mask.mean() < 0.85:
            plain, shown = to_bytes(background), to_bytes(composite(background, layer))
            target = plain if task == "removal" else shown
            return Scene(target, mask, plain, shown, prompt, task, chosen, wish, photograph)


def to_bytes(picture: Rgb) -> NDArray[np.uint8]:
    """Values in [0, 1] to 8 bits, rounded."""
    return (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)


def composite(background: Rgb, layer: Rgb) -> Rgb:
    """An RGBA layer (height, width, 4) over a background."""
    alpha = layer[..., 3:]
    return (background * (1 - alpha) + layer[..., :3] * alpha).astype(np.float32)


def draw_background(
    pictures: Pictures, rng: np.random.Generator, shape: Shape = SQUARE
) -> tuple[Rgb, bool]:
    """A crop of a photograph (55 %), a drawn landscape (25 %) or a gradient or pattern (20 %).

    Returns:
        The background, and whether it is of a photograph.
    """
    kind = rng.random()
    if kind < 0.55:
        return _photograph_crop(pictures, rng, shape), True
    picture = _landscape(rng, shape) if kind < 0.8 else _gradient(rng, shape)
    grain = rng.normal(0, rng.uniform(0, 0.012), (shape[0] // 2, shape[1] // 2, 1))
    return np.clip(picture + grain.repeat(2, 0).repeat(2, 1), 0, 1).astype(np.float32), False


def _photograph_crop(pictures: Pictures, rng: np.random.Generator, shape: Shape) -> Rgb:
    photograph = pictures.photographs[rng.integers(len(pictures.photographs))]
    most = min(photograph.height / shape[0], photograph.width / shape[1])
    scale = most * rng.uniform(0.35, 1)
    height, width = (round(side * scale) for side in shape)
    x = int(rng.integers(photograph.width - width + 1))
    y = int(rng.integers(photograph.height - height + 1))
    crop = photograph.resize(
        shape[::-1], Image.Resampling.BILINEAR, box=(x, y, x + width, y + height), reducing_gap=2.0
    )
    if rng.random() < 0.5:
        crop = crop.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    picture = np.asarray(crop, np.float32) / 255
    contrast, lift, tint = (
        rng.uniform(0.7, 1.1),
        rng.uniform(-0.1, 0.15),
        rng.uniform(-0.06, 0.06, 3),
    )
    return np.clip((picture - 0.5) * contrast + 0.5 + lift + tint, 0, 1).astype(np.float32)


_GROUND = np.array(
    [[0.3, 0.6, 0.25], [0.8, 0.7, 0.45], [0.45, 0.45, 0.5], [0.2, 0.4, 0.6], [0.9, 0.92, 0.95]]
)


def _down_and_across(shape: Shape) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Where rows (height, 1, 1) and columns (1, width, 1) are, from 0 to 1."""
    rows, columns = (np.linspace(0, 1, side, dtype=np.float32) for side in shape)
    return rows[:, None, None], columns[None, :, None]


def _landscape(rng: np.random.Generator, shape: Shape) -> Rgb:
    down, across = _down_and_across(shape)
    top = np.array([0.45, 0.7, 0.95]) + rng.uniform(-0.25, 0.15, 3)
    bottom = np.clip(top + rng.uniform(0, 0.35), 0, 1)
    picture = top + (bottom - top) * down + 0 * across
    height = rng.uniform(0.45, 0.8)
    for _ in range(rng.integers(1, 4)):
        colour = _GROUND[rng.integers(len(_GROUND))] + rng.uniform(-0.12, 0.12, 3)
        line = height + rng.uniform(0.02, 0.1) * np.sin(
            across * rng.uniform(2, 9) + rng.uniform(0, 6)
        )
        picture = np.where(line < down, colour * (1 - 0.25 * (down - line)), picture)
        height += rng.uniform(0.08, 0.2)
    return picture.astype(np.float32)


def _gradient(rng: np.random.Generator, shape: Shape) -> Rgb:
    down, across = _down_and_across(shape)
    first, second, angle = rng.random(3), rng.random(3), rng.uniform(0, 2 * np.pi)
    ramp = (across - 0.5) * np.cos(angle) + (down - 0.5) * np.sin(angle) + 0.5
    if rng.random() < 0.4:
        ramp = (np.sin(ramp * rng.uniform(10, 40)) > 0) * 0.25 + ramp * 0.3
    return (first + (second - first) * np.clip(ramp, 0, 1)).astype(np.float32)


_INKS = np.array(
    [[0.05, 0.05, 0.08], [0.96, 0.96, 0.94], [0.82, 0.1, 0.12], [0.1, 0.2, 0.7], [0.98, 0.85, 0.2]]
)


def text_layer(pictures: Pictures, rng: np.random.Generator, word: str, background: Rgb) -> Rgb:
    """An RGBA layer with the word written large, in an ink that stands off the background."""
    font: ImageFont.FreeTypeFont = pictures.fonts[rng.integers(len(pictures.fonts))]
    left, top, right, bottom = font.getbbox(word)
    pad = 6
    stencil = Image.new("L", (int(right - left) + 2 * pad, int(bottom - top) + 2 * pad))
    ImageDraw.Draw(stencil).text((pad - left, pad - top), word, font=font, fill=255)
    stencil = stencil.rotate(rng.uniform(-6, 6), Image.Resampling.BILINEAR)
    high, wide = background.shape[:2]
    scale = min(
        wide * rng.uniform(0.7, 0.95) / stencil.width, high * rng.uniform(0.4, 0.7) / stencil.height
    )
    width, height = max(8, round(stencil.width * scale)), max(8, round(stencil.height * scale))
    stencil = stencil.resize((width, height), Image.Resampling.LANCZOS)
    x = int(rng.integers(0, wide - width + 1))
    y = int(rng.integers(0, high - height + 1))
    alpha = Image.new("L", (wide, high))
    alpha.paste(stencil, (x, y))
    behind = background[y : y + height, x : x + width].mean((0, 1))
    distances = np.abs(_INKS - behind).sum(1) + rng.uniform(0, 0.5, len(_INKS))
    layer = np.empty((high, wide, 4), np.float32)
    layer[..., :3] = _INKS[int(distances.argmax())]
    layer[..., 3] = np.asarray(alpha, np.float32) / 255
    return layer


def _covering_mask(
    alpha: NDArray[np.float32], rng: np.random.Generator, wish: Wish | None
) -> NDArray[np.bool_] | None:
    """A box, an ellipse or a grown silhouette over the object; None if it is hardly visible.

    A mask's size must not give away that of the thing: a small one has room round it.
    """
    rows, columns = np.nonzero(alpha > 0.15)
    if len(rows) < 20:
        return None
    left, right = int(columns.min()), int(columns.max()) + 1
    top, bottom = int(rows.min()), int(rows.max()) + 1
    room = (0.08, 0.22) if wish is not None and wish.size == "small" else (0.01, 0.08)
    kind, margin = rng.random(), rng.uniform(*room) * min(alpha.shape)
    canvas = Image.new("L", alpha.shape[::-1])
    draw = ImageDraw.Draw(canvas)
    if wish is None or kind < 0.55:
        draw.rectangle(
            [left - margin, top - margin, right - 1 + margin, bottom - 1 + margin], fill=255
        )
    elif kind < 0.8:
        # An ellipse round a box of half-widths (a, b) needs half-axes a * sqrt(2), b * sqrt(2).
        across, down = (right - left) * 0.21 + margin, (bottom - top) * 0.21 + margin
        draw.ellipse([left - across, top - down, right + across, bottom + down], fill=255)
    else:
        silhouette = Image.fromarray(np.where(alpha > 0.12, 255, 0).astype(np.uint8))
        canvas = silhouette.filter(ImageFilter.MaxFilter(2 * max(2, round(margin)) + 3))
    return np.asarray(canvas) > 127


def _border_mask(rng: np.random.Generator, shape: Shape) -> NDArray[np.bool_]:
    mask = np.ones(shape, bool)
    kind, share = rng.integers(6), rng.uniform(0.12, 0.3)
    down, across = (round(side * share) for side in shape)
    if kind == 4:
        mask[down:-down, across:-across] = False
    elif kind == 5:
        if rng.random() < 0.5:
            mask[down:-down] = False
        else:
            mask[:, across:-across] = False
    elif kind < 2:
        deep = round(down * 1.5)
        mask[slice(deep, None) if kind == 0 else slice(None, -deep)] = False
    else:
        deep = round(across * 1.5)
        mask[:, slice(deep, None) if kind == 2 else slice(None, -deep)] = False
    return mask


def _prompt(task: str, wish: Wish, rng: np.random.Generator) -> str:
    if task == "removal":
        return vocabulary.REMOVAL_PROMPT
    if task == "extend" and rng.random() < 0.6:
        return vocabulary.EXTEND_PROMPT
    return wish.phrase(rng)

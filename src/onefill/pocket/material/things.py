"""The things in a scene: what a prompt asks for, drawn, coloured, counted and lit for its place."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from onefill.pocket.material import vocabulary
from onefill.pocket.material.pictures import Pictures, recolour

Layer = NDArray[np.float32]
"""Shape (H, W, 4): colours and opacity, values in [0, 1]."""

_SHARES = {"": (0.4, 0.78), "small": (0.24, 0.36), "big": (0.68, 0.88)}
_SHARES_OF_SEVERAL = {2: (0.34, 0.46), 3: (0.27, 0.34)}
"""Side of a drawing as a share of the scene's shorter one, by what is asked for."""


@dataclass(frozen=True)
class Wish:
    """What a prompt asks to paint.

    Attributes:
        word: a concept's word.
        colour: a key of ``vocabulary.HUES``, or empty for whatever colours the drawing has.
        size: one of ``vocabulary.SIZES``, or empty.
        count: how many, 1 to 3.

    """

    word: str
    colour: str = ""
    size: str = ""
    count: int = 1

    def phrase(self, rng: np.random.Generator) -> str:
        """One of the ways to say it: "kitten", "a big red kitten", "two red kittens"."""
        concept = vocabulary.concept(self.word)
        name = concept.also if concept.also and rng.random() < 0.2 else concept.word
        if self.count > 1:
            name = vocabulary.plural(name)
        words = " ".join(part for part in (self.size, self.colour, name) if part)
        if self.count > 1:
            return f"{_number(self.count)} {words}"
        forms = (words, vocabulary.with_article(words), f"the {words}", f"one {words}")
        return str(rng.choice(forms, p=[0.4, 0.4, 0.1, 0.1]))


def _number(count: int) -> str:
    return next(word for word, number in vocabulary.COUNTS.items() if number == count)


def draw_wish(rng: np.random.Generator, word: str, *, every_colour: bool = False) -> Wish:
    """A wish for ``word``: plain, in a colour, of a size, or several.

    Args:
        rng: draws it.
        word: of a concept.
        every_colour: the one that is kept from training, too.
    """
    concept = vocabulary.concept(word)
    colours = concept.colours
    if every_colour and concept.unseen:
        colours += (concept.unseen,)
    colour = str(rng.choice(colours)) if colours and rng.random() < 0.5 else ""
    return _wish_in(rng, word, colour)


def draw_coloured_wish(rng: np.random.Generator) -> Wish:
    """A wish for a thing that comes in colours, in one that it is trained in."""
    concepts = [concept for concept in vocabulary.CONCEPTS if concept.colours]
    concept = concepts[rng.integers(len(concepts))]
    return _wish_in(rng, concept.word, str(rng.choice(concept.colours)))


def _wish_in(rng: np.random.Generator, word: str, colour: str) -> Wish:
    kind = rng.random()
    if kind < 0.12:
        return Wish(word, colour, size=str(rng.choice(vocabulary.SIZES)))
    if kind < 0.24:
        return Wish(word, colour, count=int(rng.integers(2, 4)))
    return Wish(word, colour)


def draw_thing(
    pictures: Pictures, rng: np.random.Generator, wish: Wish, background: NDArray[np.float32]
) -> Layer:
    """A layer of the background's size (H, W, 3) with what is wished for, lit for that place."""
    height, width = background.shape[:2]
    drawings = pictures.drawings[wish.word]
    drawing = drawings[rng.integers(len(drawings))]
    if wish.colour:
        drawing = recolour(drawing, wish.colour)
    shares = _SHARES[wish.size] if wish.count == 1 else _SHARES_OF_SEVERAL[wish.count]
    side = round(min(height, width) * rng.uniform(*shares))
    slack = side // 12
    across = side + round(0.94 * side) * (wish.count - 1)
    x = int(rng.integers(-slack, max(-slack, width - across + slack) + 1))
    y = int(rng.integers(-slack, height - side + slack + 1))
    layer = Image.new("RGBA", (width, height))
    if rng.random() < 0.4:
        _cast_shadow(layer, rng, x, y, across, side)
    for number in range(wish.count):
        one = drawing.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else drawing
        one = one.rotate(rng.uniform(-10, 10), Image.Resampling.BILINEAR)
        one = one.resize((side, side), Image.Resampling.BILINEAR, reducing_gap=2.0)
        jitter = 0 if wish.count == 1 else int(rng.integers(-slack, slack + 1))
        placed = Image.new("RGBA", (width, height))
        placed.paste(one, (x + number * round(0.94 * side), y + jitter))
        layer = Image.alpha_composite(layer, placed)
    return _lit(layer, rng, background)


def _cast_shadow(
    layer: Image.Image, rng: np.random.Generator, x: int, y: int, across: int, side: int
) -> None:
    """Darken the ground that the thing stands on, softly."""
    height = side * rng.uniform(0.06, 0.12)
    foot = y + side * 0.93
    dark = Image.new("L", layer.size)
    box = [x + 0.12 * side, foot - height, x + across - 0.12 * side, foot + height]
    ImageDraw.Draw(dark).ellipse(box, fill=int(rng.uniform(70, 150)))
    layer.putalpha(dark.filter(ImageFilter.GaussianBlur(side / 22)))


def _lit(layer: Image.Image, rng: np.random.Generator, background: NDArray[np.float32]) -> Layer:
    """The layer as bright, tinted, lit from the side and sharp as suits its background."""
    luminance = background.mean(2)
    softness = 0.9 * (1 - min(1.0, float(np.abs(np.diff(luminance, axis=0)).mean()) / 0.03))
    if rng.random() < 0.5 and softness > 0.2:
        # Premultiplied, or the blur draws the colour of what is transparent into the edge.
        soft = layer.convert("RGBa").filter(ImageFilter.GaussianBlur(rng.uniform(0.2, softness)))
        layer = soft.convert("RGBA")
    rgba: Layer = np.asarray(layer, np.float32) / np.float32(255)
    bright, tint = rng.uniform(0, 1), rng.uniform(0, 0.2)
    gain = 1 + bright * (0.8 + 0.36 * float(luminance.mean()) - 1)
    colour = background.mean((0, 1))
    width = background.shape[1]
    half = width // 2
    slope = float(luminance[:, half:].mean() - luminance[:, :half].mean())
    light = 1 + np.clip(0.8 * slope, -0.25, 0.25) * np.linspace(-1, 1, width)[:, None]
    shade = gain * light * (1 - tint + tint * colour / max(0.2, float(colour.max())))
    rgba[..., :3] = np.clip(rgba[..., :3] * shade.astype(np.float32), 0, 1)
    return rgba

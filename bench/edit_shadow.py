"""How much of a cast shadow a removal takes along, and how often it takes what is none.

python bench/edit_shadow.py [--photos FOLDER] [--masks 12] [--seed 0]

On every photograph, at random places: an ellipse of one colour that casts a shadow drawn into it
(the ground in linear light times 0.12 to 0.6, in any direction, 0.8 to 2 times as long as the
ellipse, its edge blurred), and an ellipse masked where nothing was drawn, so that any shadow found
is none that it casts. Most places are no even ground. Told are:

- the share of the drawn shadow that the usual margin of 8 % covers, and that which it covers where
  a shadow was looked for as well;
- how often one was found, and how often what was found was for the most part something else;
- how often something was found where nothing was drawn, and how large it was, in areas of the mask.

Without --photos, photographs and textures of scikit-image and scikit-learn are taken. Prints one
JSON document.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from photos import find_photos
from PIL import Image, ImageFilter

from onefill.edit.canvas import Canvas
from onefill.edit.grow import USUAL_GROWTH, grow_mask
from onefill.edit.shadow import find_shadow
from onefill.images import read_image
from onefill.tasks.types import Mask

_TEXTURES = ("brick.png", "grass.png", "gravel.png")
_PHOTOGRAPHS = ("astronaut.png", "chelsea.png", "coffee.png", "motorcycle_left.png", "rocket.jpg")
PACKAGED = {
    "skimage": [f"data/{name}" for name in (*_TEXTURES, *_PHOTOGRAPHS)],
    "sklearn": ["datasets/images/china.jpg", "datasets/images/flower.jpg"],
}
_LONGEST_SIDE = 512
_GAMMA = 2.2

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Scene:
    """A photograph with an object in it that casts a shadow, if one was drawn."""

    pixels: Pixels
    thing: Mask
    shadow: Mask


def draw_scenes(pixels: Pixels, rng: np.random.Generator, count: int) -> Iterator[Scene]:
    """With a shadow, and without, in turn."""
    height, width = pixels.shape[:2]
    for _ in range(count):
        radii = min(height, width) * rng.uniform(0.05, 0.1, 2)
        place = np.array([width, height]) * rng.uniform(0.25, 0.75, 2)
        thing = _ellipse(pixels, place, radii)
        angle, length = rng.uniform(0, 2 * math.pi), rng.uniform(0.8, 2) * radii.max()
        tip = length * np.array([math.cos(angle), math.sin(angle)])
        shadow = np.logical_or.reduce(
            [
                _ellipse(pixels, place + share * tip, radii * (1 - 0.3 * share))
                for share in np.linspace(0, 1, 16)
            ]
        )
        soft = Image.fromarray(shadow).convert("L")
        soft = soft.filter(ImageFilter.GaussianBlur(rng.uniform(0.7, 3)))
        light = (pixels / 255) ** _GAMMA
        light *= 1 - (np.asarray(soft) / 255 * (1 - rng.uniform(0.12, 0.6)))[..., None]
        light[thing] = rng.uniform(0.05, 0.9, 3)
        drawn = np.rint(255 * light ** (1 / _GAMMA)).astype(np.uint8)
        yield Scene(drawn, thing, shadow & ~thing)
        radii = min(height, width) * rng.uniform(0.04, 0.15, 2)
        place = rng.uniform(radii, np.array([width, height]) - radii)
        thing = _ellipse(pixels, place, radii)
        yield Scene(pixels, thing, np.zeros_like(thing))


def _ellipse(pixels: Pixels, place: NDArray[np.float64], radii: NDArray[np.float64]) -> Mask:
    rows, columns = np.mgrid[: pixels.shape[0], : pixels.shape[1]]
    return ((columns - place[0]) / radii[0]) ** 2 + ((rows - place[1]) / radii[1]) ** 2 <= 1


def measure(photos: Sequence[Path], masks: int, seed: int) -> dict[str, float]:
    """The figures."""
    rows: list[dict[str, float]] = []
    for number, file in enumerate(photos):
        picture = read_image(file)
        picture.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
        rng = np.random.default_rng((seed, number))
        rows += [_examine(scene) for scene in draw_scenes(np.asarray(picture), rng, masks)]
    return _sum_up(rows)


def _examine(scene: Scene) -> dict[str, float]:
    found = find_shadow(Canvas(scene.pixels), scene.thing)
    row = {
        "drawn": bool(scene.shadow.any()),
        "found": np.count_nonzero(found) / np.count_nonzero(scene.thing),
    }
    if scene.shadow.any():
        margin, usual = (
            grow_mask(mask, USUAL_GROWTH["removal"]) for mask in (scene.thing, scene.thing | found)
        )
        row["margin"] = float(margin[scene.shadow].mean())
        row["usual"] = float(usual[scene.shadow].mean())
        row["right"] = bool(found.any() and scene.shadow[found].mean() > 0.5)
    return row


def _sum_up(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    drawn = [row for row in rows if row["drawn"]]
    plain = [row for row in rows if not row["drawn"]]
    right = [row for row in drawn if row["right"]]

    def mean(values: Sequence[float]) -> float:
        return round(float(np.mean(values)), 3) if values else math.nan

    return {
        "shadows": len(drawn),
        "covered by the margin": mean([row["margin"] for row in drawn]),
        "covered as usual": mean([row["usual"] for row in drawn]),
        "found": mean([row["right"] for row in drawn]),
        "covered where found": mean([row["usual"] for row in right]),
        "something else found": mean([row["found"] > 0 and not row["right"] for row in drawn]),
        "masks without": len(plain),
        "found there": mean([row["found"] > 0 for row in plain]),
        "its size": mean([row["found"] for row in plain]),
    }


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--photos", type=Path, help="folder of photographs")
    parser.add_argument("--masks", type=int, default=12, help="of each kind on each photograph")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    photos = find_photos(options.photos, PACKAGED)
    if not photos:
        return 2
    found = measure(photos, options.masks, options.seed)
    print(json.dumps({"photographs": len(photos), **found}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())

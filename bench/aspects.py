"""Does the policy paint as well in wide and tall pictures as in square ones?

python bench/aspects.py --cache pocket-cache [--model pocket] [--count 104] [--seed 0]

An edit shows the policy a square wherever the photograph leaves room, and else as much as there is,
at a working size of the same aspect and of about as many pixels. Here windows of photographs held
out from all training are cut in every shape of ``SHAPES``, and filled, freed of something and
extended in masks that the task draws. Printed for each shape: the share of things that the
classifier names out of the whole vocabulary; the LPIPS inside the mask to what was there, over that
of the smoothest surface (removal) and of mirror padding (extend) in the same holes, without pieces.
The first shape is the square, which the others compare with. One JSON document; needs
``onefill[score]``.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from onefill.allocator import keep_freed_memory
from onefill.errors import OnefillError
from onefill.pocket.embedded import CLASSIFIER, resolve
from onefill.pocket.material.scenes import OBLONG, SQUARE
from onefill.pocket.material.sources import HELD_OUT, PHOTOGRAPHS, folder
from onefill.pocket.material.vocabulary import WORDS
from onefill.pocket.scoring.background import apart
from onefill.pocket.scoring.classifier import Classifier, load_classifier
from onefill.pocket.scoring.fill import named
from onefill.pocket.scoring.held_out import HeldOut, Pictures, hand_out, paint_whole
from onefill.pocket.scoring.inpainting import membrane, mirror
from onefill.pocket.scoring.perceptual import Perceptual, load_perceptual
from onefill.policy.flux_fill import FluxFillPolicy
from onefill.policy.loading import load_policy
from onefill.tasks.registry import load_tasks

SHAPES = tuple(shape[::-1] for shape in (SQUARE, *OBLONG))
"""Width and height in pixels: 1:1, 9:7, 5:3 and 12:5, lying and upright."""

_WITHOUT = {"removal": membrane, "extend": mirror}
_WINDOW = (0.5, 1.0)
"""Longer side of a window, as a share of the longest that fits into its photograph."""


def draw_scenes(
    photos: Sequence[Path], task: str, shape: tuple[int, int], count: int, seed: int
) -> HeldOut:
    """Windows of one shape, the next photograph each time, every word as often as any other."""
    rng, found = np.random.default_rng((seed, *shape)), load_tasks().get(task)
    pictures, masks, rows = [], [], []
    for number in range(count):
        with Image.open(photos[number % len(photos)]) as photo:
            scale = min(photo.width / shape[0], photo.height / shape[1]) * rng.uniform(*_WINDOW)
            width, height = (round(side * scale) for side in shape)
            x = int(rng.integers(photo.width - width + 1))
            y = int(rng.integers(photo.height - height + 1))
            box = (x, y, x + width, y + height)
            window = photo.convert("RGB").resize(shape, Image.Resampling.LANCZOS, box=box)
        pictures.append(np.asarray(window))
        masks.append(found.draw_mask(window, rng))
        word = WORDS[number % len(WORDS)]
        words = {"prompt": word, "word": word} if task == "fill" else {}
        rows.append({"image": f"{task}-{number}", **words})
    shown = np.stack(pictures)
    return HeldOut(found, shown, np.stack(masks), shown, rows)


def beside(scenes: HeldOut, painted: Pictures, perceptual: Perceptual) -> float:
    """LPIPS inside the masks over that of the way without learning."""
    without = _WITHOUT[scenes.task.name]
    plain = np.stack([without(*case) for case in zip(scenes.pictures, scenes.masks, strict=True)])
    ours, theirs = (
        apart(perceptual, made, scenes.truths, scenes.masks).mean() for made in (painted, plain)
    )
    return float(ours / theirs)


def measure(
    policy: FluxFillPolicy,
    classifier: Classifier,
    perceptual: Perceptual,
    draw: Callable[[str], HeldOut],
    seed: int,
) -> dict[str, float]:
    """Every figure of one shape, whose scenes of a task ``draw`` gives."""
    found = {}
    for task in ("fill", *_WITHOUT):
        scenes = draw(task)
        painted = hand_out(policy, scenes, paint_whole(policy, scenes, seed), pieces=False)
        if task == "fill":
            found["named"] = float(named(classifier, painted, scenes).mean())
        else:
            found[f"{task} LPIPS"] = beside(scenes, painted, perceptual)
    return {name: round(figure, 3) for name, figure in found.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--cache", type=Path, required=True, help="fetched pictures")
    parser.add_argument("--model", default=str(resolve("policies", "pocket")))
    parser.add_argument("--count", type=int, default=104, help="scenes of a task and shape")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    keep_freed_memory()
    shapes = {}
    try:
        photos = [folder(package, options.cache) / file for package, file in PHOTOGRAPHS[HELD_OUT]]
        policy = load_policy(options.model, offline=True)
        classifier, perceptual = load_classifier(CLASSIFIER), load_perceptual()
        for shape in SHAPES:
            name = f"{shape[0]} x {shape[1]}"
            draw = partial(draw_scenes, photos, shape=shape, count=options.count, seed=options.seed)
            shapes[name] = measure(policy, classifier, perceptual, draw, options.seed)
            print(f"{name}: {shapes[name]}", file=sys.stderr, flush=True)
    except OnefillError as error:
        parser.error(str(error))
    print(json.dumps({"count": options.count, "shapes": shapes}, indent=1))


if __name__ == "__main__":
    main()

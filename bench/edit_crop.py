"""What painting in a crop gains over shrinking the whole picture, round small masks in photographs.

python bench/edit_crop.py [--photos FOLDER] [--masks 6] [--model pocket] [--seed 0] [--threads N]

A small ellipse of a photograph is masked and painted again, as a removal; what was there is the
truth. Three ways with the same weights, steps and noise: "crop" is what ``onefill edit`` does;
"whole" shows the model the whole picture at its working size and stitches the result with the same
band; "whole, unstitched" takes all of it, as the stock pipeline hands it out. Measured in a window
round the mask, three times as wide and high:

- PSNR in dB, more is better;
- LPIPS, a learned distance, in its shift-tolerant variant (``onefill.pocket.scoring.perceptual``
  says where its weights come from; without them it is left out), in a window of at least 64
  pixels a side, which is what they were fitted to; less is better;
- GMSD, the spread of the likeness of gradients (Xue et al. 2014, "Gradient magnitude similarity
  deviation", Eq. 4 to 6), a measure of what people see; less is better;
- the seam: how far the steps from pixel to pixel across the edge of the mask are from what they
  were, in grey levels; less is better.

Without --photos, photographs of scikit-image and scikit-learn are taken. Prints one JSON document;
exit code 1 if the crop gains nothing in PSNR, LPIPS or GMSD.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from photos import find_photos
from PIL import Image

from onefill.edit.canvas import Canvas
from onefill.edit.crop import Box, Crop, bounding_box, choose_crop, shrink_mask, shrink_picture
from onefill.edit.enlarge import enlarge
from onefill.edit.painting import Subject, paint_subjects
from onefill.edit.stitch import default_feather, feather_weights, stitch
from onefill.images import read_image
from onefill.pocket.embedded import resolve
from onefill.pocket.scoring.held_out import as_tensor
from onefill.pocket.scoring.perceptual import Perceptual, find_weights, load_perceptual
from onefill.policy.flux_fill import FluxFillPolicy
from onefill.policy.loading import load_policy
from onefill.policy.sampler import Sampling
from onefill.tasks.registry import load_tasks
from onefill.tasks.types import Mask

_LPIPS_SIDE = 64

PACKAGED = {
    "skimage": ("data/astronaut.png", "data/chelsea.png", "data/coffee.png", "data/rocket.jpg"),
    "sklearn": ("datasets/images/china.jpg", "datasets/images/flower.jpg"),
}
WAYS = ("crop", "whole", "whole, unstitched")
_SMALLEST, _LARGEST = 0.03, 0.12  # sides of a mask, of the picture's shorter side
_GMSD_CONSTANT = 0.0026  # of the paper, for values in [0, 1]

Pixels = NDArray[np.uint8]


def draw_mask(canvas: Canvas, rng: np.random.Generator) -> Mask:
    """A small ellipse somewhere in the picture."""
    short = min(canvas.box.width, canvas.box.height)
    across, down = (short * rng.uniform(_SMALLEST, _LARGEST) / 2 for _ in range(2))
    x = rng.uniform(2 * across, canvas.box.width - 2 * across)
    y = rng.uniform(2 * down, canvas.box.height - 2 * down)
    rows, columns = np.mgrid[: canvas.box.height, : canvas.box.width]
    return ((columns - x) / across) ** 2 + ((rows - y) / down) ** 2 <= 1


def paint_in(
    crop: Crop, canvas: Canvas, mask: Mask, policy: FluxFillPolicy, seed: int
) -> tuple[Canvas, Canvas]:
    """The picture painted in a crop: stitched, and with the painting of the crop as it came."""
    part = mask[crop.box.slices]
    subject = Subject(
        view=shrink_picture(canvas.view(crop.box), crop),
        mask=shrink_mask(part, crop),
        prompt=load_tasks().get("removal").prompt.render(None),
    )
    generator = torch.Generator().manual_seed(seed)
    settled = Sampling().settle(policy, "removal")
    (painting,) = paint_subjects([subject], [generator], policy, settled)
    patch = enlarge(painting, canvas, crop)
    weights = feather_weights(part, default_feather(crop))
    everywhere = np.ones_like(weights)
    plain = canvas.paste(crop.box, patch, everywhere)
    return stitch(canvas, crop, patch, weights), plain


def paint_all(canvas: Canvas, mask: Mask, policy: FluxFillPolicy, seed: int) -> dict[str, Pixels]:
    """The picture as each of ``WAYS`` leaves it."""
    size, multiple = policy.settings.size, policy.settings.multiple
    close = choose_crop(bounding_box(mask), canvas.box, size=size, multiple=multiple)
    whole = choose_crop(canvas.box, canvas.box, size=size, multiple=multiple)
    cropped, _ = paint_in(close, canvas, mask, policy, seed)
    stitched, plain = paint_in(whole, canvas, mask, policy, seed)
    results = (cropped, stitched, plain)
    return {way: result.pixels for way, result in zip(WAYS, results, strict=True)}


def window(mask: Mask, least: int = 1) -> Box:
    """A box round the mask, three times as wide and high, or of the least side."""
    box = bounding_box(mask)
    x, width = _stretch(box.x, box.width, least, mask.shape[1])
    y, height = _stretch(box.y, box.height, least, mask.shape[0])
    return Box(x, y, width, height)


def _stretch(start: int, length: int, least: int, whole: int) -> tuple[int, int]:
    """Three times the length about its middle, as far as it lies in the picture."""
    low, high = max(0, start - length), min(whole, start + 2 * length)
    if high - low >= least:
        return low, high - low
    return min(max(0, (low + high - least) // 2), whole - least), least


def psnr(result: Pixels, truth: Pixels) -> float:
    """In dB; infinite for equal pictures."""
    error = np.square(result.astype(float) - truth).mean()
    return float(10 * np.log10(255**2 / error)) if error else float("inf")


def gmsd(result: Pixels, truth: Pixels) -> float:
    """Spread of the likeness of gradient magnitudes; 0 for equal pictures."""
    first, second = (_gradient(pixels) for pixels in (result, truth))
    likeness = (2 * first * second + _GMSD_CONSTANT) / (first**2 + second**2 + _GMSD_CONSTANT)
    return float(likeness.std())


def _gradient(pixels: Pixels) -> NDArray[np.float64]:
    """Prewitt's gradient magnitude of the luma, in [0, 1]."""
    luma = np.asarray(Image.fromarray(pixels).convert("L"), float) / 255
    padded = np.pad(luma, 1, mode="edge")
    columns = padded[:-2] + padded[1:-1] + padded[2:]
    rows = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    across, down = columns[:, 2:] - columns[:, :-2], rows[2:] - rows[:-2]
    return np.hypot(across, down) / 3


def seam(result: Pixels, truth: Pixels, mask: Mask) -> float:
    """Error of the steps across the mask's edge, in grey levels."""
    errors = []
    for axis in (0, 1):
        edge = np.diff(mask.astype(np.int8), axis=axis) != 0
        steps = [np.diff(pixels.astype(float), axis=axis)[edge] for pixels in (result, truth)]
        errors.append(np.abs(steps[0] - steps[1]).mean())
    return float(np.mean(errors))


def measure(
    photos: Sequence[Path],
    policy: FluxFillPolicy,
    masks: int,
    seed: int,
    distance: Perceptual | None,
) -> dict[str, dict[str, float]]:
    """Means over all photographs and masks, by way; without a distance there is no LPIPS."""
    found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for number, file in enumerate(photos):
        canvas = Canvas(np.asarray(read_image(file)))
        rng = np.random.default_rng((seed, number))
        for place in range(masks):
            mask = draw_mask(canvas, rng)
            around = window(mask).slices
            truth = canvas.pixels[around]
            for way, pixels in paint_all(canvas, mask, policy, seed + place).items():
                result = pixels[around]
                scores = {
                    "psnr": psnr(result, truth),
                    "gmsd": gmsd(result, truth),
                    "seam": seam(result, truth, mask[around]),
                }
                if distance is not None:
                    part = window(mask, _LPIPS_SIDE).slices
                    pair = (as_tensor(every[part][None]) for every in (pixels, canvas.pixels))
                    scores["lpips"] = float(distance(*pair).mean())
                found[way].append(scores)
    return {
        way: {name: round(float(np.mean([each[name] for each in scores])), 4) for name in scores[0]}
        for way, scores in found.items()
    }


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--photos", type=Path, help="folder of photographs")
    parser.add_argument("--masks", type=int, default=6, help="masks in each photograph")
    parser.add_argument("--model", default="pocket", help="embedded name or folder")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    photos = find_photos(options.photos, PACKAGED)
    if not photos:
        return 2
    weights = find_weights()
    if weights is None:
        print("no LPIPS: for that `pip install --no-deps stlpips-pytorch`", file=sys.stderr)
    policy = load_policy(resolve("policies", options.model), offline=True)
    distance = None if weights is None else load_perceptual()
    means = measure(photos, policy, options.masks, options.seed, distance)
    crop, whole = means["crop"], means["whole"]
    print(
        json.dumps({"photographs": len(photos), "masks": options.masks, "means": means}, indent=2)
    )
    closer = all(crop[name] < whole[name] for name in crop.keys() & {"gmsd", "lpips"})
    return int(crop["psnr"] <= whole["psnr"] or not closer)


if __name__ == "__main__":
    sys.exit(main())

"""How many Euler steps a removal should take: PSNR and LPIPS in the mask, by steps and strength.

python bench/removal_steps.py --cache FOLDER

Beside PatchMatch: on removals made of the recipe's training photographs (fetched into the cache),
which the choice was made on, and on the embedded held-out scenes. Needs the extra `score`. One
JSON document.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from onefill.allocator import keep_freed_memory
from onefill.pocket import embedded
from onefill.pocket.material.pool import draw_pool
from onefill.pocket.material.sources import TRAIN
from onefill.pocket.scoring.background import apart, decibels
from onefill.pocket.scoring.held_out import HeldOut, paint, read_held_out
from onefill.pocket.scoring.inpainting import REMOVAL
from onefill.pocket.scoring.perceptual import load_perceptual
from onefill.policy.flux_fill import FluxFillPolicy
from onefill.policy.loading import load_policy
from onefill.policy.sampler import Sampling
from onefill.tasks.registry import load_tasks

WAYS = ((3, 0.8), (8, 0.9), (16, 0.9), (16, 1.0))
"""Steps from noise, and the noise level that a removal begins at."""


def measures(policy: FluxFillPolicy, scenes: HeldOut) -> dict[str, dict[str, float]]:
    """Mean PSNR in dB and LPIPS inside the masks for each of ``WAYS``, and for PatchMatch."""
    perceptual = load_perceptual()
    fill = REMOVAL["PatchMatch"]
    made = {
        f"{steps} steps, strength {strength}": paint(
            policy, scenes, 0, Sampling(steps=steps, strength=strength)
        )
        for steps, strength in WAYS
    }
    cases = zip(scenes.pictures, scenes.masks, strict=True)
    made["PatchMatch"] = np.stack([fill(*case) for case in cases])
    found = {}
    for name, pictures in made.items():
        near = decibels(pictures, scenes.truths, scenes.masks)
        distance = apart(perceptual, pictures, scenes.truths, scenes.masks)
        found[name] = {
            "psnr": round(float(near.mean()), 2),
            "lpips": round(float(distance.mean()), 3),
        }
    return found


def main() -> None:
    """Print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--count", type=int, default=90, help="removals on training photographs")
    arguments = parser.parse_args()
    keep_freed_memory()
    policy = load_policy(embedded.resolve("policies", "pocket"))
    pool = draw_pool(TRAIN, arguments.count, 77, arguments.cache, "removal")
    rows = [{"image": str(number)} for number in range(len(pool))]
    training = HeldOut(load_tasks().get("removal"), pool.targets, pool.masks, pool.targets, rows)
    held_out = read_held_out(embedded.scenes("heldout"), "removal")
    report = {
        "training photographs": measures(policy, training),
        "held out": measures(policy, held_out),
    }
    json.dump(report, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()

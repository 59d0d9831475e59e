"""How many Euler steps a removal should take: PSNR over a flat fill, by steps and strength.

python bench/removal_steps.py --cache FOLDER

Gain in dB, inside the mask, over the mean colour of the four pixels round it: on removals made of
the recipe's training photographs (fetched into the cache), which the choice was made on, and on
the embedded held-out scenes. One JSON document.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onefill.allocator import keep_freed_memory
from onefill.images import read_image
from onefill.pocket import embedded
from onefill.pocket.pool import draw_pool
from onefill.pocket.score import HeldOut, paint, psnr, read_held_out, surrounding_colour
from onefill.pocket.sources import TRAIN
from onefill.pocket.vocabulary import REMOVAL_PROMPT
from onefill.policy.flux_fill import FluxFillPolicy
from onefill.policy.loading import load_policy

WAYS = ((16, 0.8), (6, 0.8), (4, 0.8), (3, 0.8), (16, 0.4), (16, 1.0))
"""Steps from noise, and the noise level that a removal begins at."""


def gains(
    policy: FluxFillPolicy, scenes: HeldOut, truths: NDArray[np.uint8]
) -> dict[str, dict[str, float]]:
    """Mean gain in dB and its standard error for each of ``WAYS``."""
    found = {}
    for steps, strength in WAYS:
        prompts = [REMOVAL_PROMPT] * len(truths)
        painted = paint(policy, scenes, prompts, 0, steps=steps, strength=strength)
        gain = np.array(
            [
                psnr(r[m], t[m]) - psnr(surrounding_colour(p, m), t[m])
                for p, m, t, r in zip(scenes.pictures, scenes.masks, truths, painted, strict=True)
            ]
        )
        found[f"{steps} steps, strength {strength}"] = {
            "gain": round(float(gain.mean()), 2),
            "error": round(float(gain.std(ddof=1) / len(gain) ** 0.5), 2),
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
    training = HeldOut(pool.targets, pool.masks, [{}] * len(pool))
    folder = embedded.scenes("heldout")
    held_out = read_held_out(folder, "removal")
    truths = np.stack([np.asarray(read_image(folder / row["truth"])) for row in held_out.rows])
    report = {
        "training photographs": gains(policy, training, pool.targets),
        "held out": gains(policy, held_out, truths),
    }
    json.dump(report, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()

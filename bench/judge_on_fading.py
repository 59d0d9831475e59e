"""Do the judges know a thing that fades, lacks parts, is harsh or is gone from the true one?

python bench/judge_on_fading.py [--judge FOLDER] [--second FILE] [--scenes 100]

A policy that is led away from faults may learn to paint less of a thing, or to draw out its
contrast: both are no worse only to a judge that does not see them. On embedded held-out scenes
whose thing and background are known apart, the true picture is put beside one whose thing lets the
background through, lacks parts, is gone, or whose region is sharpened. Printed for each dimension
of ``fill``: how often the judge (both orders) and the second judge prefer the true picture. A half
is a judge that cannot tell, less is one that prefers the fault. One JSON document.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
from fool_judge import both_opinions

from onefill.allocator import keep_freed_memory
from onefill.errors import OnefillError
from onefill.judge.loading import load_judge
from onefill.pocket import embedded
from onefill.pocket.contests import damage
from onefill.pocket.contests.damage_canvas import Canvas, blend
from onefill.pocket.contests.pairs import LABELS, TASK_DIMENSIONS
from onefill.pocket.judge.second import load_second_judge
from onefill.pocket.material.scenes import Rgb
from onefill.pocket.scoring.held_out import HeldOut, read_held_out

_TOGETHER = 50

Change = Callable[[Canvas, np.random.Generator], Rgb]


def _see_through(canvas: Canvas, _: np.random.Generator, opacity: float) -> Rgb:
    return blend(canvas.background, canvas.picture, opacity)


CHANGES: Mapping[str, Change] = {
    **{f"{100 * o:.0f} % there": partial(_see_through, opacity=o) for o in (0.85, 0.7, 0.5, 0.3)},
    "gone": partial(_see_through, opacity=0.0),
    "lacks parts": lambda canvas, rng: damage.eaten_object(canvas, 0.6, rng),
    "sharpened a little": lambda canvas, rng: damage.harsh_region(canvas, 0.2, rng),
    "sharpened": lambda canvas, rng: damage.harsh_region(canvas, 0.6, rng),
}
"""What is put beside the true picture."""


def canvases(scenes: HeldOut) -> list[Canvas]:
    """Things to be removed, which are whole and stand on a background that is known."""
    triples = zip(scenes.pictures, scenes.truths, scenes.masks, strict=True)
    return [Canvas.of_levels(*triple) for triple in triples]


def main() -> None:
    """Print the shares."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--judge", default=str(embedded.resolve("judges", "pocket")))
    parser.add_argument("--second", type=Path, default=embedded.SECOND_JUDGE)
    parser.add_argument("--scenes", type=int, default=100)
    arguments = parser.parse_args()
    keep_freed_memory()
    try:
        judge = load_judge(arguments.judge, device="cpu", dtype="float32")
    except OnefillError as error:
        parser.error(str(error))
    second = load_second_judge(arguments.second)
    scenes = read_held_out(embedded.scenes("heldout"), "removal").select(slice(arguments.scenes))
    whole, words = canvases(scenes), [LABELS.index(row["word"]) for row in scenes.rows]
    true = _stacked([canvas.picture for canvas in whole])
    document: dict[str, dict[str, dict[str, float]]] = {}
    for name, change in CHANGES.items():
        changed = _stacked([change(c, np.random.default_rng(i)) for i, c in enumerate(whole)])
        for dimension in TASK_DIMENSIONS["fill"]:
            found: dict[str, list[bool]] = {"judge": [], "second": []}
            for start in range(0, len(whole), _TOGETHER):
                at = slice(start, start + _TOGETHER)
                pair = true[at], changed[at]
                opinions = both_opinions(judge, second, pair, "fill", dimension, words[at])
                for who, answers in opinions.items():
                    found[who] += answers
            shares = {who: float(np.mean(answers)) for who, answers in found.items()}
            document.setdefault(name, {})[dimension] = shares
    print(json.dumps({"scenes": len(whole), "true preferred": document}, indent=1))


def _stacked(pictures: list[Rgb]) -> torch.Tensor:
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)


if __name__ == "__main__":
    main()

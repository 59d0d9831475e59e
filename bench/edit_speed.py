"""How fast ``onefill edit`` is beside the stock pipeline, with the same weights, steps and size.

python bench/edit_speed.py [--model pocket] [--steps N] [--edits 8] [--repeats 3] [--threads N]

Three ratios. One edit of a photograph (crop, encode, denoise, decode, match, stitch) to one stock
``FluxFillPipeline`` call on the ready crop: wanted at most 1.1. A loop of stock calls to a batch of
edits of the same prompt: wanted at least 1.5. A fresh process from its start to the first denoising
step of ``onefill edit`` to the bare imports of the libraries it needs: wanted at most 1.3. Prints
one JSON document; exit code 1 if a ratio misses what is wanted.

Guidance is off on both sides, as the stock pipeline has none. Ratios are of processor time, which
is steadier than the clock where other programs compute too; both are printed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import FluxFillPipeline
from PIL import Image

from onefill.edit.crop import bounding_box, choose_crop, shrink_mask, shrink_picture
from onefill.edit.decode import open_photo
from onefill.edit.job import paint_together
from onefill.edit.request import EditRequest, plan_edit
from onefill.pocket.embedded import resolve
from onefill.policy.flux_fill import FluxFillPolicy
from onefill.policy.loading import load_policy
from onefill.policy.sampler import Sampling
from onefill.tasks.registry import load_tasks

PHOTO = Path(__file__).parents[1] / "tests" / "fixtures" / "coffee.jpg"
WANTED = {"one edit": 1.1, "batch": 1.5, "start": 1.3}

# To the first denoising step, and no further.
_TO_FIRST_STEP = """
import os, sys
from onefill.cli.app import run
import onefill.policy.sampling as sampling
def first_step(*_):
    os._exit(0)
sampling.integrate = first_step
sys.exit(run(sys.argv[1:]))
"""
_BARE_IMPORTS = "import numpy, PIL.Image, torch; from diffusers import FluxFillPipeline"


def _processor_time() -> float:
    """Seconds of all threads, and of child processes, which the system counts in hundredths."""
    return time.process_time() + sum(os.times()[2:4])


@dataclass
class Fastest:
    """The fastest of some runs: seconds on the clock, and of processor time on all threads."""

    wall: float = float("inf")
    cpu: float = float("inf")

    def run(self, way: Callable[[], object]) -> None:
        """Run once more, and keep what was faster."""
        wall, cpu = time.perf_counter(), _processor_time()
        way()
        self.wall = min(self.wall, time.perf_counter() - wall)
        self.cpu = min(self.cpu, _processor_time() - cpu)

    def rounded(self) -> dict[str, float]:
        """Both, to the millisecond."""
        return {"wall": round(self.wall, 3), "cpu": round(self.cpu, 3)}


def compare(
    obvious: Callable[[], object], ours: Callable[[], object], repeats: int
) -> tuple[Fastest, Fastest]:
    """Time both in turn, so that a busy minute of the machine falls on both."""
    first, second = Fastest(), Fastest()
    for _ in range(repeats):
        first.run(obvious)
        second.run(ours)
    return first, second


class Edits:
    """A photograph with a mask in several places, edited by both."""

    def __init__(self, policy: FluxFillPolicy, folder: Path, steps: int, count: int) -> None:
        self.policy, self.steps = policy, steps
        self.words = 0
        self.masks, self.crops = [], []
        canvas = open_photo(PHOTO).canvas
        settings = policy.settings
        for number in range(count):
            mask = np.zeros((canvas.box.height, canvas.box.width), bool)
            mask[100 + 10 * number : 220 + 10 * number, 240:380] = True
            self.masks.append(folder / f"mask-{number}.png")
            Image.fromarray(mask).save(self.masks[-1])
            crop = choose_crop(
                bounding_box(mask), canvas.box, size=settings.size, multiple=settings.multiple
            )
            shown = Image.fromarray(shrink_mask(mask[crop.box.slices], crop))
            self.crops.append((shrink_picture(canvas.view(crop.box), crop), shown))
        policy.pipeline.set_progress_bar_config(disable=True)

    def new_prompt(self) -> str:
        """A prompt not met before, so that nobody remembers its embedding."""
        self.words += 1
        words = ("cat", "hat", "red", "straw", "ball")
        return " ".join(words[self.words // 5**place % 5] for place in range(3))

    def ours(self, count: int) -> None:
        """Plan and paint; only the writing of files is left out."""
        prompt = self.new_prompt()
        task = load_tasks().tasks["fill"]
        plans = [
            plan_edit(EditRequest(image=PHOTO, task=task, mask=mask, words=prompt))
            for mask in self.masks[:count]
        ]
        sampling = Sampling(steps=self.steps, guidance=1.0)
        paint_together([(plan, 0) for plan in plans], self.policy, sampling)

    def stock(self, count: int) -> None:
        """The stock pipeline in a loop, on ready crops."""
        prompt, settings = self.new_prompt(), self.policy.settings
        pipeline: FluxFillPipeline = self.policy.pipeline
        for view, shown in self.crops[:count]:
            pipeline(
                prompt=prompt,
                image=view,
                mask_image=shown,
                height=view.height,
                width=view.width,
                num_inference_steps=self.steps,
                guidance_scale=settings.distilled_guidance,
                max_sequence_length=settings.max_sequence_length,
                generator=torch.Generator().manual_seed(0),
            )


def start_up(model: str, mask_file: Path) -> tuple[Callable[[], object], Callable[[], object]]:
    """Two fresh processes: bare imports, and ``onefill edit`` to its first denoising step."""
    line = ["edit", str(PHOTO), "--mask", str(mask_file), "--prompt", "cat", "--model", model]
    line += ["-o", str(mask_file.with_name("never-written.png"))]

    def process(code: str, *arguments: str) -> Callable[[], object]:
        return lambda: subprocess.run(
            [sys.executable, "-c", code, *arguments], check=True, capture_output=True
        )

    return process(_BARE_IMPORTS), process(_TO_FIRST_STEP, *line)


def measure(model: str, steps: int | None, edits: int, repeats: int) -> dict[str, object]:
    """All three ratios."""
    with tempfile.TemporaryDirectory() as folder:
        policy = load_policy(resolve("policies", model), offline=True)
        both = Edits(policy, Path(folder), steps or policy.settings.steps, edits)
        both.stock(1)  # warm
        both.ours(1)
        one = compare(lambda: both.stock(1), lambda: both.ours(1), repeats)
        many = compare(lambda: both.stock(edits), lambda: both.ours(edits), repeats)
        start = compare(*start_up(model, both.masks[0]), repeats)
    ratios = {
        "one edit": one[1].cpu / one[0].cpu,
        "batch": many[0].cpu / many[1].cpu,
        "start": start[1].cpu / start[0].cpu,
    }
    return {
        "model": model,
        "steps": both.steps,
        "working size": list(both.crops[0][0].size),
        "threads": torch.get_num_threads(),
        "edits in a batch": edits,
        "ratios": {name: round(ratio, 2) for name, ratio in ratios.items()},
        "wanted": {"one edit": "<= 1.1", "batch": ">= 1.5", "start": "<= 1.3"},
        "seconds": {
            name: {
                "bare imports" if name == "start" else "stock": pair[0].rounded(),
                "ours": pair[1].rounded(),
            }
            for name, pair in (("one edit", one), ("batch", many), ("start", start))
        },
        "good": ratios["one edit"] <= WANTED["one edit"]
        and ratios["batch"] >= WANTED["batch"]
        and ratios["start"] <= WANTED["start"],
    }


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", default="pocket", help="embedded name or folder")
    parser.add_argument("--steps", type=int, help="default: the model's")
    parser.add_argument("--edits", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    result = measure(options.model, options.steps, options.edits, options.repeats)
    print(json.dumps(result, indent=2))
    return 0 if result["good"] else 1


if __name__ == "__main__":
    sys.exit(main())

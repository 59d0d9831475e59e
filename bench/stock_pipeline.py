"""What the embedded policy paints in the stock pipeline, which has no true guidance.

python bench/stock_pipeline.py [--adapter pocket-distilled] [--count 260] [--seed 0]

The held-out fills and written words of ``onefill pocket score``, painted by onefill with the
policy's own guidance, by diffusers' ``FluxFillPipeline`` on the same folder, and by the same
pipeline with the adapter loaded. All are finished as an edit is. Printed: the share of things that
the classifier names, the share of words that the OCR reads without a wrong letter, and seconds a
picture. One JSON document; needs ``onefill[score]``.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from diffusers import FluxFillPipeline
from torch import Tensor

from onefill.allocator import keep_freed_memory
from onefill.cli.adapters import adapter_folder
from onefill.edit.reading import open_reader
from onefill.errors import OnefillError
from onefill.pocket.embedded import CLASSIFIER, resolve, scenes
from onefill.pocket.scoring.classifier import load_classifier
from onefill.pocket.scoring.fill import named
from onefill.pocket.scoring.held_out import HeldOut, hand_out, paint_whole, read_held_out
from onefill.pocket.scoring.text import read_rightly
from onefill.policy.flux_fill import FluxFillPolicy
from onefill.policy.loading import load_policy

_TOGETHER = 20

Paint = Callable[[HeldOut], Tensor]


def by_stock(pipeline: FluxFillPipeline, policy: FluxFillPolicy, seed: int) -> Paint:
    """Whole pictures (N, 3, H, W) in [0, 1] by the stock pipeline, with the policy's steps."""
    pipeline.set_progress_bar_config(disable=True)

    def paint(held_out: HeldOut) -> Tensor:
        batch, painted = held_out.batch, []
        for start in range(0, len(held_out), _TOGETHER):
            rows = slice(start, start + _TOGETHER)
            images = batch.images[rows]
            generators = [
                torch.Generator().manual_seed(seed * 1_000_003 + start + number)
                for number in range(len(images))
            ]
            painted.append(
                pipeline(
                    list(batch.prompts[rows]),
                    image=images,
                    mask_image=batch.masks[rows],
                    height=images.shape[2],
                    width=images.shape[3],
                    num_inference_steps=policy.settings.steps_for(held_out.task.name),
                    max_sequence_length=policy.settings.max_sequence_length,
                    generator=generators,
                    output_type="pt",
                ).images.float()
            )
        return torch.cat(painted)

    return paint


def measure(paint: Paint, policy: FluxFillPolicy, count: int) -> dict[str, float]:
    """Figures of one way to paint."""
    folder = scenes("heldout")
    fills, words = (read_held_out(folder, task).select(slice(count)) for task in ("fill", "text"))
    classifier, reader = load_classifier(CLASSIFIER), open_reader()
    started = time.perf_counter()
    things, written = paint(fills), paint(words)
    seconds = (time.perf_counter() - started) / (len(fills) + len(words))
    said = named(classifier, hand_out(policy, fills, things), fills)
    read = read_rightly(reader, hand_out(policy, words, written), words)
    return {
        "named": round(float(said.mean()), 3),
        "read": round(float(read.mean()), 3),
        "seconds a picture": round(seconds, 3),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--adapter", type=Path, default=Path("pocket-distilled"))
    parser.add_argument("--count", type=int, default=260, help="at most so many scenes of a task")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    keep_freed_memory()
    try:
        model, adapter = resolve("policies", "pocket"), adapter_folder(options.adapter)
        policy = load_policy(model, offline=True)
    except OnefillError as error:
        parser.error(str(error))
    stock = FluxFillPipeline.from_pretrained(model, torch_dtype=torch.float32)
    figures = {}

    def tell(way: str, paint: Paint) -> None:
        figures[way] = measure(paint, policy, options.count)
        print(f"{way}: {figures[way]}", file=sys.stderr, flush=True)

    tell("onefill, true guidance", lambda held_out: paint_whole(policy, held_out, options.seed))
    tell("stock pipeline", by_stock(stock, policy, options.seed))
    stock.load_lora_weights(adapter)
    tell("stock pipeline, adapter", by_stock(stock, policy, options.seed))
    print(json.dumps({"count": options.count, "ways": figures}, indent=1))


if __name__ == "__main__":
    main()

"""Saving a trained judge: weights in few bits, measured as they are saved."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from onefill.judge.calibration import fit_temperature
from onefill.judge.canary import write_canaries
from onefill.judge.loading import load_judge
from onefill.judge.pair import PreferencePair
from onefill.judge.saving import save_judge
from onefill.pocket.contests.accuracy import (
    accuracy_of,
    ask_pairs,
    held_out_pairs,
    winners,
)
from onefill.pocket.contests.pairs import CELLS, Pair
from onefill.pocket.judge.architecture import build_image_processor
from onefill.pocket.material import vocabulary
from onefill.pocket.material.pictures import Pictures, load_pictures
from onefill.pocket.material.sources import HELD_OUT, source_list
from onefill.pocket.training_plan import Plan

MATRICES, OTHERS = torch.float8_e4m3fn, torch.float16
"""What weights are on disk, those of matrices and those of norms and biases: the judge is as often
right, and the file half as large as in half precision, in the wheel and in every clone."""

MEASURED = 1000
"""Held-out pairs of each task and dimension that are reported, and as many for calibration."""


def save_measured(
    model: Any,
    tokenizer: Any,
    folder: Path,
    plan: Plan,
    before: Mapping[str, Any] | None = None,
    *,
    count: int = MEASURED,
) -> dict[str, dict[str, float]]:
    """Write a judge's folder, then load it back, measure it and write its card again.

    Temperatures are fitted on held-out pairs other than those that are reported.

    Args:
        model: a stock Qwen2.5-VL on the CPU.
        tokenizer: its tokenizer.
        folder: receives the judge.
        plan: of its training.
        before: facts of the judge that it began from.
        count: pairs of each cell that are reported.

    Returns:
        "task/dimension" to accuracy, its number of pairs, and temperature, as in the card.
    """
    facts = {
        "recipe": plan.command("judge"),
        "weights": "float8 (E4M3) on disk, norms and biases float16",
        "parameters": sum(p.numel() for p in model.parameters()),
        "measured on": "pairs of held-out drawings, photographs and font; either order alone",
        "held out": f"drawings of {vocabulary.HELD_OUT_SET}, six photographs, one font",
        **(before or {}),
    }
    weights = on_disk(model)
    processor = build_image_processor()
    card: dict[str, Any] = {"dimensions": {}, "facts": facts, "sources": source_list()}
    save_judge(folder, model, tokenizer, processor, card, dtype=None, weights=weights)
    judge = load_judge(str(folder), device="cpu", dtype="float32", offline=True)
    pictures = load_pictures(HELD_OUT, plan.cache)
    for task, dimension in CELLS:
        reported = held_out_pairs(pictures, task, dimension, count, plan.seed)
        fitted = held_out_pairs(pictures, task, dimension, count, plan.seed + 1)
        heat = fit_temperature(*ask_pairs(judge, fitted), winners(fitted))
        entry = accuracy_of(*ask_pairs(judge, reported), winners(reported), heat)
        card["dimensions"][f"{task}/{dimension}"] = {**entry, "temperature": heat}
        plan.log(f"judge {task}/{dimension}: {entry}")
    save_judge(folder, model, tokenizer, processor, card, dtype=None, weights=weights)
    store_canaries(folder, pictures, plan.seed)
    table: dict[str, dict[str, float]] = card["dimensions"]
    return table


@torch.no_grad()
def on_disk(model: Any) -> dict[str, Tensor]:
    """The weights as they are written, each once: of tied ones the first."""
    return {
        name: weight.to(MATRICES if weight.ndim > 1 else OTHERS)
        for name, weight in model.named_parameters()
    }


def store_canaries(folder: Path, pictures: Pictures, seed: int) -> None:
    """Store held-out pairs of every cell's kind in a judge's folder, asked whenever it is loaded.

    Args:
        folder: of a finished judge.
        pictures: held out from its training.
        seed: of the pairs.
    """
    judge = load_judge(str(folder), device="cpu", dtype="float32", offline=True)
    with tempfile.TemporaryDirectory() as shelf:
        pairs = [
            _on_disk(held_out_pairs(pictures, task, dimension, 1, seed)[0], Path(shelf), number)
            for number, (task, dimension) in enumerate(CELLS)
        ]
        write_canaries(folder, judge, pairs)


def _on_disk(pair: Pair, shelf: Path, number: int) -> PreferencePair:
    files = [shelf / f"{number}-{side}.png" for side in ("first", "second")]
    for file, picture in zip(files, (pair.first, pair.second), strict=True):
        Image.fromarray(picture).save(file)
    return PreferencePair(
        first=files[0],
        second=files[1],
        task=pair.task,
        prompt=pair.words,
        source=None,
        mask=None,
        dims=(pair.dimension,),
        winner={pair.dimension: pair.winner},
        strength={pair.dimension: pair.strength},
        scene=str(number),
        line=0,
        row={},
    )

"""What a run would be and cost, from a real step that leaves nothing behind."""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from onefill.rl.config import CacheConfig, RunConfig
from onefill.rl.ingredients import Ingredients
from onefill.rl.loop import take_step
from onefill.rl.run_folder import RunFolder
from onefill.rl.training import Training, open_training

Forecast = dict[str, Any]
"""The document that ``onefill train --dry-run --json`` prints, documented at ``forecast``."""


def forecast(config: RunConfig, ingredients: Ingredients) -> Forecast:
    """Load the models, take two steps, and tell what the second one cost.

    Keys: ``config`` (complete, as ``config.yaml``), ``trainable_parameters`` of ``parameters`` (of
    the transformer, adapter included), ``seconds_per_step`` and ``seconds`` (all steps at that
    rate; loading, win rates, sheets and watching not counted), ``memory`` with ``bytes`` and
    ``of`` (``process``: most main memory of this process so far; ``gpu``: most that tensors took),
    and ``samples``: for each task how many ``train`` and are ``held_out``.

    Raises:
        BadInput: as ``open_training``.
        OnefillError: the step fails, by values that are no numbers for instance.
    """
    uncached = config.model_copy(update={"cache": CacheConfig()})
    with tempfile.TemporaryDirectory(prefix="onefill-") as folder:
        run = open_training(uncached, ingredients, RunFolder(Path(folder)), resume=False)
        take_step(run)  # the first one also sets up what later ones use
        begin = time.perf_counter()
        take_step(run)
        if run.policy.device.type == "cuda":
            torch.cuda.synchronize(run.policy.device)
        seconds = time.perf_counter() - begin
    trained = run.policy.trainable_parameters().values()
    return {
        "config": config.model_dump(),
        "trainable_parameters": sum(weight.numel() for weight in trained),
        "parameters": sum(p.numel() for p in run.policy.pipeline.transformer.parameters()),
        "seconds_per_step": seconds,
        "seconds": seconds * config.steps,
        "memory": _memory(run),
        "samples": {
            name: {
                "train": ingredients.samples.count(name),
                "held_out": ingredients.held_out.count(name),
            }
            for name in run.tasks
        },
    }


def _memory(run: Training) -> dict[str, Any]:
    device = run.policy.device
    if device.type == "cuda":
        return {"bytes": torch.cuda.max_memory_allocated(device), "of": "gpu"}
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"bytes": most if sys.platform == "darwin" else most * 1024, "of": "process"}

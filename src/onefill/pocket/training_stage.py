"""One stage of a training: a timed, logged, resumable loop over a step function."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from onefill.pocket.training_state import cosine_rate, load_state, save_state

Log = Callable[[str], None]
Losses = dict[str, Tensor]

_SAVE_EVERY, _SMOOTH = 90.0, 0.97


def run_stage(
    name: str,
    state: Path,
    modules: Mapping[str, nn.Module],
    optimizers: list[torch.optim.Optimizer],
    weights: Mapping[str, float],
    step: Callable[[np.random.Generator], Losses],
    measure: Callable[[], Mapping[str, float]],
    minutes: float,
    seed: int,
    log: Log,
) -> None:
    """Train until ``minutes``, earlier runs counted, are over; the state is on disk then.

    Args:
        name: for the log.
        state: folder of the stage's state; what is there is taken up first.
        modules: what is trained and kept.
        optimizers: of their parameters; their rates are the peak of a cosine.
        weights: of the losses that ``step`` returns; a loss it does not name weighs 1.
        step: draws a batch and returns its losses.
        measure: accuracies on held-out pairs, for the log.
        minutes: wall time.
        seed: with the number of the step, of the generator that ``step`` is given.
        log: told one line now and then.
    """
    progress = load_state(state, modules, optimizers)
    seconds, done = progress.get("seconds", 0.0), int(progress.get("step", 0))
    started, saved = time.monotonic() - seconds, seconds
    peaks = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]
    parameters = [p for o in optimizers for group in o.param_groups for p in group["params"]]
    smooth: dict[str, float] = {}
    while seconds < minutes * 60:
        for optimizer, rates in zip(optimizers, peaks, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * cosine_rate(seconds / (minutes * 60))
            optimizer.zero_grad()
        losses = step(np.random.default_rng([seed, done]))
        weighted(losses, weights).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        for optimizer in optimizers:
            optimizer.step()
        done += 1
        for key, loss in losses.items():
            kept = smooth.get(key, loss.item())
            smooth[key] = _SMOOTH * kept + (1 - _SMOOTH) * loss.item()
        seconds = time.monotonic() - started
        if seconds - saved > _SAVE_EVERY or seconds >= minutes * 60:
            saved = seconds
            save_state(state, modules, optimizers, {"seconds": seconds, "step": done})
            figures = {**smooth, **measure()}
            told = ", ".join(f"{key} {value:.3f}" for key, value in figures.items())
            log(f"{name} {seconds / 60:.1f} min, step {done}: {told}")
            started += time.monotonic() - started - seconds  # measuring is not training


def weighted(losses: Losses, weights: Mapping[str, float]) -> Tensor:
    """The weighted sum of losses; one that has no weight weighs 1."""
    return torch.stack([weights.get(name, 1.0) * loss for name, loss in losses.items()]).sum()

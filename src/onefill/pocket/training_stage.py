"""One stage of a training: a logged, resumable loop over batches that are drawn ahead."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor, nn

from onefill.pocket.training_plan import Drawn, Plan
from onefill.pocket.training_state import cosine_rate, load_state, save_state

Losses = dict[str, Tensor]

_SAVE_EVERY, _SMOOTH = 90.0, 0.97


def run_stage(
    name: str,
    state: str,
    modules: Mapping[str, nn.Module],
    optimizers: list[torch.optim.Optimizer],
    draw: Callable[[np.random.Generator], Drawn],
    losses_of: Callable[[Drawn, np.random.Generator], Losses],
    measure: Callable[[], Mapping[str, float]],
    plan: Plan,
    *,
    weights: Mapping[str, float] | None = None,
    after: Callable[[int], None] | None = None,
) -> int:
    """Train until the plan's length, earlier runs counted, is over; the state is on disk then.

    Args:
        name: for the log.
        state: folder of the stage's state in the cache; what is there is taken up first.
        modules: what is trained and kept.
        optimizers: of their parameters; their rates are the peak of a cosine.
        draw: draws a batch on the CPU, ahead of its turn and in a thread of its own.
        losses_of: the losses of a batch, which is on the plan's device by then.
        measure: accuracies on held-out pairs, for the log.
        plan: length, seed, device and log. Each step has a generator of its own, of the seed and
            its number, which ``draw`` and then ``losses_of`` are given.
        weights: of losses; one that is not named weighs 1.
        after: called after every step with the number of steps done.

    Returns:
        The steps done in all.
    """
    progress = load_state(plan.cache / state, modules, optimizers)
    seconds, done = progress.get("seconds", 0.0), int(progress.get("step", 0))
    started, saved, waited, first = time.monotonic() - seconds, seconds, 0.0, seconds
    peaks = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]
    parameters = [p for o in optimizers for group in o.param_groups for p in group["params"]]
    smooth: dict[str, float] = {}

    def ahead(step: int) -> tuple[Drawn, np.random.Generator]:
        rng = np.random.default_rng([plan.seed, step])
        return draw(rng), rng

    with ThreadPoolExecutor(1) as drawer:
        coming = drawer.submit(ahead, done)
        while (share := plan.length.done(seconds, done)) < 1:
            for optimizer, rates in zip(optimizers, peaks, strict=True):
                for group, rate in zip(optimizer.param_groups, rates, strict=True):
                    group["lr"] = rate * cosine_rate(share)
                optimizer.zero_grad()
            asked = time.monotonic()
            drawn, rng = coming.result()
            waited += time.monotonic() - asked
            coming = drawer.submit(ahead, done + 1)
            losses = losses_of(plan.put(drawn), rng)
            weighted(losses, weights or {}).backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            for optimizer in optimizers:
                optimizer.step()
            done += 1
            if after is not None:
                after(done)
            for key, loss in losses.items():
                kept = smooth.get(key, loss.item())
                smooth[key] = _SMOOTH * kept + (1 - _SMOOTH) * loss.item()
            seconds = time.monotonic() - started
            if seconds - saved > _SAVE_EVERY or plan.length.done(seconds, done) == 1:
                saved = seconds
                progress = {"seconds": seconds, "step": done}
                save_state(plan.cache / state, modules, optimizers, progress)
                figures = {**smooth, **measure()}
                told = ", ".join(f"{key} {value:.3f}" for key, value in figures.items())
                idle = waited / max(seconds - first, 1e-9)
                plan.log(
                    f"{name} {seconds / 60:.1f} min, step {done}, {idle:.1%} waiting for data: "
                    f"{told}"
                )
                started += time.monotonic() - started - seconds  # measuring is not training
    return done


def weighted(losses: Losses, weights: Mapping[str, float]) -> Tensor:
    """The weighted sum of losses; one that has no weight weighs 1."""
    return torch.stack([weights.get(name, 1.0) * loss for name, loss in losses.items()]).sum()

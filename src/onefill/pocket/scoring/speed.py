"""How long a policy takes to load and to edit."""

from __future__ import annotations

import time

import torch

from onefill.pocket.scoring.held_out import HeldOut, paint
from onefill.pocket.scoring.table import Figure, Figures
from onefill.policy.flux_fill import FluxFillPolicy
from onefill.policy.loading import load_policy
from onefill.policy.sampler import Sampling

_STEPS, _TIMES = 20, 3


def load_timed(model: str) -> tuple[FluxFillPolicy, Figures]:
    """Load a policy twice on the CPU, so that the time of the second holds no imports.

    Raises:
        BadInput: there is no such model, or it cannot be read.
    """
    load_policy(model)
    started = time.perf_counter()
    policy = load_policy(model)
    return policy, {"speed/load": Figure(value=time.perf_counter() - started)}


def score_speed(policy: FluxFillPolicy, scenes: HeldOut) -> Figures:
    """Seconds of one edit of 20 steps, from pixels to pixels: the median of three."""
    one, times = scenes.select(slice(0, 1)), []
    for _ in range(_TIMES):
        started = time.perf_counter()
        paint(policy, one, 0, Sampling(steps=_STEPS))
        times.append(time.perf_counter() - started)
    threads = f"{torch.get_num_threads()} CPU threads"
    return {"speed/edit": Figure(value=sorted(times)[_TIMES // 2], note=threads)}

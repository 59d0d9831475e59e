"""Flow-matching sampling as short pure functions.

The path between a clean latent x0 and noise is straight (Liu et al. 2023, rectified flow, Eq. 1):
x_sigma = (1 - sigma) · x0 + sigma · noise, sigma from 1 (noise) to 0 (clean). The model predicts
its velocity v = noise - x0.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from diffusers import FlowMatchEulerDiscreteScheduler
from diffusers.pipelines.flux.pipeline_flux_fill import calculate_shift
from torch import Tensor

Velocity = Callable[[Tensor, Tensor], Tensor]
"""Maps x_sigma [B, N, C] and sigma (0-dim) to the velocity [B, N, C]."""


def sigma_schedule(scheduler_config: Mapping[str, Any], steps: int, tokens: int) -> Tensor:
    """The noise levels of a full denoising, exactly as the stock pipeline sets them.

    Args:
        scheduler_config: of the pipeline's ``FlowMatchEulerDiscreteScheduler``; its shift moves
            steps towards the noisy end, for larger pictures further if it is dynamic
            (Esser et al. 2024, section 5.3.2).
        steps: Euler steps, at least 1.
        tokens: packed image tokens N.

    Returns:
        float32 [steps + 1], falling from 1 to 0.
    """
    scheduler = FlowMatchEulerDiscreteScheduler.from_config(scheduler_config)
    shift = calculate_shift(
        tokens,
        scheduler.config.base_image_seq_len,
        scheduler.config.max_image_seq_len,
        scheduler.config.base_shift,
        scheduler.config.max_shift,
    )
    scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps), mu=shift)
    return scheduler.sigmas


def first_step(sigmas: Tensor, strength: float) -> int:
    """Where a schedule is entered that does not begin from noise alone.

    Args:
        sigmas: of ``sigma_schedule``, [steps + 1].
        strength: in (0, 1]; 1 enters at the beginning.

    Returns:
        The number of the step at the largest noise level that is not above ``strength``; the last
        step where all are.
    """
    if strength == 1:
        return 0
    return min(int((sigmas > strength).sum()), len(sigmas) - 2)


def guide(unconditional: Tensor, conditional: Tensor, scale: float) -> Tensor:
    """Classifier-free guidance (Ho & Salimans 2022, Eq. 6), on velocities; 1 gives conditional."""
    return unconditional + scale * (conditional - unconditional)


def euler_step(x: Tensor, velocity: Tensor, sigma: Tensor, next_sigma: Tensor) -> Tensor:
    """Follow the velocity from sigma to next_sigma: x + (next_sigma - sigma) · v."""
    return x + (next_sigma - sigma) * velocity


def predict_x0(x: Tensor, velocity: Tensor, sigma: Tensor) -> Tensor:
    """The clean latent a single prediction points to: x0' = x_sigma - sigma · v."""
    return x - sigma * velocity


def add_noise(x0: Tensor, noise: Tensor, sigma: Tensor) -> Tensor:
    """The point of the path at sigma: (1 - sigma) · x0 + sigma · noise."""
    return (1 - sigma) * x0 + sigma * noise


def integrate(velocity: Velocity, x: Tensor, sigmas: Tensor) -> Tensor:
    """Euler's method through all of ``sigmas``, from x at the first to x at the last."""
    for sigma, next_sigma in pairwise(sigmas):
        x = euler_step(x, velocity(x, sigma), sigma, next_sigma)
    return x

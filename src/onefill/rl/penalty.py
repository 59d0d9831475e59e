"""How far the policy has gone from its reference at the gradient step.

Both are asked for the velocity at the same x_t. For clean latents x0' = x_t - sigma * v the
difference of two predictions is sigma times that of the velocities.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from onefill.policy.conditions import Conditions
from onefill.policy.flux_fill import FluxFillPolicy
from onefill.policy.sampler import SettledSampling
from onefill.rl.config import PenaltyConfig
from onefill.rl.reference import Reference
from onefill.rl.rollout import Partial, predicted_latents

NOISE_LEVEL = 0.7
"""Of the stochastic sampler that ``kl`` speaks of: the a of Flow-GRPO (Liu et al. 2025)."""


@torch.no_grad()
def reference_latents(
    policy: FluxFillPolicy,
    reference: Reference,
    conditions: Conditions,
    partial: Partial,
    sampler: SettledSampling,
) -> Tensor:
    """x0' by the reference, from the policy's own x_t: [B, N, 4C]."""
    with reference.active():
        return predicted_latents(policy, conditions, partial, sampler)


@dataclass(frozen=True)
class Distance:
    """How far apart two predictions are; both are means over all values of a batch, 0-dim.

    Attributes:
        drift: mean squared difference of the velocities.
        kl: divergence of the Gaussians from which a stochastic sampler with the same marginals
            draws the next latents: 0.5 |difference of means|^2 / variance, per value (Flow-GRPO,
            section 4.1). With a = ``NOISE_LEVEL`` it is
            ``drift * (sigma - next) / 2 * (1 - sigma) / sigma * (1/a + a/2)^2``.
    """

    drift: Tensor
    kl: Tensor


def distance(latents: Tensor, reference: Tensor, partial: Partial) -> Distance:
    """Compare clean latents [B, N, 4C] that were predicted from ``partial``."""
    sigma, step = partial.sigma, partial.sigma - partial.next_sigma
    drift = ((latents - reference) / sigma).square().mean()
    factor = (1 / NOISE_LEVEL + NOISE_LEVEL / 2) ** 2
    return Distance(drift, drift * step / 2 * (1 - sigma) / sigma * factor)


def penalty(gone: Distance, config: PenaltyConfig) -> Tensor:
    """What is added to the loss for having gone so far."""
    return config.weight * (gone.kl if config.kind == "kl" else gone.drift)

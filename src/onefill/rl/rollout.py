"""The two images a step compares: the reference's, fully denoised, and the policy's.

The policy is denoised without gradient to a drawn step and predicts the end from there in one
call with gradient (Algorithms 1 and 2, the lines of x_ref and x_theta).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from onefill.policy.conditions import Conditions
from onefill.policy.flux_fill import FluxFillPolicy
from onefill.rl.batch import Batch
from onefill.rl.reference import Reference


@dataclass(frozen=True)
class Sampler:
    """How latents are denoised: number of steps, and true guidance (1 is off)."""

    steps: int
    guidance: float


@torch.no_grad()
def full_denoising(
    policy: FluxFillPolicy, batch: Batch, conditions: Conditions, noise: Tensor, sampler: Sampler
) -> Tensor:
    """The policy's images with the weights it has now, (B, 3, H, W) in [0, 1]."""
    latents = policy.sample(conditions, noise, steps=sampler.steps, guidance=sampler.guidance)
    return batch.paste(policy.decode(latents, conditions))


def reference_images(
    policy: FluxFillPolicy,
    reference: Reference,
    batch: Batch,
    conditions: Conditions,
    noise: Tensor,
    sampler: Sampler,
) -> Tensor:
    """x_ref: full denoising by pi_ref, no gradient; (B, 3, H, W) in [0, 1]."""
    with reference.active():
        return full_denoising(policy, batch, conditions, noise, sampler)


@dataclass(frozen=True)
class Partial:
    """Latents x_t of the policy at a step of the sampler, and the noise level sigma_t there."""

    latents: Tensor
    sigma: Tensor


@torch.no_grad()
def partial_denoising(
    policy: FluxFillPolicy, conditions: Conditions, noise: Tensor, sampler: Sampler, until: int
) -> Partial:
    """x_t: the policy denoised without gradient up to step ``until``."""
    return Partial(
        *policy.partial(
            conditions, noise, steps=sampler.steps, guidance=sampler.guidance, until=until
        )
    )


def gradient_images(
    policy: FluxFillPolicy, batch: Batch, conditions: Conditions, partial: Partial, sampler: Sampler
) -> Tensor:
    """x_theta: decoded x0' = x_t - sigma_t * v, the one call that gradient flows through."""
    latents = policy.one_step_x0(
        partial.latents, partial.sigma, conditions, guidance=sampler.guidance
    )
    return batch.paste(policy.decode(latents, conditions))

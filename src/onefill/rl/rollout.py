"""The two images a step compares: the reference's, fully denoised, and the policy's.

The policy is denoised without gradient to a drawn step and predicts the end from there in one
call with gradient (Algorithms 1 and 2, the lines of x_ref and x_theta).
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import torch
from torch import Tensor

from onefill.policy.conditions import Conditions
from onefill.policy.flux_fill import FluxFillPolicy
from onefill.policy.sampler import SettledSampling
from onefill.policy.sampling import euler_step, sigma_schedule
from onefill.rl.batch import Batch
from onefill.rl.randomness import Purpose, noise_generators
from onefill.rl.reference import Reference


@torch.no_grad()
def full_denoising(
    policy: FluxFillPolicy,
    batch: Batch,
    conditions: Conditions,
    noise: Tensor,
    sampler: SettledSampling,
) -> Tensor:
    """The policy's images with the weights it has now, (B, 3, H, W) in [0, 1]."""
    return batch.paste(painted(policy, batch, conditions, noise, sampler))


@torch.no_grad()
def painted(
    policy: FluxFillPolicy,
    batch: Batch,
    conditions: Conditions,
    noise: Tensor,
    sampler: SettledSampling,
) -> Tensor:
    """The whole pictures that the policy paints, before the samples' own pixels are put back."""
    latents = policy.sample(
        conditions,
        noise,
        steps=sampler.steps,
        guidance=sampler.guidance,
        start=_start(batch, sampler),
        strength=sampler.strength,
    )
    return policy.decode(latents, conditions)


def painted_from_seed(
    policy: FluxFillPolicy,
    batch: Batch,
    sampler: SettledSampling,
    seed: int,
    purpose: Purpose,
    places: range,
) -> Tensor:
    """The same with noise that follows from seed, purpose and task alone, for measuring.

    Args:
        policy: the model, whatever weights it has at the moment.
        batch: the samples, all of one task.
        sampler: how they are denoised.
        seed: of the noise.
        purpose: of the noise.
        places: of the samples among those of their task.
    """
    conditions = policy.encode(batch.images, batch.masks, batch.prompts)
    task = zlib.crc32(batch.task.name.encode())
    noise = policy.noise(conditions, noise_generators(seed, purpose, task, places))
    return painted(policy, batch, conditions, noise, sampler)


def reference_images(
    policy: FluxFillPolicy,
    reference: Reference,
    batch: Batch,
    conditions: Conditions,
    noise: Tensor,
    sampler: SettledSampling,
) -> Tensor:
    """x_ref: full denoising by pi_ref, no gradient; (B, 3, H, W) in [0, 1]."""
    with reference.active():
        return full_denoising(policy, batch, conditions, noise, sampler)


@dataclass(frozen=True)
class Partial:
    """Latents x_t of the policy at a step of the sampler.

    Attributes:
        latents: x_t [B, N, 4C].
        step: the number of that step.
        sigma: their noise level, 0-dim.
        next_sigma: what it would be after that step, 0-dim.
    """

    latents: Tensor
    step: int
    sigma: Tensor
    next_sigma: Tensor


@torch.no_grad()
def partial_denoising(
    policy: FluxFillPolicy,
    batch: Batch,
    conditions: Conditions,
    noise: Tensor,
    sampler: SettledSampling,
    until: int,
) -> Partial:
    """x_t: the policy denoised without gradient up to step ``until``."""
    latents, sigma = policy.partial(
        conditions,
        noise,
        steps=sampler.steps,
        guidance=sampler.guidance,
        until=until,
        start=_start(batch, sampler),
        strength=sampler.strength,
    )
    schedule = sigma_schedule(policy.pipeline.scheduler.config, sampler.steps, noise.shape[1])
    return Partial(latents, until, sigma, schedule[until + 1].to(sigma))


def predicted_latents(
    policy: FluxFillPolicy, conditions: Conditions, partial: Partial, sampler: SettledSampling
) -> Tensor:
    """x0' = x_t - sigma_t * v, the one call that gradient flows through: [B, N, 4C]."""
    return policy.one_step_x0(partial.latents, partial.sigma, conditions, guidance=sampler.guidance)


def carried_on(
    policy: FluxFillPolicy,
    conditions: Conditions,
    partial: Partial,
    predicted: Tensor,
    sampler: SettledSampling,
) -> Tensor:
    """Where denoising ends that goes on from ``partial``, with x0's gradient: [B, N, 4C].

    One prediction from the middle is a blur, and a judge that sees it beside a finished picture
    asks for sharpness before all else, which the steps that remain would have brought. They take
    no gradient, and what comes back from the end goes straight to x0' ``predicted``: as in DRTune
    (Wu et al. 2024, "Deep Reward Supervisions for Tuning Text-to-Image Diffusion Models") no
    gradient passes through a step's input.
    """
    with torch.no_grad():
        velocity = (partial.latents - predicted) / partial.sigma
        x = euler_step(partial.latents, velocity, partial.sigma, partial.next_sigma)
        steps, guidance = sampler.steps, sampler.guidance
        end = policy.rest(conditions, x, steps=steps, guidance=guidance, since=partial.step + 1)
    return end + (predicted - predicted.detach())


def gradient_images(
    policy: FluxFillPolicy, batch: Batch, conditions: Conditions, latents: Tensor
) -> Tensor:
    """x_theta: the decoded x0', the samples' own pixels put back; (B, 3, H, W) in [0, 1]."""
    return batch.paste(policy.decode(latents, conditions))


def _start(batch: Batch, sampler: SettledSampling) -> Tensor | None:
    return batch.surroundings if sampler.strength < 1 else None

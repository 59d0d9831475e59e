"""How latents are denoised for a task: as an edit does it, in rollouts with fewer steps.

An edit takes the policy's own steps, guidance and strength for the task. Held-out pictures (win
rates, sample sheets, the watch for hacking) are painted so, because they are to show what an edit
gives. Rollouts begin where an edit begins, too. A removal that edits start from the surroundings
carried into the mask never meets latents of noise alone, and three steps from there give another
picture than three steps from the surroundings: trained on those, the policy would learn something
else than it is used for. Of the steps, rollouts take at most half of the policy's usual number, as
most of the time of training goes into them, and never more than an edit of the task.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby

from torch import Tensor

from onefill.policy.flux_fill import FluxFillPolicy
from onefill.policy.sampler import Sampling, SettledSampling
from onefill.policy.sampling import first_step, sigma_schedule
from onefill.rl.config import RunConfig


def edit_sampler(policy: FluxFillPolicy, task: str, config: RunConfig) -> SettledSampling:
    """What an edit of the task takes, save for what the run names itself."""
    return Sampling(steps=config.sampler_steps, guidance=config.guidance).settle(policy, task)


def rollout_sampler(policy: FluxFillPolicy, task: str, config: RunConfig) -> SettledSampling:
    """The same for both images that a step of training compares, in fewer steps by default."""
    sampler = edit_sampler(policy, task, config)
    if config.sampler_steps is not None:
        return sampler
    return replace(sampler, steps=min(sampler.steps, max(1, policy.settings.steps // 2)))


def gradient_steps(
    policy: FluxFillPolicy, task: str, sampler: SettledSampling, config: RunConfig
) -> range:
    """The steps of a rollout that the gradient may be taken at: those of the range it passes.

    Raises:
        BadInput: ``step_range`` counts steps that the sampler does not have.
    """
    found = config.gradient_steps(sampler.steps, task)
    first = first_step(_sigmas(policy, sampler), sampler.strength)
    return range(max(first, found.start), max(first + 1, found.stop))


def noise_level(policy: FluxFillPolicy, sampler: SettledSampling, step: int) -> float:
    """The share of noise in the latents at a step of a rollout, in [0, 1]."""
    return float(_sigmas(policy, sampler)[step])


def split_by_sampler(
    places: range, tasks: Sequence[str], samplers: Mapping[str, SettledSampling]
) -> list[range]:
    """Parts of a batch whose samples are denoised alike, so that each is one call of the policy.

    Args:
        places: of the batch.
        tasks: of every sample of the batch, by name.
        samplers: of each task.
    """
    parts = groupby(places, key=lambda place: samplers[tasks[place]])
    runs = [list(run) for _, run in parts]
    return [range(run[0], run[-1] + 1) for run in runs]


def _sigmas(policy: FluxFillPolicy, sampler: SettledSampling) -> Tensor:
    settings = policy.settings
    tokens = (settings.size // settings.multiple) ** 2
    return sigma_schedule(policy.pipeline.scheduler.config, sampler.steps, tokens)

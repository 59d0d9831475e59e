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

from collections.abc import Mapping
from dataclasses import replace

from onefill.errors import BadInput
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
    settings = policy.settings
    tokens = (settings.size // settings.multiple) ** 2
    sigmas = sigma_schedule(policy.pipeline.scheduler.config, sampler.steps, tokens)
    first = first_step(sigmas, sampler.strength)
    return range(max(first, found.start), max(first + 1, found.stop))


def refuse_mixing_unlike(samplers: Mapping[str, SettledSampling], tasks_per_step: int) -> None:
    """See that tasks which are to share a batch are denoised alike.

    Raises:
        BadInput: two are not, and a step may draw both.
    """
    if tasks_per_step == 1:
        return
    one, *others = samplers
    for other in others:
        if samplers[other] != samplers[one]:
            raise BadInput(
                f"tasks_per_step {tasks_per_step}: {_in_words(one, samplers[one])} and "
                f"{_in_words(other, samplers[other])} cannot share a batch; leave one out, or "
                "tasks_per_step 1"
            )


def _in_words(task: str, sampler: SettledSampling) -> str:
    return f"{task} (steps {sampler.steps}, strength {sampler.strength:g})"

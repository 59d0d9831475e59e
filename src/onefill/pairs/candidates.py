"""Several results of each edit by one policy, sampled in ways that differ (paper, section 3.1).

The paper varies steps, guidance, negative prompt and the strength of the initial noise; how far
is not published. Here steps go down to a quarter and guidance down to none, so that a part of
the candidates is plainly worse than what the policy can do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch

from onefill.pairs.subject import Picture
from onefill.policy.flux_fill import FluxFillPolicy
from onefill.policy.sampler import SettledSampling
from onefill.policy.settings import PolicySettings
from onefill.rl.batch import Batch
from onefill.rl.rollout import full_denoising

_STEP_SHARES = (1.0, 0.5, 0.25)
_GUIDANCE_SHARES = (1.0, 0.5, 0.0, 1.75)
_NOISE = (0.9, 1.1)


@dataclass(frozen=True)
class Recipe:
    """How a candidate is sampled.

    Attributes:
        steps: Euler steps.
        guidance: true classifier-free guidance, 1 is off.
        negative: the prompt that guidance leads away from.
        strength: noise level it begins at, from the surroundings carried into the mask; 1 is
            noise alone.
        noise: standard deviation of the initial noise.
    """

    steps: int
    guidance: float
    negative: str
    strength: float
    noise: float

    def document(self) -> dict[str, object]:
        """For the pairs file."""
        return asdict(self)


def draw_recipes(
    settings: PolicySettings,
    task: str,
    count: int,
    negatives: Sequence[str],
    rng: np.random.Generator,
) -> list[Recipe]:
    """``count`` different recipes, the one of an edit of the task first.

    All begin where an edit begins: few steps from noise alone are another model's picture.

    Args:
        settings: of the policy.
        task: what is painted; a policy may take other steps for it, and another beginning.
        count: at least 1.
        negatives: further prompts to lead away from; the policy's own and none are always drawn
            from, and of a closed vocabulary one word.
        rng: decides.
    """
    steps, strength = settings.steps_for(task), settings.strength_for(task)
    guidance = settings.guidance_for(task)
    own = Recipe(steps, guidance, settings.negative_prompt, strength, 1.0)
    prompts = [settings.negative_prompt, "", *negatives]
    if settings.vocabulary:
        prompts.append(str(rng.choice(settings.vocabulary)))
    recipes = [own]
    while len(recipes) < count:
        share = float(rng.choice(_GUIDANCE_SHARES))
        recipe = Recipe(
            steps=max(1, round(steps * float(rng.choice(_STEP_SHARES)))),
            guidance=round(1 + (guidance - 1) * share, 3),
            negative=str(rng.choice(prompts)),
            strength=strength,
            noise=round(float(rng.uniform(*_NOISE)), 3),
        )
        if recipe not in recipes:
            recipes.append(recipe)
    return recipes


@torch.no_grad()
def paint(
    policy: FluxFillPolicy, batch: Batch, recipes: Sequence[Recipe], seed: int
) -> list[list[Picture]]:
    """The candidates of every edit: B lists of ``len(recipes)`` pictures.

    Each has noise of its own; outside the mask all have the pixels of the sample.

    Raises:
        BadInput: a prompt is longer than the policy reads.
    """
    generators = [
        [torch.Generator().manual_seed(int(number)) for number in row]
        for row in np.random.default_rng(seed).integers(2**62, size=(len(recipes), len(batch)))
    ]
    candidates: list[list[Picture]] = [[] for _ in range(len(batch))]
    for recipe, own in zip(recipes, generators, strict=True):
        conditions = policy.encode(batch.images, batch.masks, batch.prompts, recipe.negative)
        noise = policy.noise(conditions, own) * recipe.noise
        sampling = SettledSampling(
            steps=recipe.steps,
            guidance=recipe.guidance,
            negative=recipe.negative,
            strength=recipe.strength,
        )
        images = full_denoising(policy, batch, conditions, noise, sampling)
        levels = (images * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()
        for place, picture in enumerate(levels):
            candidates[place].append(picture)
    return candidates

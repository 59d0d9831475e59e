"""The policy in training: its three trained parts, what they are shown, and the loss on it.

Targets follow rectified flow (Liu et al. 2023, equation 1): x_t = (1 - sigma) x_0 + sigma eps,
velocity eps - x_0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers import FluxTransformer2DModel
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer, T5EncoderModel, T5Tokenizer

from onefill.pocket.material import vocabulary
from onefill.pocket.policy.architecture import (
    build_text_encoders,
    build_tokenizers,
    build_transformer,
)
from onefill.pocket.policy.latent_pool import TOKENS, LatentPool

PROMPT_DROPOUT = 0.1
"""Share of prompts that are left empty, so that true guidance works at sampling."""

OUTSIDE_WEIGHT = 0.1
"""Loss weight of a token that the mask does not touch: it only has to be copied."""

Ids = tuple[Tensor, Tensor]
"""T5 ids (N, TOKENS) and CLIP ids (N, positions) of prompts."""


class FlowModel(nn.Module):
    """The three trained parts of the policy as one module."""

    def __init__(
        self, transformer: FluxTransformer2DModel, clip: CLIPTextModel, t5: T5EncoderModel
    ) -> None:
        super().__init__()
        self.transformer, self.clip, self.t5 = transformer, clip, t5
        self.register_buffer("text_ids", torch.zeros(TOKENS, 3), persistent=False)

    def forward(self, noisy: Tensor, sigma: Tensor, scenes: LatentPool, ids: Ids) -> Tensor:
        """Velocity (B, tokens, 4c) at noise levels sigma (B,) in [0, 1] for B scenes."""
        t5_ids, clip_ids = ids
        velocity: Tensor = self.transformer(
            hidden_states=torch.cat([noisy, scenes.masked.float(), scenes.masks.float()], 2),
            timestep=sigma,
            pooled_projections=self.clip(clip_ids).pooler_output,
            encoder_hidden_states=self.t5(t5_ids).last_hidden_state,
            txt_ids=self.text_ids,
            img_ids=scenes.image_ids,
            return_dict=False,
        )[0]
        return velocity


def new_flow_model() -> tuple[FlowModel, CLIPTokenizer, T5Tokenizer]:
    """Untrained parts and the tokenizers of the closed vocabulary."""
    clip_tokenizer, t5_tokenizer = build_tokenizers(vocabulary.prompt_pieces())
    clip, t5 = build_text_encoders(clip_tokenizer, t5_tokenizer)
    return FlowModel(build_transformer(), clip, t5), clip_tokenizer, t5_tokenizer


@dataclass(frozen=True)
class Course:
    """Scenes of one shape, and how a training uses them.

    Attributes:
        pool: the scenes.
        share: probability that a batch is of this shape.
        drawn: probability of each scene (N,), up to a factor.
        weights: of each scene's loss (N,).
    """

    pool: LatentPool
    share: float
    drawn: Tensor
    weights: Tensor


@dataclass(frozen=True)
class FlowBatch:
    """B scenes of one shape with noise.

    Attributes:
        scenes: the scenes.
        sigma: noise levels (B,) in (0, 1).
        noise: standard normal (B, tokens, 4c).
        dropped: whose prompt is left empty, bool (B,).
        weights: of the losses (B,).
    """

    scenes: LatentPool
    sigma: Tensor
    noise: Tensor
    dropped: Tensor
    weights: Tensor

    @property
    def noisy(self) -> Tensor:
        """The scenes' latents at their noise levels (B, tokens, 4c)."""
        level = self.sigma[:, None, None]
        return (1 - level) * self.scenes.clean.float() + level * self.noise


def draw_flow_batch(courses: Sequence[Course], count: int, rng: np.random.Generator) -> FlowBatch:
    """``count`` scenes of one of the courses."""
    course = courses[rng.choice(len(courses), p=[course.share for course in courses])]
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    rows = torch.multinomial(course.drawn, count, replacement=True, generator=generator)
    scenes = course.pool.select(rows)
    return FlowBatch(
        scenes=scenes,
        # Logit-normal noise levels, a little to the noisy side, where shapes are decided.
        sigma=torch.sigmoid(torch.randn(count, generator=generator) + 0.3),
        noise=torch.randn(scenes.clean.shape, generator=generator),
        dropped=torch.rand(count, generator=generator) < PROMPT_DROPOUT,
        weights=course.weights[rows],
    )


def flow_loss(
    model: Callable[[Tensor, Tensor, LatentPool, Ids], Tensor],
    batch: FlowBatch,
    empty: Ids,
    quick: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> Tensor:
    """Mean squared velocity error (B,), tokens outside the mask weighing ``OUTSIDE_WEIGHT``.

    Args:
        model: see ``FlowModel``.
        batch: what it is shown.
        empty: ids of the empty prompt.
        quick: what the model computes in, see ``Plan.quick``.
    """
    scenes = batch.scenes
    t5_ids, clip_ids = (
        torch.where(batch.dropped[:, None], nothing, given)
        for nothing, given in zip(empty, (scenes.t5_ids, scenes.clip_ids), strict=True)
    )
    with quick():
        velocity = model(batch.noisy, batch.sigma, scenes, (t5_ids, clip_ids))
    return masked_error(velocity.float(), batch.noise - scenes.clean.float(), scenes)


def masked_error(velocity: Tensor, target: Tensor, scenes: LatentPool) -> Tensor:
    """Mean squared error (B,), tokens outside the mask weighing ``OUTSIDE_WEIGHT``."""
    touched = scenes.masks.amax(2).float()
    weight = OUTSIDE_WEIGHT + (1 - OUTSIDE_WEIGHT) * touched
    error = (velocity - target).square().mean(2)
    return (weight * error).sum(1) / weight.sum(1)

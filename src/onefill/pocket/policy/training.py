"""Stage "policy": flow matching of the tiny FLUX-Fill on cached latents of scenes.

The transformer, CLIP and T5 learn together from nothing. Targets follow rectified flow
(Liu et al. 2023, equation 1): x_t = (1 - sigma) x_0 + sigma eps, velocity eps - x_0. A share of
prompts is dropped, so that true classifier-free guidance works at sampling.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderTiny, FluxTransformer2DModel
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer, T5EncoderModel, T5Tokenizer

from onefill.pocket.material import vocabulary
from onefill.pocket.material.pool import COLOURED
from onefill.pocket.material.scenes import OBLONG
from onefill.pocket.material.sources import HELD_OUT, TRAIN
from onefill.pocket.optimizers import muon_and_adamw
from onefill.pocket.policy.architecture import (
    build_text_encoders,
    build_tokenizers,
    build_transformer,
)
from onefill.pocket.policy.latent_pool import (
    TOKENS,
    LatentPool,
    LatentPools,
    drawn_by,
    join,
    prompt_ids,
    smoothness_weights,
)
from onefill.pocket.training_state import cosine_rate, load_state, save_state

POOL_SIZE, HELD_OUT_SIZE = 32_768, 256
MORE = {"removal": 14_000, COLOURED: 14_000, "text": 14_000}
"""Scenes of one kind that the second phase draws from beside the pool of all."""
OBLONG_SIZE, OBLONG_SHARE = 6_000, 0.4
"""Scenes of each shape that is no square, and the share of the second phase's batches that all of
them have together."""

BATCH, PEAK_RATE, MUON_RATE, PROMPT_DROPOUT, EMA_DECAY = 32, 1e-3, 2e-3, 0.1, 0.999
BEGUN_RATE = 0.6
"""Share of the learning rates for weights that were trained before."""
OUTSIDE_WEIGHT = 0.1
"""Loss weight of a token that the mask does not touch: it only has to be copied."""

SECOND_PHASE = 0.43
"""Share of the time, at its end, in which kinds of scenes are drawn by ``SHARES``."""
SHARES = {"fill": 0.12, COLOURED: 0.18, "text": 0.42, "removal": 0.16, "extend": 0.12}
"""Words written and things in a colour asked for take the most samples to learn."""


@dataclass(frozen=True)
class Course:
    """Scenes of one shape, and how a phase of the training uses them.

    Attributes:
        pool: the scenes.
        share: probability, up to a factor, that a batch is of this shape.
        drawn: the same of each scene (N,).
        weights: of each scene's loss (N,).
    """

    pool: LatentPool
    share: float
    drawn: Tensor
    weights: Tensor


class FlowModel(nn.Module):
    """The three trained parts of the policy as one module."""

    def __init__(
        self, transformer: FluxTransformer2DModel, clip: CLIPTextModel, t5: T5EncoderModel
    ) -> None:
        super().__init__()
        self.transformer, self.clip, self.t5 = transformer, clip, t5
        self.register_buffer("text_ids", torch.zeros(TOKENS, 3), persistent=False)

    def forward(
        self,
        noisy: Tensor,
        sigma: Tensor,
        pool: LatentPool,
        rows: Tensor,
        ids: tuple[Tensor, Tensor],
    ) -> Tensor:
        """Velocity (B, tokens, 4c) at noise levels sigma (B,) in [0, 1] for rows of a pool."""
        t5_ids, clip_ids = ids
        velocity: Tensor = self.transformer(
            hidden_states=torch.cat(
                [noisy, pool.masked[rows].float(), pool.masks[rows].float()], 2
            ),
            timestep=sigma,
            pooled_projections=self.clip(clip_ids).pooler_output,
            encoder_hidden_states=self.t5(t5_ids).last_hidden_state,
            txt_ids=self.text_ids,
            img_ids=pool.image_ids,
            return_dict=False,
        )[0]
        return velocity


def new_flow_model() -> tuple[FlowModel, CLIPTokenizer, T5Tokenizer]:
    """Untrained parts and the tokenizers of the closed vocabulary."""
    clip_tokenizer, t5_tokenizer = build_tokenizers(vocabulary.prompt_pieces())
    clip, t5 = build_text_encoders(clip_tokenizer, t5_tokenizer)
    return FlowModel(build_transformer(), clip, t5), clip_tokenizer, t5_tokenizer


def flow_loss(
    model: FlowModel,
    pool: LatentPool,
    rows: Tensor,
    sigma: Tensor,
    noise: Tensor,
    empty: tuple[Tensor, Tensor],
    dropped: Tensor,
) -> Tensor:
    """Mean squared velocity error (B,), tokens outside the mask weighing ``OUTSIDE_WEIGHT``."""
    clean = pool.clean[rows].float()
    level = sigma[:, None, None]
    ids = tuple(
        torch.where(dropped[:, None], nothing, given[rows])
        for nothing, given in zip(empty, (pool.t5_ids, pool.clip_ids), strict=True)
    )
    velocity = model((1 - level) * clean + level * noise, sigma, pool, rows, (ids[0], ids[1]))
    touched = pool.masks[rows].amax(2).float()
    weight = OUTSIDE_WEIGHT + (1 - OUTSIDE_WEIGHT) * touched
    error = (velocity - (noise - clean)).square().mean(2)
    return (weight * error).sum(1) / weight.sum(1)


def optimizers_for(model: FlowModel) -> list[torch.optim.Optimizer]:
    """Muon reached the same held-out loss as AdamW alone with two thirds of the samples."""
    named = list(model.transformer.named_parameters())
    matrices = [p for name, p in named if p.ndim == 2 and "blocks" in name and "norm" not in name]
    chosen = {id(matrix) for matrix in matrices}
    optimizers = muon_and_adamw(
        matrices,
        [p for p in model.parameters() if id(p) not in chosen],
        muon={"lr": MUON_RATE, "weight_decay": 0.01, "adjust_lr_fn": "match_rms_adamw"},
        adamw={"lr": PEAK_RATE, "weight_decay": 0.01, "betas": (0.9, 0.97)},
    )
    for group in _groups(optimizers):
        group["peak"] = group["lr"]
    return optimizers


def _groups(optimizers: list[torch.optim.Optimizer]) -> list[dict[str, Any]]:
    return [group for optimizer in optimizers for group in optimizer.param_groups]


def train_flow(
    vae_folder: Path,
    cache: Path,
    minutes: float,
    seed: int,
    log: Callable[[str], None],
    begin: Path | None = None,
) -> None:
    """Train, or go on training, for ``minutes`` in all; ``load_average`` reads the result.

    The learning rate follows a cosine in each of two phases: the first draws every scene alike,
    the second, ``SECOND_PHASE`` of the time, draws kinds by ``SHARES`` from more scenes of some,
    in oblong shapes too, and weighs smooth backgrounds up. Weights are random at first, or those of
    the policy in ``begin``, which has the first phase behind it.
    """
    from onefill.pocket.warm_start import begin_policy

    torch.manual_seed(seed)
    model, *tokenizers = new_flow_model()
    if begin is not None:
        begin_policy(model, tokenizers[0], tokenizers[1], begin)
    both = (tokenizers[0], tokenizers[1])
    pools = LatentPools(AutoencoderTiny.from_pretrained(vae_folder), both, cache)
    pool = pools.draw(TRAIN, POOL_SIZE, seed)
    held_out = pools.draw(HELD_OUT, HELD_OUT_SIZE, seed)
    empty = prompt_ids([""], *both)
    average = copy.deepcopy(model).requires_grad_(False)
    optimizers = optimizers_for(model)
    state, parts = cache / "policy-state", {"model": model, "average": average}
    progress = load_state(state, parts, optimizers)
    seconds, step = progress.get("seconds", 0.0), int(progress.get("step", 0))
    generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
    second = 60 * minutes * (SECOND_PHASE if begin is None else 1)
    first, peak = 60 * minutes - second, 1.0 if begin is None else BEGUN_RATE
    alike = torch.ones(len(pool.kinds))
    courses = [Course(pool, 1.0, alike, alike)]
    started, told, turned = time.monotonic() - seconds, seconds, False
    while (seconds := time.monotonic() - started) < first + second:
        if seconds >= first and not turned:
            turned = True
            if not progress.get("turned"):
                # The average is ahead of the model while the learning rate is high.
                model.load_state_dict(average.state_dict())
            courses = _second_courses(pools, pool, seed)
            started = time.monotonic() - seconds  # drawing them is no training
        rate = (
            cosine_rate(seconds / first)
            if not turned
            else (0.5 if first else 1) * cosine_rate((seconds - first) / second)
        )
        for group in _groups(optimizers):
            group["lr"] = group["peak"] * rate * peak
        course = courses[int(torch.multinomial(_shares(courses), 1, generator=generator))]
        rows = torch.multinomial(course.drawn, BATCH, replacement=True, generator=generator)
        # Logit-normal noise levels, a little to the noisy side, where shapes are decided.
        sigma = torch.sigmoid(torch.randn(BATCH, generator=generator) + 0.3)
        noise = torch.randn(course.pool.clean[rows].shape, generator=generator)
        dropped = torch.rand(BATCH, generator=generator) < PROMPT_DROPOUT
        losses = flow_loss(model, course.pool, rows, sigma, noise, empty, dropped)
        loss = (course.weights[rows] * losses).mean()
        model.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        _follow(average, model, min(EMA_DECAY, (1 + step) / (20 + step)))
        step += 1
        if seconds - told > 60:
            told = seconds
            save_state(
                state, parts, optimizers, {"seconds": seconds, "step": step, "turned": turned}
            )
            told_loss, untold_loss = _validate(average, held_out, empty)
            log(
                f"policy {seconds / 60:.1f} min, {step * BATCH} samples, "
                f"{step * BATCH / seconds:.0f}/s, loss {loss.item():.4f}, "
                f"held-out {told_loss:.4f}, without prompt {untold_loss:.4f}"
            )
    save_state(state, parts, optimizers, {"seconds": seconds, "step": step, "turned": turned})
    log(f"policy done: {step * BATCH} samples in {seconds / 60:.1f} min")


def _second_courses(pools: LatentPools, square: LatentPool, seed: int) -> list[Course]:
    """Squares, with more scenes of some kinds, and every oblong shape."""
    for kind, count in MORE.items():
        square = join(square, pools.draw(TRAIN, count, seed + 11, kind))
    drawn = [(square, 1 - OBLONG_SHARE)]
    for number, shape in enumerate(OBLONG):
        oblong = pools.draw(TRAIN, OBLONG_SIZE, seed + 21 + number, shape=shape)
        drawn.append((oblong, OBLONG_SHARE / len(OBLONG)))
    return [
        Course(pool, share, drawn_by(SHARES, pool), smoothness_weights(pool))
        for pool, share in drawn
    ]


def _shares(courses: list[Course]) -> Tensor:
    return torch.tensor([course.share for course in courses])


def load_average(cache: Path) -> tuple[FlowModel, CLIPTokenizer, T5Tokenizer, dict[str, float]]:
    """The moving average, its tokenizers and the progress of the last saved state."""
    model, clip_tokenizer, t5_tokenizer = new_flow_model()
    progress = load_state(cache / "policy-state", {"average": model}, [])
    return model.eval(), clip_tokenizer, t5_tokenizer, progress


def _follow(average: nn.Module, model: nn.Module, decay: float) -> None:
    with torch.no_grad():
        torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - decay)


def _validate(
    model: FlowModel, pool: LatentPool, empty: tuple[Tensor, Tensor]
) -> tuple[float, float]:
    """Loss on the same noise every time, with the prompts and without any."""
    generator = torch.Generator().manual_seed(0)
    count = len(pool.clean)
    sigma = torch.rand(count, generator=generator) * 0.96 + 0.02
    noise = torch.randn(pool.clean.shape, generator=generator)
    means = []
    with torch.no_grad():
        for drop in (False, True):
            losses = [
                flow_loss(
                    model,
                    pool,
                    rows,
                    sigma[rows],
                    noise[rows],
                    empty,
                    torch.full((len(rows),), drop),
                )
                for rows in torch.arange(count).split(64)
            ]
            means.append(float(torch.cat(losses).mean()))
    return means[0], means[1]

"""Stage "policy": flow matching of the tiny FLUX-Fill on cached latents of scenes.

The transformer, CLIP and T5 learn together, in two phases: the first draws every scene alike, the
second draws kinds by ``SHARES`` from more scenes of some, in oblong shapes too, and weighs smooth
backgrounds up. A training that begins from a policy has the first phase behind it.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from diffusers import AutoencoderTiny
from torch import Tensor, nn
from transformers import CLIPTokenizer, T5Tokenizer

from onefill.pocket.material.pool import COLOURED
from onefill.pocket.material.scenes import OBLONG
from onefill.pocket.material.sources import HELD_OUT, TRAIN
from onefill.pocket.optimizers import muon_and_adamw
from onefill.pocket.policy.flow import (
    Course,
    FlowBatch,
    FlowModel,
    Ids,
    draw_flow_batch,
    flow_loss,
    new_flow_model,
)
from onefill.pocket.policy.latent_pool import (
    LatentPool,
    LatentPools,
    drawn_by,
    join,
    prompt_ids,
    smoothness_weights,
)
from onefill.pocket.training_plan import Plan
from onefill.pocket.training_stage import run_stage

POOL_SIZE, HELD_OUT_SIZE = 32_768, 256
MORE = {"removal": 14_000, COLOURED: 14_000, "text": 14_000}
"""Scenes of one kind that the second phase draws from beside the pool of all."""
OBLONG_SIZE, OBLONG_SHARE = 6_000, 0.35
"""Scenes of each shape that is no square, and the share of the second phase's batches that all of
them have together."""

BATCH, PEAK_RATE, MUON_RATE, EMA_DECAY = 32, 1e-3, 2e-3, 0.999
SECOND_RATE, BEGUN_RATE = 0.5, 0.6
"""Share of the learning rates in the second phase, and for weights that were trained before."""

SECOND_PHASE = 0.43
"""Share of the time, at its end, that is the second phase."""
SHARES = {"fill": 0.13, COLOURED: 0.16, "text": 0.38, "removal": 0.21, "extend": 0.12}
"""Words written and things in a colour asked for take the most samples to learn."""


@dataclass(frozen=True)
class TrainedPolicy:
    """The moving average of a training, its tokenizers, and how many samples it has seen."""

    model: FlowModel
    clip_tokenizer: CLIPTokenizer
    t5_tokenizer: T5Tokenizer
    samples: int


def train_flow(vae_folder: Path, plan: Plan, begin: Path | None = None) -> TrainedPolicy:
    """Train, or go on training.

    Args:
        vae_folder: the autoencoder whose latents are learned.
        plan: length, seed, device; states are kept in its cache.
        begin: folder of a policy to begin from; None for random weights.
    """
    from onefill.pocket.warm_start import begin_policy

    torch.manual_seed(plan.seed)
    model, clip_tokenizer, t5_tokenizer = new_flow_model()
    if begin is not None:
        begin_policy(model, clip_tokenizer, t5_tokenizer, begin)
    model.to(plan.device)
    average = copy.deepcopy(model).requires_grad_(False)
    tokenizers = (clip_tokenizer, t5_tokenizer)
    pools = LatentPools(AutoencoderTiny.from_pretrained(vae_folder), tokenizers, plan.cache)
    square = _squares(pools, plan.seed)
    held_out = plan.put(pools.draw(HELD_OUT, HELD_OUT_SIZE, plan.seed))
    empty = plan.put(prompt_ids([""], *tokenizers))
    measure = partial(_validate, average, held_out, empty)

    def phase(name: str, courses: list[Course], rate: float, part: Plan) -> int:
        def losses_of(batch: FlowBatch, _: object) -> dict[str, Tensor]:
            losses = flow_loss(model, batch, empty, plan.quick)
            return {"velocity": (batch.weights * losses).mean()}

        return run_stage(
            f"policy, {name} phase", f"policy-state/{name}", {"model": model, "average": average},
            optimizers_for(model, rate),
            partial(draw_flow_batch, courses, BATCH * plan.batches), losses_of, measure, part,
            after=partial(_follow, average, model),
        )  # fmt: skip

    steps = 0
    if begin is None:
        alike = torch.ones(len(square.kinds))
        courses = [Course(square, 1.0, alike, alike)]
        steps += phase("first", courses, 1.0, plan.part(1 - SECOND_PHASE))
        # The average is ahead of the model while the learning rate is high.
        model.load_state_dict(average.state_dict())
    rate, part = (SECOND_RATE, plan.part(SECOND_PHASE)) if begin is None else (BEGUN_RATE, plan)
    steps += phase("second", second_courses(pools, plan.seed), rate, part)
    samples = steps * BATCH * plan.batches
    return TrainedPolicy(average.cpu().eval(), clip_tokenizer, t5_tokenizer, samples)


def optimizers_for(model: FlowModel, rate: float) -> list[torch.optim.Optimizer]:
    """Muon reached the same held-out loss as AdamW alone with two thirds of the samples."""
    named = list(model.transformer.named_parameters())
    matrices = [p for name, p in named if p.ndim == 2 and "blocks" in name and "norm" not in name]
    chosen = {id(matrix) for matrix in matrices}
    return muon_and_adamw(
        matrices,
        [p for p in model.parameters() if id(p) not in chosen],
        muon={"lr": MUON_RATE * rate, "weight_decay": 0.01, "adjust_lr_fn": "match_rms_adamw"},
        adamw={"lr": PEAK_RATE * rate, "weight_decay": 0.01, "betas": (0.9, 0.97)},
    )


def _squares(pools: LatentPools, seed: int) -> LatentPool:
    return pools.draw(TRAIN, POOL_SIZE, seed)


def second_courses(pools: LatentPools, seed: int) -> list[Course]:
    """Squares, with more scenes of some kinds, and every oblong shape."""
    square = _squares(pools, seed)
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


@torch.no_grad()
def _follow(average: nn.Module, model: nn.Module, step: int) -> None:
    decay = min(EMA_DECAY, step / (19 + step))
    torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - decay)


@torch.no_grad()
def _validate(model: FlowModel, pool: LatentPool, empty: Ids) -> dict[str, float]:
    """Loss on the same noise every time, with the prompts and without any."""
    generator, count = torch.Generator().manual_seed(0), len(pool.clean)
    sigma = torch.rand(count, generator=generator) * 0.96 + 0.02
    noise = torch.randn(pool.clean.shape, generator=generator)
    sigma, noise = sigma.to(pool.clean.device), noise.to(pool.clean.device)
    means = {}
    for name, drop in (("held-out", False), ("without prompt", True)):
        losses = [
            flow_loss(
                model,
                FlowBatch(
                    scenes=pool.select(rows),
                    sigma=sigma[rows],
                    noise=noise[rows],
                    dropped=torch.full_like(sigma[rows], drop, dtype=torch.bool),
                    weights=torch.ones_like(sigma[rows]),
                ),
                empty,
            )
            for rows in torch.arange(count).split(64)
        ]
        means[name] = float(torch.cat(losses).mean())
    return means

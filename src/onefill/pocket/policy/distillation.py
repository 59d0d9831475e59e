"""Stage "distilled": an adapter that paints in one pass what true guidance paints in two.

The stock ``FluxFillPipeline`` has no true classifier-free guidance, and without it small models
paint vaguely. So the policy teaches a low-rank adapter on itself to predict, from the prompt alone,
the velocity that guidance would have led to (Meng et al. 2023, "On Distillation of Guided Diffusion
Models", section 3.1, at the one guidance scale that each task is edited with).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from onefill.pocket.material.pool import COLOURED
from onefill.pocket.material.sources import HELD_OUT
from onefill.pocket.policy.flow import (
    Course,
    FlowBatch,
    FlowModel,
    Ids,
    draw_flow_batch,
    masked_error,
)
from onefill.pocket.policy.latent_pool import LatentPools, prompt_ids
from onefill.pocket.policy.training import HELD_OUT_SIZE, second_courses
from onefill.pocket.training_plan import Plan
from onefill.pocket.training_stage import Losses, run_stage
from onefill.policy.flux_fill import FluxFillPolicy
from onefill.policy.loading import load_policy
from onefill.policy.settings import SETTINGS_FILE, PolicySettings

RANK, BATCH, RATE = 16, 32, 2e-3
_MEASURED = 6
"""Batches of held-out scenes."""

SETTINGS = {"guidance": 1.0, "task_guidance": {}}
"""What is other in an edit with the adapter: true guidance is off for every task."""


def train_distilled(out: Path, policy_folder: Path, plan: Plan) -> None:
    """Train, or go on training, and write the adapter's folder.

    Args:
        out: the folder; replaced only when all is done.
        policy_folder: the policy that is both teacher and base.
        plan: length, seed, device.

    Raises:
        BadInput: there is no policy in that folder.
        OnefillError: pictures could not be fetched.
    """
    policy = load_policy(str(policy_folder), device=str(plan.device), offline=True)
    pipeline = policy.pipeline
    tokenizers = (pipeline.tokenizer, pipeline.tokenizer_2)
    pools = LatentPools(pipeline.vae, tokenizers, plan.cache)
    courses = second_courses(pools, plan.seed)
    held_out = pools.draw(HELD_OUT, HELD_OUT_SIZE, plan.seed)
    alike = torch.ones(HELD_OUT_SIZE)
    distil(policy, courses, [Course(held_out, 1.0, alike, alike)], plan)
    staged = out.with_name(out.name + ".part")
    shutil.rmtree(staged, ignore_errors=True)
    policy.save_adapter(staged)
    facts = {"recipe": plan.command("distilled"), "rank": RANK}
    text = json.dumps({**SETTINGS, "facts": facts}, indent=1) + "\n"
    (staged / SETTINGS_FILE).write_text(text, encoding="utf-8")
    shutil.rmtree(out, ignore_errors=True)
    staged.rename(out)


def distil(
    policy: FluxFillPolicy, courses: Sequence[Course], held_out: Sequence[Course], plan: Plan
) -> None:
    """Put an adapter on the policy and train it; the policy's own weights stay.

    Args:
        policy: teacher and base.
        courses: scenes to learn from.
        held_out: scenes to measure by.
        plan: length, seed, device.
    """
    policy.add_lora(RANK, RANK, plan.seed)
    pipeline = policy.pipeline
    model = FlowModel(pipeline.transformer, pipeline.text_encoder, pipeline.text_encoder_2)
    model.to(plan.device)
    empty = plan.put(prompt_ids([""], pipeline.tokenizer, pipeline.tokenizer_2))

    def pull(batch: FlowBatch) -> Tensor:
        """How far guidance is from what the model says in one pass (B,)."""
        with torch.no_grad(), plan.quick(), policy.adapter_off():
            target = _guided(model, batch, empty, policy.settings)
        with plan.quick():
            velocity = _told(model, batch)
        return masked_error(velocity.float(), target.float(), batch.scenes)

    def losses_of(batch: FlowBatch, _: object) -> Losses:
        return {"velocity": pull(batch).mean()}

    shown = [
        plan.put(draw_flow_batch(held_out, BATCH, np.random.default_rng([plan.seed, number])))
        for number in range(_MEASURED)
    ]

    @torch.no_grad()
    def far() -> float:
        return float(torch.cat([pull(batch) for batch in shown]).mean())

    untaught = far()  # a fresh adapter changes nothing
    run_stage(
        "distilled", "distilled-state", {"transformer": pipeline.transformer},
        [torch.optim.AdamW(policy.trainable_parameters().values(), lr=RATE, weight_decay=0)],
        partial(draw_flow_batch, courses, BATCH * plan.batches), losses_of,
        lambda: {"of guidance's pull left, held-out": far() / untaught}, plan,
    )  # fmt: skip


def _told(model: FlowModel, batch: FlowBatch) -> Tensor:
    scenes = batch.scenes
    return model(batch.noisy, batch.sigma, scenes, (scenes.t5_ids, scenes.clip_ids))


def _guided(model: FlowModel, batch: FlowBatch, empty: Ids, settings: PolicySettings) -> Tensor:
    """The velocity of true guidance (Ho and Salimans 2022, equation 6), by each scene's task."""
    scenes = batch.scenes
    tasks = ["fill" if kind == COLOURED else kind for kind in scenes.kinds]
    scales = batch.sigma.new_tensor([settings.guidance_for(task) for task in tasks])
    nothing = tuple(ids.expand(len(tasks), -1) for ids in empty)
    untold = model(batch.noisy, batch.sigma, scenes, (nothing[0], nothing[1]))
    return untold + scales[:, None, None] * (_told(model, batch) - untold)

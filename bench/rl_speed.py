"""A training step beside the obvious way to write it, with the same mathematics, in one run.

python bench/rl_speed.py [--steps 3] [--batch-size 8] [--tasks fill,removal] [--model FOLDER]

The obvious way takes one sample at a time: the stock pipeline paints the reference's image, and is
interrupted half-way for the policy's; conditions are encoded at every call; true guidance calls the
transformer twice; the judge is asked through the official processor, one dimension at a time, and
computes the logits of its whole vocabulary at every position. Ours is
``onefill.rl.loop.take_step``. Both start from the same weights and draw the same samples and
noises, step after step. Prints one JSON document; exit code 1 if a loss differs by more than 1e-3.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers.utils import logging

from onefill.allocator import keep_freed_memory
from onefill.data.source import open_source
from onefill.images import array_to_image
from onefill.judge.model import Judge
from onefill.judge.preprocess import cut_patches, resize_images
from onefill.judge.query import ANSWERS, answerable, build_messages, build_query
from onefill.pocket.embedded import resolve, scenes
from onefill.policy.conditions import Conditions
from onefill.policy.flux_fill import FluxFillPolicy
from onefill.policy.sampling import first_step, guide, sigma_schedule
from onefill.rl.batch import Batch
from onefill.rl.config import RunConfig
from onefill.rl.config_file import build_config
from onefill.rl.ingredients import Ingredients
from onefill.rl.loop import take_step
from onefill.rl.metrics import PHASES
from onefill.rl.randomness import Purpose, draw_gradient_step, noise_generators
from onefill.rl.rollout import partial_denoising
from onefill.rl.run_folder import RunFolder
from onefill.rl.training import Training, open_training
from onefill.tasks.registry import load_tasks

LIMIT = 1e-3


@contextmanager
def guided(policy: FluxFillPolicy, conditions: Conditions, guidance: float) -> Iterator[None]:
    """While this lasts the stock transformer applies true guidance, by a second call."""
    transformer = policy.pipeline.transformer
    stock = transformer.forward

    def forward(**given: Any) -> tuple[Tensor]:
        (conditional,) = stock(**given)
        negative = {
            "encoder_hidden_states": conditions.negative_embeds,
            "pooled_projections": conditions.negative_pooled,
        }
        (unconditional,) = stock(**{**given, **negative})
        return (guide(unconditional, conditional, guidance),)

    if guidance != 1:
        transformer.forward = forward
    try:
        yield
    finally:
        transformer.forward = stock


def call_stock(run: Training, sample: Batch, noise: Tensor, until: int | None = None) -> Tensor:
    """What the stock pipeline makes of one sample.

    Args:
        run: gives model and sampler.
        sample: a batch of one.
        noise: [1, N, 4C].
        until: steps after which to break off; None for all of them.

    Returns:
        The image (1, 3, H, W) in [0, 1], or broken off, the latents x_t.
    """
    policy, sampler = run.policy, run.samplers[sample.task.name]
    conditions = policy.encode(sample.images, sample.masks, sample.prompts)
    schedule = sigma_schedule(policy.pipeline.scheduler.config, sampler.steps, noise.shape[1])
    first = first_step(schedule, sampler.strength)
    begin = partial_denoising(policy, sample, conditions, noise, sampler, until=first).latents
    if until == first:
        return begin

    def on_step(pipeline: Any, step: int, timestep: Tensor, values: Any) -> Any:
        pipeline._interrupt = until is not None and first + step + 1 >= until
        return values

    with guided(policy, conditions, sampler.guidance), torch.no_grad():
        return policy.pipeline(
            prompt=sample.prompts,
            image=sample.images,
            mask_image=sample.masks,
            height=sample.images.shape[-2],
            width=sample.images.shape[-1],
            sigmas=np.linspace(1, 1 / sampler.steps, sampler.steps)[first:],
            num_inference_steps=sampler.steps - first,
            guidance_scale=policy.settings.distilled_guidance,
            latents=begin,
            max_sequence_length=policy.settings.max_sequence_length,
            output_type="pt" if until is None else "latent",
            callback_on_step_end=on_step,
        ).images


def predict_image(run: Training, sample: Batch, x_t: Tensor, t: int) -> Tensor:
    """The policy's image from x_t by one call with gradient, (1, 3, H, W)."""
    policy, sampler = run.policy, run.samplers[sample.task.name]
    conditions = policy.encode(sample.images, sample.masks, sample.prompts)
    sigmas = sigma_schedule(policy.pipeline.scheduler.config, sampler.steps, x_t.shape[1])
    with guided(policy, conditions, sampler.guidance):
        x0 = policy.one_step_x0(x_t, sigmas[t], conditions, guidance=1.0)
    return sample.paste(policy.decode(x0, conditions))


def ask_one(judge: Judge, image: Tensor, reference: Tensor, query: str) -> Tensor:
    """P("Yes") to one question about one pair, by the official processor and the whole model.

    The policy's image goes through the official processor for the text around it; its pixels are
    put in once more differentiably, as any training must.
    """
    processor = judge.processor
    answers = [processor.tokenizer.encode(answer)[0] for answer in ANSWERS]
    text = processor.apply_chat_template(
        build_messages(query), tokenize=False, add_generation_prompt=True
    )
    pictures = [array_to_image(each[0].detach().cpu().numpy()) for each in (image, reference)]
    inputs = processor(text=[text], images=pictures, return_tensors="pt").to(judge.device)
    pixels, _ = cut_patches(resize_images(image, judge.recipe), judge.recipe)
    inputs["pixel_values"] = torch.cat([pixels, inputs["pixel_values"][len(pixels) :]])
    logits = judge.model(**inputs).logits[0, -1]
    return logits[answers].float().softmax(dim=0)[0]


def take_obvious_step(run: Training) -> float:
    """One update as anyone would write it first; returns the loss."""
    config = run.config
    batch = run.next_batch(run.mixer.draw(config.tasks_per_step, config.batch_size))
    found: dict[str, dict[str, list[Tensor]]] = {}
    for place in range(len(batch)):
        sample = batch.select(range(place, place + 1))
        t = draw_gradient_step(config.seed, run.step, run.gradient_steps[sample.task.name])
        conditions = run.policy.encode(sample.images, sample.masks, sample.prompts)
        noise_ref, noise = (
            run.policy.noise(
                conditions,
                noise_generators(config.seed, purpose, run.step, range(place, place + 1)),
            )
            for purpose in (Purpose.REFERENCE_NOISE, Purpose.POLICY_NOISE)
        )
        with run.reference.active():
            x_ref = sample.paste(call_stock(run, sample, noise_ref))
        x_theta = predict_image(run, sample, call_stock(run, sample, noise, until=t), t)
        of_task = found.setdefault(sample.task.name, {})
        for dimension in answerable(sample.task, sample.words[0]):
            query = build_query(sample.task, dimension, sample.words[0])
            p_yes = ask_one(run.judge, x_theta, x_ref, query)
            of_task.setdefault(dimension.name, []).append(p_yes)
    losses = []
    for name, of_task in found.items():
        terms = [torch.relu(config.lam - torch.stack(p_yes)).mean() for p_yes in of_task.values()]
        share = sum(task.name == name for task in batch.tasks) / len(batch)
        losses.append(share * torch.stack(terms).mean())
    loss = torch.stack(losses).sum()
    run.optimizer.accumulate(loss, run.step)
    run.optimizer.update(run.step)
    if run.average is not None:
        run.average.update()
    run.step += 1
    return loss.item()


def open_run(config: RunConfig, folder: Path, data: Path | None = None) -> Training:
    """A run on embedded scenes, or on ``data``."""
    tasks = {name: load_tasks().get(name) for name in config.tasks}
    kinds = list(tasks.values())
    sources = [
        open_source(data or scenes(part), kinds, 0, part if data else "all")
        for part in ("train", "heldout")
    ]
    ingredients = Ingredients(
        resolve("policies", config.model), resolve("judges", config.judge), tasks, *sources
    )
    return open_training(config, ingredients, RunFolder(folder), resume=False)


def measure(config: RunConfig, steps: int, data: Path | None = None) -> dict[str, Any]:
    """Take ``steps`` steps both ways, in turn; the first of each is not timed."""
    with tempfile.TemporaryDirectory() as folder:
        ours = open_run(config, Path(folder) / "ours", data)
        obvious = open_run(config, Path(folder) / "obvious", data)
        obvious.policy.pipeline.set_progress_bar_config(disable=True)
        seconds: dict[str, list[float]] = {"ours": [], "obvious": []}
        losses: dict[str, list[float]] = {"ours": [], "obvious": []}
        # In turn, so that a busy minute of the machine falls on both.
        for _ in range(steps + 1):
            for name in seconds:
                begin = time.perf_counter()
                loss = take_step(ours).loss if name == "ours" else take_obvious_step(obvious)
                seconds[name].append(time.perf_counter() - begin)
                losses[name].append(loss)
        rows = ours.metrics.read("step")[1:]
    phases = {phase: sum(row["seconds"][phase] for row in rows) for phase in PHASES}
    total = sum(phases.values())
    return {
        "steps": steps,
        "batch_size": config.batch_size,
        "samplers": {name: repr(sampler) for name, sampler in ours.samplers.items()},
        "threads": torch.get_num_threads(),
        "device": str(ours.policy.device),
        "ours_seconds_per_step": round(sum(seconds["ours"][1:]) / steps, 3),
        "obvious_seconds_per_step": round(sum(seconds["obvious"][1:]) / steps, 3),
        "ratio": round(sum(seconds["obvious"][1:]) / sum(seconds["ours"][1:]), 2),
        "phases": {phase: round(taken / total, 3) for phase, taken in phases.items()},
        "in_models": round(1 - phases["other"] / total, 3),
        "losses": losses,
        "largest_difference": max(
            abs(a - b) for a, b in zip(losses["ours"], losses["obvious"], strict=True)
        ),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--tasks", default="fill,removal", help="drawn alike")
    parser.add_argument("--model", default="pocket", help="embedded name, folder or hub id")
    parser.add_argument("--judge", default="pocket", help="likewise")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    keep_freed_memory()
    settings = {
        "tasks": dict.fromkeys(options.tasks.split(","), 1.0),
        "batch_size": options.batch_size,
        "model": options.model,
        "judge": options.judge,
        "device": options.device,
        "monitor": {"every": 0},
        # As in the paper, and in the obvious way.
        "image": "predicted",
        "reward": {"shift": 0, "resize": 0.0},
    }
    found = measure(build_config(None, settings), options.steps)
    print(json.dumps(found, indent=2))
    return int(found["largest_difference"] > LIMIT)


if __name__ == "__main__":
    sys.exit(main())

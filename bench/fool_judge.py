"""How far a judge can be led by its own gradient, beside a second judge and the clean picture.

python bench/fool_judge.py --cache FOLDER [--judge FOLDER ...] [--also FOLDER] [--pairs 24]

Held-out pairs (drawn from the recipe's sources, fetched into the cache) give a damaged picture
and the clean one. The damaged picture is the reference, and its copy is changed by Adam so that
the reward of `onefill train` rises; the changed copy is then asked about with fresh eyes:

- pixels: every pixel is free, two grey levels a step.
- policy: the weights of a LoRA on the embedded policy are free, as in `onefill train`; held-out
  fill and removal scenes, the policy's own result as the reference.

The pixels are led by the reward as the paper has it and in every way that a run's `reward`
section can harden it (shift and resize are a run's default), with --also by the mean of two judges
as well; the policy as the paper has it, by default, and with the gradient centred. Printed for
each: P(yes) of the judge after, P(yes) of the second judge after, how far the two have parted, and
the change of the PSNR to the clean picture; for measure, what both judges say of the clean picture
itself. A judge that cannot be fooled gains only where the others agree. One JSON document.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from onefill.allocator import keep_freed_memory
from onefill.judge.loading import load_judge
from onefill.judge.model import Judge
from onefill.judge.query import build_query
from onefill.judge.verdict import swap_symmetric
from onefill.pocket import embedded
from onefill.pocket.contests.accuracy import held_out_pairs
from onefill.pocket.contests.pairs import ALIGNMENT, CELLS, DIMENSIONS, LABELS, NOTHING, Pair
from onefill.pocket.judge.second import SecondJudge, load_second_judge
from onefill.pocket.material.pictures import load_pictures
from onefill.pocket.material.sources import HELD_OUT
from onefill.pocket.scoring.held_out import as_tensor, read_held_out
from onefill.policy.loading import load_policy
from onefill.policy.sampler import Sampling
from onefill.rl.centring import centred
from onefill.rl.config import RewardConfig, RunConfig
from onefill.rl.randomness import Purpose, draw_gradient_step
from onefill.rl.reward import Questions, Reward
from onefill.rl.rollout import (
    carried_on,
    full_denoising,
    gradient_images,
    painted_from_seed,
    partial_denoising,
    predicted_latents,
)
from onefill.rl.samplers import gradient_steps, rollout_sampler
from onefill.tasks.registry import load_tasks

Row = dict[str, float]


def psnr(pictures: Tensor, clean: Tensor) -> Tensor:
    """PSNR in dB (B,) of (B, 3, H, W) in [0, 1]."""
    error = (pictures - clean).square().mean((1, 2, 3)).clamp(min=1e-6)
    return -10 * torch.log10(error)


def questions(task: str, dimension: str, prompts: Sequence[str | None]) -> list[str]:
    """The judge's queries for one cell."""
    described = load_tasks().get(task)
    return [build_query(described, described.dimension(dimension), prompt) for prompt in prompts]


def second_opinion(
    second: SecondJudge, first: Tensor, reference: Tensor, dimension: str, words: list[int]
) -> Tensor:
    """P(first better) of the second judge, pictures rounded to 8 bits."""
    columns = torch.full((len(first),), DIMENSIONS.index(dimension))
    with torch.no_grad():
        return second.prob_first_better(
            (first * 255).round(), (reference * 255).round(), columns, torch.tensor(words)
        )


@torch.no_grad()
def symmetric(judge: Judge, first: Tensor, second: Tensor, queries: list[str]) -> Tensor:
    """P(first better) asked in both orders, pictures rounded to 8 bits by the judge itself."""
    forward, backward = judge.logits(first, second, queries), judge.logits(second, first, queries)
    return torch.sigmoid(swap_symmetric(forward, backward))


def both_opinions(
    judge: Judge,
    second: SecondJudge,
    pair: tuple[Tensor, Tensor],
    task: str,
    dimension: str,
    words: list[int],
) -> dict[str, list[bool]]:
    """By judge, whether it prefers the first picture of each pair, asked for ``LABELS[word]``."""
    typed = [LABELS[word] if dimension == ALIGNMENT else None for word in words]
    opinions = {
        "judge": symmetric(judge, *pair, questions(task, dimension, typed)),
        "second": second_opinion(second, *pair, dimension, words),
    }
    return {who: (p > 0.5).tolist() for who, p in opinions.items()}


def ways_to_ask(also: str | None) -> dict[str, RewardConfig]:
    """Every way of asking that is compared, by name."""
    still = {"shift": 0, "resize": 0.0}
    ways = {
        "plain": RewardConfig(**still),
        "noise": RewardConfig(noise=0.05, **still),
        "both orders": RewardConfig(symmetric=True, **still),
        "shift and resize": RewardConfig(),
        "all three": RewardConfig(noise=0.05, symmetric=True),
    }
    if also is not None:
        ways["two judges"] = RewardConfig(judges=[also], **still)
    return ways


def fool_pixels(
    judges: Sequence[Judge],
    second: SecondJudge,
    cells: Mapping[tuple[str, str], list[Pair]],
    config: RewardConfig,
    steps: int,
    seed: int,
) -> dict[str, Row]:
    """Free pixels, per cell: see the module.

    Args:
        judges: the first is asked afterwards; all lead, where ``config`` names others.
        second: the second opinion.
        cells: pairs by task and dimension.
        config: how the reward asks.
        steps: of Adam.
        seed: of what the reward draws.
    """
    reward = Reward(judges if config.judges else judges[:1], config, seed)
    rows: dict[str, Row] = {}
    for (task, dimension), pairs in cells.items():
        count = len(pairs)
        clean, damaged = (
            torch.from_numpy(np.stack(side)).permute(0, 3, 1, 2).float() / 255
            for side in zip(
                *(
                    (p.first, p.second) if p.winner == "first" else (p.second, p.first)
                    for p in pairs
                ),
                strict=True,
            )
        )
        queries, every = questions(task, dimension, [None] * count), list(range(count))
        asked = Questions(queries, every, {task: {dimension: every}})
        change = torch.zeros_like(damaged, requires_grad=True)
        optimizer = torch.optim.Adam([change], lr=2 / 255)
        for step in range(steps):
            shown = (damaged + change).clamp(0, 1)
            logits = reward.logits(shown, damaged, asked, step, range(count))[task][dimension]
            loss = -logits.sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        fooled, words = (damaged + change.detach()).clamp(0, 1), [0] * count
        ours = float(symmetric(judges[0], fooled, damaged, queries).mean())
        theirs = float(second_opinion(second, fooled, damaged, dimension, words).mean())
        rows[f"{task}/{dimension}"] = {
            "judge_after": ours,
            "second_after": theirs,
            "parted": ours - theirs,
            "psnr_change": float((psnr(fooled, clean) - psnr(damaged, clean)).mean()),
            "judge_on_clean": float(symmetric(judges[0], clean, damaged, queries).mean()),
            "second_on_clean": float(
                second_opinion(second, clean, damaged, dimension, words).mean()
            ),
        }
    return rows


def ways_to_train() -> dict[str, RunConfig]:
    """Every way of leading the policy that is compared, by name."""
    return {
        "plain": RunConfig(image="predicted", reward=ways_to_ask(None)["plain"]),
        "default": RunConfig(),
        "centred": RunConfig(reward=RewardConfig(centred=True)),
    }


def fool_policy(
    judge: Judge, second: SecondJudge, count: int, config: RunConfig, steps: int, seed: int
) -> dict[str, Row]:
    """A LoRA on the embedded policy, per task, all dimensions but text alignment together.

    Denoised as `onefill train` does; what is measured at the end is finished as an edit is.
    """
    reward = Reward([judge], config.reward, seed)
    folder = embedded.scenes("heldout")
    rows: dict[str, Row] = {}
    for task in ("fill", "removal"):
        policy = load_policy(embedded.resolve("policies", "pocket"))
        policy.add_lora(rank=16, alpha=16, seed=seed)
        scenes = read_held_out(folder, task).select(slice(count))
        batch, sampler = scenes.batch, Sampling().settle(policy, task)
        words = [LABELS.index(r["word"]) if task == "fill" else NOTHING for r in scenes.rows]
        dimensions = [d for t, d in CELLS if t == task and d != ALIGNMENT]
        places = range(count)
        measured = (policy, batch, sampler, seed, Purpose.HELD_OUT_NOISE, places)
        start = batch.finish(painted_from_seed(*measured), detail=sampler.detail, pieces=False)
        truth = as_tensor(scenes.truths)
        conditions = policy.encode(batch.images, batch.masks, batch.prompts)
        noise = policy.noise(conditions, torch.Generator().manual_seed(seed))
        rollout = rollout_sampler(policy, task, config)
        reference = full_denoising(policy, batch, conditions, noise, rollout)
        optimizer = torch.optim.Adam(policy.trainable_parameters().values(), lr=6e-4)
        asked = Questions(
            [query for d in dimensions for query in questions(task, d, [None] * count)],
            [*places] * len(dimensions),
            {task: {d: [*range(n * count, (n + 1) * count)] for n, d in enumerate(dimensions)}},
        )
        choices = gradient_steps(policy, task, rollout, config)
        for step in range(steps):
            until = draw_gradient_step(seed, step, choices)
            partial = partial_denoising(policy, batch, conditions, noise, rollout, until)
            latents = predicted_latents(policy, conditions, partial, rollout)
            if config.image == "sampled":
                latents = carried_on(policy, conditions, partial, latents, rollout)
            if config.reward.centred:
                latents = centred(latents, conditions)
            image = gradient_images(policy, batch, conditions, latents)
            answers = reward.logits(image, reference, asked, step, places)[task]
            loss = -torch.stack([logits.sum() for logits in answers.values()]).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        end = batch.finish(painted_from_seed(*measured), detail=sampler.detail, pieces=False)
        ours = [
            symmetric(judge, end, start, questions(task, d, [None] * count)) for d in dimensions
        ]
        theirs = [second_opinion(second, end, start, d, words) for d in dimensions]
        after = float(torch.stack(ours).mean()), float(torch.stack(theirs).mean())
        rows[task] = {
            "judge_after": after[0],
            "second_after": after[1],
            "parted": after[0] - after[1],
            "psnr_change": float((psnr(end, truth) - psnr(start, truth)).mean()),
        }
    return rows


def mean_of(rows: dict[str, Row]) -> Row:
    """The mean of every column."""
    return {
        name: float(np.mean([row[name] for row in rows.values()]))
        for name in next(iter(rows.values()))
    }


def main() -> None:
    """Print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--judge", action="append", help="default: pocket; several may be given")
    parser.add_argument("--also", help="a further judge, for the mean of two")
    parser.add_argument("--pairs", type=int, default=24)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--skip-policy", action="store_true")
    arguments = parser.parse_args()
    keep_freed_memory()
    second = load_second_judge(embedded.SECOND_JUDGE)
    pictures = load_pictures(HELD_OUT, arguments.cache)
    cells = {
        cell: held_out_pairs(pictures, *cell, arguments.pairs, arguments.seed)
        for cell in CELLS
        if cell[1] != ALIGNMENT
    }
    report = {}
    for name in arguments.judge or ["pocket"]:
        judges = [
            load_judge(embedded.resolve("judges", one), device="cpu", offline=True)
            for one in ([name] if arguments.also is None else [name, arguments.also])
        ]
        settings = (arguments.steps, arguments.seed)
        report[name] = {
            "pixels": {
                way: mean_of(fool_pixels(judges, second, cells, config, *settings))
                for way, config in ways_to_ask(arguments.also).items()
            }
        }
        if not arguments.skip_policy:
            report[name]["policy"] = {
                way: fool_policy(judges[0], second, arguments.pairs, config, *settings)
                for way, config in ways_to_train().items()
            }
    json.dump(report, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()

"""Pictures led up a judge's gradient, and what the judge is told of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny
from torch import Tensor

from onefill.pocket import embedded
from onefill.pocket.contests.cache import TASKS, Contests
from onefill.pocket.contests.pairs import DIMENSIONS, GRID, NOTHING
from onefill.pocket.judge.chains import (
    AT_ONCE,
    DRAWN,
    STEPS,
    TOKEN,
    Answers,
    Chains,
    Kind,
)
from onefill.pocket.material.scenes import SIZE
from onefill.tasks.registry import load_tasks


@pytest.fixture(scope="module")
def contests() -> Contests:
    """Grey pictures; the second of each contest is darker and damaged in everything."""
    count = 16
    pictures = np.full((count, 4, SIZE, SIZE, 3), 128, np.uint8)
    pictures[:, 1] = 88
    levels = np.zeros((count, 4, len(DIMENSIONS)), np.float32)
    levels[:, 1] = 1
    return Contests(
        pictures=pictures,
        levels=levels,
        shown=np.zeros((count, 4), np.int64),
        words=np.arange(count) % NOTHING,
        tasks=np.arange(count) % len(TASKS),
        harm=np.zeros((count, 4, len(DIMENSIONS), GRID, GRID), np.float16),
        covered=np.zeros((count, 4, GRID, GRID), bool),
    )


@pytest.fixture(scope="module")
def vae() -> AutoencoderTiny:
    folder = embedded.resolve("policies", "pocket")
    return AutoencoderTiny.from_pretrained(f"{folder}/vae").eval().requires_grad_(False)


def _apart(first: Tensor, second: Tensor) -> Tensor:
    """A perceptual distance for pictures without detail."""
    return (first - second).abs().mean(1)


def _light_is_better(slope: float) -> tuple[Tensor, Answers]:
    weight = torch.tensor(slope, requires_grad=True)

    def answers(queries: list[str], first: Tensor, second: Tensor) -> Tensor:
        assert len(queries) == len(first) == len(second) == DRAWN
        return weight * (first - second).mean((1, 2, 3))

    return weight, answers


def _gradients(chains: Chains, weight: Tensor, answers: Answers, steps: int) -> list[float]:
    """What the loss of each of some steps asks of the weight."""
    found = []
    for step in range(steps):
        weight.grad = None
        chains.loss(answers, np.random.default_rng(step)).backward()
        found.append(float(weight.grad))
    return found


def _tasks() -> dict[str, object]:
    return {name: load_tasks().get(name) for name in TASKS}


def test_chains_climb_and_a_judge_that_likes_what_harms_is_told_so(
    contests: Contests, vae: AutoencoderTiny
) -> None:
    """Clean pictures become too light, which this judge likes: its weight has to fall."""
    weight, answers = _light_is_better(1.0)
    chains = Chains(contests, _tasks(), "pixels", vae, _apart, seed=0)
    fell = _gradients(chains, weight, answers, 120)
    assert np.mean(fell[60:]) > 0.5
    assert chains.parted > 0.2
    climbed = torch.stack([chain.change.mean() for chain in chains._alive])
    assert climbed.min() > -0.1 * STEPS["pixels"]
    assert climbed.max() > 3 * STEPS["pixels"]


def test_a_judge_that_likes_what_helps_is_not_told_otherwise(
    contests: Contests, vae: AutoencoderTiny
) -> None:
    """Dark pictures that become lighter come nearer to the clean one, and the label says so."""
    weight, answers = _light_is_better(0.0)
    with torch.no_grad():
        weight += 1e-3
    dark = np.repeat(contests.pictures[:, 1:2], 4, axis=1)
    dark[:, 0] = 128
    levels = np.ones_like(contests.levels)
    levels[:, 0] = 0
    changed = Contests(**{**vars(contests), "pictures": dark, "levels": levels})
    chains = Chains(changed, _tasks(), "pixels", vae, _apart, seed=0)
    rises = _gradients(chains, weight, answers, 6)
    # Three in four begin dark; a lower loss lies at a larger weight.
    assert np.mean(rises[2:]) < 0


def test_a_blur_that_gains_in_squared_error_alone_is_not_called_better(
    contests: Contests, vae: AutoencoderTiny
) -> None:
    """Grey comes nearer by squared error to grain than other grain does, and looks less like it."""
    rng = np.random.default_rng(0)
    grain, other = torch.from_numpy(rng.uniform(64, 192, (2, 1, 3, SIZE, SIZE))).float()
    grey = torch.full_like(grain, 128)

    def detail(first: Tensor, second: Tensor) -> Tensor:
        amounts = [pictures.std((1, 2, 3)) for pictures in (first, second)]
        return (amounts[0] - amounts[1]).abs()[:, None, None].expand(-1, SIZE, SIZE)

    chains = Chains(contests, _tasks(), "pixels", vae, detail, seed=0)
    assert (grey - grain).square().mean() < 0.6 * (other - grain).square().mean()
    assert chains._apart(grey, grain) > chains._apart(other, grain)


def _grainy(contests: Contests) -> Contests:
    pictures = np.random.default_rng(0).integers(256, size=contests.pictures.shape, dtype=np.uint8)
    return Contests(**{**vars(contests), "pictures": pictures})


@pytest.mark.parametrize("kind", ["latents", "tokens"])
def test_latents_are_moved_by_their_own_step(
    kind: Kind, contests: Contests, vae: AutoencoderTiny
) -> None:
    _, answers = _light_is_better(1.0)
    chains = Chains(_grainy(contests), _tasks(), kind, vae, _apart, seed=0)
    before = [chain.change for chain in chains._alive]
    loss = chains.loss(answers, np.random.default_rng(0))
    assert torch.isfinite(loss)
    loss.backward()
    after = [chain.change for chain in chains._alive]
    steps = [float((b - a).abs().max()) for a, b in zip(before, after, strict=True)]
    assert [step for step in steps if step] == pytest.approx(
        [AT_ONCE * STEPS[kind]] * DRAWN, rel=0.5
    )
    assert after[0].shape[0] == vae.config.latent_channels


def test_tokens_of_a_part_of_the_picture_are_moved_alike(
    contests: Contests, vae: AutoencoderTiny
) -> None:
    chains = Chains(contests, _tasks(), "tokens", vae, _apart, seed=0)
    chain = chains._alive[0]
    assert chain.change.shape[1:] == (TOKEN, TOKEN)
    one = (chain.start[None], 20 * chain.change[None], chain.where[None])
    shown, before = chains._pictures(*one)
    changed = (shown - before).abs().amax((0, 1)) > 4
    scale = SIZE // chain.where.shape[-1]
    part = chain.where[0].bool().repeat_interleave(scale, 0).repeat_interleave(scale, 1)
    assert changed[part].float().mean() > 0.5
    assert changed[~part].float().mean() < 0.2  # the VAE's own reach over the edge
    # Far from its edges the part has the same change in every token, as grey pictures have.
    side = scale * TOKEN
    down, across = np.flatnonzero(part.any(1)), np.flatnonzero(part.any(0))
    row, column = ((span[0] + span[-1] + 1) // 2 // side * side for span in (down, across))
    difference = (shown - before)[0, :, row - side : row + side, column - side : column + side]
    tokens = difference.unfold(1, side, side).unfold(2, side, side).flatten(1, 2)
    assert (tokens - tokens[:, :1]).abs().mean() < 0.2 * tokens.abs().mean()


def test_contests_without_a_clean_picture_give_no_chains(
    contests: Contests, vae: AutoencoderTiny
) -> None:
    damaged = Contests(**{**vars(contests), "levels": np.ones_like(contests.levels)})
    _, answers = _light_is_better(1.0)
    chains = Chains(damaged, _tasks(), "pixels", vae, _apart, seed=0)
    assert float(chains.loss(answers, np.random.default_rng(0))) == 0

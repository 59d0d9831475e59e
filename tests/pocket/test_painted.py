"""Contests between what the policy paints and the truth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from onefill.pocket import embedded
from onefill.pocket.contests.cache import TASKS, Contests, join, load_chunks
from onefill.pocket.contests.painted import paint_contests
from onefill.pocket.contests.pairs import (
    ALIGNMENT,
    DIMENSIONS,
    GRID,
    LABELS,
    NOTHING,
    STRUCTURE,
    UNCLEAR,
)
from onefill.pocket.material.scenes import SIZE, Scene
from onefill.policy.flux_fill import FluxFillPolicy
from onefill.policy.loading import load_policy

PHOTOGRAPH = Path(__file__).parents[1] / "fixtures" / "chelsea.jpg"


@pytest.fixture(scope="module")
def policy() -> FluxFillPolicy:
    return load_policy(embedded.resolve("policies", "pocket"))


def _scenes(task: str, count: int = 4) -> list[Scene]:
    """A red disc, or nothing, in the middle of parts of a photograph."""
    rows, columns = np.mgrid[:SIZE, :SIZE]
    disc = (rows - 32) ** 2 + (columns - 32) ** 2 < 14**2
    mask = np.zeros((SIZE, SIZE), bool)
    mask[16:48, 16:48] = True
    scenes = []
    with Image.open(PHOTOGRAPH) as photograph:
        for place in range(count):
            box = (40 * place, 20, 40 * place + 200, 220)
            background = np.asarray(photograph.convert("RGB").resize((SIZE, SIZE), box=box))
            shown = np.where(disc[..., None], np.array([200, 30, 30], np.uint8), background)
            target = background if task == "removal" else shown
            prompt = "remove" if task == "removal" else "an apple"
            scenes.append(Scene(target, mask, background, shown, prompt, task, "apple", None, True))
    return scenes


def _errors(contests: Contests, scenes: list[Scene]) -> NDArray[np.float64]:
    """Squared error to the truth inside the masks, (N, 4)."""
    targets = np.stack([scene.target for scene in scenes])[:, None]
    masks = np.stack([scene.mask for scene in scenes])[:, None, ..., None]
    apart = (contests.pictures.astype(float) - targets) ** 2 * masks
    return apart.sum((2, 3, 4)) / masks.sum((2, 3, 4)) / 3


def _apart(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """How far apart pictures look, pixel by pixel: that of colours alone will do."""
    return (first - second).square().mean(1)


@pytest.mark.parametrize("task", ["fill", "removal"])
def test_the_less_is_painted_the_nearer_a_picture_is_to_the_truth(task, policy):
    scenes = _scenes(task)
    contests = paint_contests(policy, scenes, None, np.random.default_rng(0), _apart)
    errors = _errors(contests, scenes)
    assert errors.mean(0)[0] < errors.mean(0)[1] < errors.mean(0)[2:].min()
    levels = contests.levels
    assert (levels[:, 0] == 0).all()
    assert (levels[:, 1] > 0).all()
    assert (levels[:, 1] < levels[:, 2]).all()
    if task == "fill":
        # A thing can be painted well in many ways: which of the two is better nobody knows.
        assert (levels[:, 2] == levels[:, 3]).all()
    else:
        gained, nearer = errors[:, 3] - errors[:, 2], levels[:, 3] - levels[:, 2]
        assert (np.sign(gained[:, None]) == np.sign(nearer)).all()
        structure = DIMENSIONS.index(STRUCTURE)
        assert (levels[:, 2:, structure].max(1) == 1).all()  # the further one is spoilt in full
    assert (contests.pictures[:, 2] != contests.pictures[:, 3]).any()
    assert (contests.tasks == TASKS.index(task)).all()
    right = NOTHING if task == "removal" else LABELS.index("apple")
    assert (contests.shown[:, 0] == right).all()
    assert (contests.shown[:, 2:] == UNCLEAR).all()


def test_only_what_was_painted_is_called_damaged(policy):
    scenes = _scenes("fill")
    contests = paint_contests(policy, scenes, None, np.random.default_rng(1), _apart)
    outside = np.ones((GRID, GRID), bool)
    outside[2:6, 2:6] = False
    assert (contests.pictures[:, 1:] == contests.pictures[:, :1])[:, :, :16].all()
    assert (contests.harm[:, 0] == 0).all()
    assert (contests.harm[..., outside] == 0).all()
    seen = [column for column, name in enumerate(DIMENSIONS) if name != ALIGNMENT]
    assert (contests.harm[:, 2][:, seen][..., ~outside] > 0.5).mean() > 0.9
    assert (contests.harm[:, :, DIMENSIONS.index(ALIGNMENT)] == 0).all()
    assert contests.covered[..., 3:5, 3:5].all()
    assert not contests.covered[..., outside].any()


def test_a_trained_policy_paints_the_last_picture(policy, tmp_path):
    scenes = _scenes("fill", count=2)
    alone = paint_contests(policy, scenes, None, np.random.default_rng(2), _apart)
    policy.add_lora(rank=2, alpha=2.0, seed=0)
    with torch.no_grad():
        for parameter in policy.trainable_parameters().values():
            parameter += 0.05
    policy.save_adapter(tmp_path)
    beside = paint_contests(policy, scenes, tmp_path, np.random.default_rng(2), _apart)
    assert (beside.pictures[:, :3] == alone.pictures[:, :3]).all()
    assert (beside.pictures[:, 3] != alone.pictures[:, 3]).any()


def _numbered(number: int, count: int = 3) -> Contests:
    return Contests(
        pictures=np.full((count, 4, 2, 2, 3), number, np.uint8),
        levels=np.zeros((count, 4, 5), np.float32),
        shown=np.zeros((count, 4), np.int64),
        words=np.arange(count),
        tasks=np.full(count, number),
        harm=np.zeros((count, 4, 5, GRID, GRID), np.float16),
        covered=np.zeros((count, 4, GRID, GRID), bool),
    )


def test_drawing_goes_on_where_it_was_stopped(tmp_path):
    drawn: list[int] = []

    def draw(rng: np.random.Generator, number: int) -> Contests:
        if len(drawn) == 2 and number == 2:
            drawn.append(-1)
            raise KeyboardInterrupt
        drawn.append(number)
        return _numbered(number)

    with pytest.raises(KeyboardInterrupt):
        load_chunks(tmp_path, 8, 3, 0, draw)
    found = load_chunks(tmp_path, 8, 3, 0, draw)
    assert drawn == [0, 1, -1, 2]
    assert found.tasks.tolist() == [0, 0, 0, 1, 1, 1, 2, 2]
    assert found.words.tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
    assert len(join([found, _numbered(7)])) == 11

"""Every stage of the recipe trains on another device than the CPU, and in bfloat16, as on a GPU."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny
from elsewhere import ELSEWHERE, second_device
from torch import Tensor, nn

from onefill.pocket import embedded
from onefill.pocket.contests.cache import Contests
from onefill.pocket.contests.pairs import DIMENSIONS, GRID, NOTHING
from onefill.pocket.judge import second, training
from onefill.pocket.judge.architecture import TowerSize
from onefill.pocket.material.pool import Pool
from onefill.pocket.material.scenes import SQUARE, Shape
from onefill.pocket.material.vocabulary import WORDS
from onefill.pocket.policy import latent_pool, vae
from onefill.pocket.policy import training as flow_training
from onefill.pocket.policy.flow import new_flow_model
from onefill.pocket.scoring import classifier
from onefill.pocket.training_plan import CPU, Length, Plan
from onefill.pocket.training_stage import weighted

TINY = TowerSize(layers=2, width=32, heads=2, feed_forward=48)


@pytest.fixture(scope="module")
def contests() -> Contests:
    rng = np.random.default_rng(0)
    count = 20
    levels = rng.permuted(np.tile(np.array([0, 0.45, 0.5, 1.0], np.float32), (count, 1)), axis=1)
    words = rng.integers(NOTHING, size=count)
    return Contests(
        pictures=rng.integers(0, 256, (count, 4, *SQUARE, 3), np.uint8),
        levels=np.repeat(levels[..., None], len(DIMENSIONS), -1),
        shown=np.where(levels < 1, words[:, None], NOTHING),
        words=words,
        tasks=np.arange(count) % 4,
        harm=rng.random((count, 4, len(DIMENSIONS), GRID, GRID)).astype(np.float16),
        covered=np.ones((count, 4, GRID, GRID), bool),
    )


def _with_an_opinion() -> Any:
    """A policy whose last layer is not zero, as it is at the start of a training."""
    model, *tokenizers = new_flow_model()
    nn.init.normal_(model.transformer.proj_out.weight, std=0.1)
    return model, *tokenizers


def _pool(
    split: str, count: int, seed: int, cache: Path, kind: str | None = None, shape: Shape = SQUARE
) -> Pool:
    rng, count = np.random.default_rng(seed), min(count, 10)
    masks = np.zeros((count, *shape), bool)
    masks[:, 8:24, 16:32] = True
    tasks = (["fill", "text", "removal", "extend", "coloured"] * count)[:count]
    words = [WORDS[number % 7] for number in range(count)]
    pictures = rng.integers(0, 256, (count, *shape, 3), np.uint8)
    return Pool(pictures, masks, words, tasks, words, tasks)


Seen = dict[str, dict[str, float]]


def _one_step(seen: Seen, name: str, state: str, modules: dict[str, nn.Module],
              optimizers: list[torch.optim.Optimizer], draw: Callable[..., Any],
              losses_of: Callable[..., dict[str, Tensor]], measure: Callable[[], dict[str, float]],
              plan: Plan, *, weights: Any = None, after: Any = None) -> int:  # fmt: skip
    rng = np.random.default_rng(7)
    losses = losses_of(plan.put(draw(rng)), rng)
    weighted(losses, weights or {}).backward()
    assert all(loss.dtype == torch.float32 for loss in losses.values())
    trained = [p for o in optimizers for group in o.param_groups for p in group["params"]]
    assert any(p.grad is not None for p in trained)
    for p in trained:
        assert p.device == plan.device
        assert p.grad is None or bool(p.grad.isfinite().all())
    if after is not None:
        after(1)
    seen[name] = {key: float(loss) for key, loss in losses.items()} | dict(measure())
    return 1


@pytest.fixture
def train(
    contests: Contests, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str, Plan], Seen]:
    """One step of every part of a stage, and what was seen of it."""
    for module in (vae, latent_pool, classifier):
        monkeypatch.setattr(module, "draw_pool", _pool)
    for what in ("load_contests", "load_painted"):
        monkeypatch.setattr(second, what, lambda *_, **__: contests)
    for module in (training, second):
        monkeypatch.setattr(module, "load_perceptual", lambda _: lambda a, b: (a - b).abs().mean(1))
    # Loading uses the device that the second one is called after.
    folder = Path(embedded.resolve("policies", "pocket")) / "vae"
    loaded = AutoencoderTiny.from_pretrained(folder)
    monkeypatch.setattr(AutoencoderTiny, "from_pretrained", lambda _: copy.deepcopy(loaded))
    # The quick kind of AdamW asks for a device that it knows.
    plain = lambda matrices, others, muon, adamw: [torch.optim.AdamW([*matrices, *others])]  # noqa: E731
    monkeypatch.setattr(flow_training, "muon_and_adamw", plain)
    monkeypatch.setattr(flow_training, "new_flow_model", _with_an_opinion)
    monkeypatch.setattr("onefill.pocket.optimizers.muon_and_adamw", plain)

    def run(stage: str, plan: Plan) -> Seen:
        seen: Seen = {}
        for module in (vae, flow_training, classifier, training, second):
            monkeypatch.setattr(module, "run_stage", partial(_one_step, seen))
        if stage == "vae":
            vae.train_vae(tmp_path / "vae", plan)
        elif stage == "policy":
            flow_training.train_flow(folder, plan)
        elif stage == "classifier":
            classifier.train_classifier(tmp_path / "classifier", plan)
        elif stage == "second-judge":
            second.train_second_judge(tmp_path / "second", plan)
        else:
            student = training.new_student(0, vision=TINY, text=TINY)
            student.to(plan.device)
            for part in (training.see, training.read, training.together, training.harden):
                part(student, contests, contests, plan)
        return seen

    return run


STAGES = ["vae", "policy", "classifier", "judge", "second-judge"]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_learns_the_same_on_another_device(
    stage: str, train: Callable[[str, Plan], Seen], tmp_path: Path
) -> None:
    here = train(stage, Plan(tmp_path, Length(steps=1), 0, print, CPU))
    with second_device():
        there = train(stage, Plan(tmp_path, Length(steps=1), 0, print, ELSEWHERE))
    assert here.keys() == there.keys()
    for part, figures in here.items():
        assert there[part] == pytest.approx(figures, abs=1e-4)


@pytest.mark.parametrize("stage", STAGES)
def test_losses_are_nearly_the_same_where_networks_compute_in_bfloat16(
    stage: str,
    train: Callable[[str, Plan], Seen],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan = Plan(tmp_path, Length(steps=1), 0, print)
    assert isinstance(plan.quick(), nullcontext)
    exact = train(stage, plan)
    monkeypatch.setattr(Plan, "quick", lambda _: torch.autocast("cpu", torch.bfloat16))
    quick = train(stage, plan)
    for part, figures in exact.items():
        for key, figure in figures.items():
            assert quick[part][key] == pytest.approx(figure, rel=0.1, abs=0.05), (part, key)
    assert quick != exact


def test_a_gpu_takes_larger_batches_in_bfloat16(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    monkeypatch.setattr(torch, "autocast", lambda *how: asked.append(how))
    plan = Plan(tmp_path, Length(steps=1), 0, print, torch.device("cuda"))
    plan.quick()
    assert asked == [("cuda", torch.bfloat16)]
    assert plan.batches > Plan(tmp_path, Length(steps=1), 0, print).batches

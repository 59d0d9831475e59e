"""A training of the recipe is as long as it was told, and makes the same weights every time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from onefill.pocket import training_stage
from onefill.pocket.training_plan import Length, Plan
from onefill.pocket.training_stage import run_stage


class StoppedError(Exception):
    """As Ctrl-C comes, in the middle of a step."""


def _train(plan: Plan, *, stop_at: int | None = None) -> tuple[nn.Module, list[Tensor]]:
    torch.manual_seed(0)
    model = nn.Linear(3, 1)
    shown: list[Tensor] = []

    def draw(rng: np.random.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        pictures = torch.from_numpy(rng.standard_normal((4, 3), np.float32))
        return pictures, {"target": pictures.sum(1, keepdim=True)}

    def losses_of(
        drawn: tuple[Tensor, dict[str, Tensor]], rng: np.random.Generator
    ) -> dict[str, Tensor]:
        if stop_at is not None and len(shown) == stop_at:
            raise StoppedError
        pictures, more = drawn
        shown.append(pictures)
        noise = torch.from_numpy(rng.standard_normal(pictures.shape, np.float32))
        error = model(pictures + 0.01 * noise) - more["target"]
        return {"error": error.square().mean(), "weights": model.weight.square().sum()}

    run_stage(
        "line", "line-state", {"model": model}, [torch.optim.AdamW(model.parameters(), lr=0.05)],
        draw, losses_of, lambda: {"accuracy": 0.5}, plan, weights={"weights": 1e-3},
    )  # fmt: skip
    return model, shown


def test_as_many_steps_make_the_same_weights_every_time(tmp_path: Path) -> None:
    lines: list[str] = []
    plan = Plan(tmp_path / "a", Length(steps=30), 5, lines.append)
    first, shown = _train(plan)
    again, _ = _train(replace(plan, cache=tmp_path / "b"))
    other, _ = _train(replace(plan, cache=tmp_path / "c", seed=6))
    assert torch.equal(first.weight, again.weight)
    assert not torch.equal(first.weight, other.weight)
    assert len(shown) == 30
    assert not torch.equal(shown[0], shown[1])
    assert lines[0].startswith("line 0.0 min, step 30, ")
    assert "waiting for data: error " in lines[0]
    assert lines[0].endswith("accuracy 0.500")


def test_a_training_that_was_stopped_in_a_step_goes_on_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_stage, "_SAVE_EVERY", -1.0)  # after every step
    plan = Plan(tmp_path / "straight", Length(steps=20), 0, lambda _: None)
    straight, _ = _train(plan)
    stopped = replace(plan, cache=tmp_path / "stopped")
    with pytest.raises(StoppedError):
        _train(stopped, stop_at=11)
    resumed, shown = _train(stopped)
    assert len(shown) == 20 - 11
    assert torch.equal(straight.weight, resumed.weight)
    assert torch.equal(straight.bias, resumed.bias)


def test_a_training_lasts_as_many_minutes_as_it_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(10**6))
    monkeypatch.setattr(training_stage.time, "monotonic", lambda: next(clock))
    plan = Plan(tmp_path, Length(minutes=2), 0, lambda _: None)
    _, shown = _train(plan)
    assert 20 < len(shown) < 120  # the clock strikes a second whenever it is looked at
    _, more = _train(plan)
    assert more == []


def test_an_error_in_drawing_is_not_swallowed(tmp_path: Path) -> None:
    def draw(rng: np.random.Generator) -> Tensor:
        raise OSError("disk full")

    model = nn.Linear(1, 1)
    with pytest.raises(OSError, match="disk full"):
        run_stage(
            "line", "state", {"model": model}, [torch.optim.AdamW(model.parameters())],
            draw, lambda drawn, rng: {}, dict, Plan(tmp_path, Length(steps=3), 0, print),
        )  # fmt: skip


@pytest.mark.parametrize("given", [{}, {"minutes": 1.0, "steps": 1}])
def test_a_length_is_minutes_or_steps(given: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="minutes or of steps"):
        Length(**given)


def test_parts_of_a_length_add_up_to_it_and_the_command_repeats_it(tmp_path: Path) -> None:
    plan = Plan(tmp_path, Length(minutes=10), 3, print)
    assert plan.part(0.25).length.minutes == 2.5
    assert plan.command("policy") == "onefill pocket build --stage policy --minutes 10 --seed 3"
    plan = replace(plan, length=Length(steps=1000))
    assert plan.part(0.25).length.steps == 250
    assert plan.part(1e-9).length.steps == 1
    assert plan.command("judge") == "onefill pocket build --stage judge --steps 1000 --seed 3"
    assert str(plan.length) == "1000 steps"

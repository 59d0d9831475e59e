"""What leads in place of the judge, to find out whether it is the judge that holds a run back."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import Tensor

from onefill.pocket.contests.pairs import DIMENSIONS, LABELS, NOTHING
from onefill.rl import training
from onefill.rl.config import RewardConfig
from onefill.rl.reward import build_questions
from onefill.tasks.registry import load_tasks

ROOT = Path(__file__).parents[2]
PLAIN = RewardConfig(shift=0, resize=0.0)


@pytest.fixture
def rewards(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    return importlib.import_module("rl_other_rewards")


def grey(*levels: float) -> Tensor:
    return torch.tensor(levels)[:, None, None, None].expand(-1, 3, 64, 64).clone()


def test_the_second_judge_is_asked_by_dimension_and_word(rewards, monkeypatch):
    seen = []

    def prefers_light(first: Tensor, second: Tensor, columns: Tensor, words: Tensor) -> Tensor:
        seen.append((columns.tolist(), words.tolist()))
        return torch.sigmoid((first - second).mean((1, 2, 3)) / 255)

    judge = SimpleNamespace(prob_first_better=prefers_light)
    monkeypatch.setattr(rewards, "second_judge", lambda: judge)
    tasks = load_tasks()
    questions = build_questions([tasks.get("fill"), tasks.get("removal")], ["a red cat", None])
    images = grey(0.75, 0.25).requires_grad_(True)
    reward = rewards.LedBySecondJudge([None], PLAIN, seed=0)
    answers = reward.logits(images, grey(0.5, 0.5), questions, step=0, places=range(2))

    ((columns, words),) = seen
    names = [DIMENSIONS[column] for column in columns]
    assert names == [d.name for task in ("fill", "removal") for d in tasks.get(task).dimensions]
    cat = LABELS.index("cat")
    assert words == [cat if name == "text-alignment" else NOTHING for name in names]
    assert [a.item() for a in answers["fill"].values()] == pytest.approx([0.25] * 4, abs=1e-5)
    assert answers["removal"]["removal-quality"].item() == pytest.approx(-0.25, abs=1e-5)
    sum(a.sum() for of_task in answers.values() for a in of_task.values()).backward()
    assert (images.grad > 0).all()


def test_the_truth_leads_inside_the_mask_alone(rewards, monkeypatch):
    def apart(first: Tensor, second: Tensor) -> Tensor:
        return (first - second).abs().mean(1)

    monkeypatch.setattr(rewards, "lpips", lambda: SimpleNamespace(between=apart))
    monkeypatch.setattr(rewards, "_true_backgrounds", lambda: {"a.webp": grey(0.5)[0]})
    removal = load_tasks().get("removal")
    masks = torch.zeros(1, 1, 64, 64)
    masks[..., 16:48] = 1
    reward = rewards.LedByTruth([None], PLAIN, seed=0)
    reward.batch = SimpleNamespace(
        select=lambda places: SimpleNamespace(
            task=removal, names=["a.webp (sample 3 of removal)"], masks=masks
        )
    )
    images = grey(0.6).requires_grad_(True)
    questions = build_questions([removal], [None])
    answers = reward.logits(images, grey(0.8), questions, step=0, places=range(1))
    answer = answers["removal"]["removal-quality"]
    assert answer.item() == pytest.approx(30 * (0.3 - 0.1), rel=1e-4)
    answer.backward()
    inside = masks.expand_as(images).bool()
    assert (images.grad[inside] < 0).all()
    assert (images.grad[~inside] == 0).all()


def test_a_run_led_by_the_truth_knows_what_it_drew(rewards, open_run, monkeypatch):
    monkeypatch.setattr(training.Training, "next_batch", training.Training.next_batch)
    led = rewards._lead_by_truth()
    run = open_run(tasks={"fill": 1.0})
    batch = run.next_batch({"fill": 2})
    assert led.batch is batch
    assert torch.equal(rewards._truths(batch), batch.images)


def test_without_a_name_the_line_says_what_to_type(rewards, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["rl_other_rewards.py", "--steps", "3"])
    assert rewards.main() == 2
    assert "second-judge or truth" in capsys.readouterr().err

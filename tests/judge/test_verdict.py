from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import torch
from PIL import Image

from onefill.judge.loading import load_judge
from onefill.judge.model import ImageFeatures, Judge
from onefill.judge.verdict import ask, swap_symmetric
from onefill.tasks.types import Task

from .conftest import to_tensor

Draw = Callable[..., Image.Image]


def scripted(forward: float, backward: float, temperature: float = 1.0) -> Judge:
    """A judge that gives one logit for the brighter image shown first, another for second."""

    def logits(first: ImageFeatures, second: ImageFeatures, queries: Sequence[str]) -> torch.Tensor:
        brighter_first = first.tokens.mean() > second.tokens.mean()
        return torch.full((len(queries),), forward if brighter_first else backward)

    return cast(
        Judge,
        SimpleNamespace(
            encode_images=lambda image: ImageFeatures(image.flatten(1)[:, :, None], (1, 1)),
            logits_from_features=logits,
            calibration={"paint/fit": temperature},
        ),
    )


BRIGHT, DARK = torch.ones(1, 3, 2, 2), torch.zeros(1, 3, 2, 2)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_both_orders_are_averaged_on_the_logit_scale(task: Task) -> None:
    (verdict,) = ask(scripted(2.0, -1.0), BRIGHT, DARK, task, task.dimensions[:1], None)
    assert (verdict.task, verdict.dim, verdict.winner) == ("paint", "fit", "first")
    assert verdict.p_first == pytest.approx(sigmoid(1.5))
    assert verdict.order_gap == pytest.approx(sigmoid(2.0) - sigmoid(1.0), abs=1e-6)


def test_a_favour_for_a_place_alone_is_a_tie_with_a_wide_gap(task: Task) -> None:
    (verdict,) = ask(scripted(3.0, 3.0), BRIGHT, DARK, task, task.dimensions[:1], None)
    assert verdict.p_first == 0.5
    assert verdict.winner == "tie"
    assert verdict.order_gap == pytest.approx(sigmoid(3.0) - sigmoid(-3.0), abs=1e-6)


def test_the_temperature_of_the_dimension_calibrates(task: Task) -> None:
    hot = ask(scripted(2.0, -2.0, temperature=4.0), BRIGHT, DARK, task, task.dimensions[::2], None)
    assert hot[0].p_first == pytest.approx(sigmoid(2.0 / 4.0))
    assert hot[1].p_first == pytest.approx(sigmoid(2.0))  # no temperature of its own


@pytest.mark.parametrize(
    ("logit", "winner"), [(0.19, "tie"), (0.21, "first"), (-0.19, "tie"), (-0.21, "second")]
)
def test_a_probability_within_the_band_is_a_tie(task: Task, logit: float, winner: str) -> None:
    (verdict,) = ask(scripted(logit, -logit), BRIGHT, DARK, task, task.dimensions[:1], None)
    assert verdict.winner == winner  # 0.05 from one half is a logit of 0.2


def test_swapping_the_images_gives_the_opposite_verdict(
    judge: Judge, task: Task, picture: Draw
) -> None:
    a, b = picture(1), picture(2, 130, 70)
    there = ask(judge, a, b, task, task.dimensions, "hat")
    back = ask(judge, b, a, task, task.dimensions, "hat")
    assert [v.dim for v in there] == ["fit", "word-match", "looks"]
    assert len({v.p_first for v in there}) == 3
    for forth, reverse in zip(there, back, strict=True):
        assert forth.p_first + reverse.p_first == pytest.approx(1.0, abs=1e-6)
        assert forth.order_gap == pytest.approx(reverse.order_gap, abs=1e-6)


def test_a_picture_against_itself_is_a_tie(judge: Judge, task: Task, picture: Draw) -> None:
    (verdict,) = ask(judge, picture(1), picture(1), task, task.dimensions[:1], None)
    assert (verdict.p_first, verdict.winner) == (0.5, "tie")


def test_pictures_and_tensors_are_judged_alike(judge: Judge, task: Task, picture: Draw) -> None:
    a, b = picture(1), picture(2)
    of_pictures = ask(judge, a, b, task, task.dimensions[:1], None)
    assert ask(judge, to_tensor(a), to_tensor(b), task, task.dimensions[:1], None) == of_pictures


def test_swap_symmetric_probabilities_sum_to_one() -> None:
    torch.manual_seed(0)
    forward, backward = torch.randn(2, 1000) * 5
    p, q = swap_symmetric(forward, backward), swap_symmetric(backward, forward)
    assert torch.allclose(p.sigmoid() + q.sigmoid(), torch.ones(1000), atol=1e-6)


def test_the_card_of_a_folder_calibrates_its_judge(
    judge_folder: Path, tmp_path: Path, task: Task, picture: Draw
) -> None:
    import json
    import shutil

    folder = tmp_path / "calibrated"
    shutil.copytree(judge_folder, folder)
    card = folder / "onefill_judge.json"
    document = json.loads(card.read_text())
    document["dimensions"] = {"paint/fit": {"accuracy": 0.8, "temperature": 0.01}}
    card.write_text(json.dumps(document))
    (cool,) = ask(
        load_judge(str(folder), device="cpu"),
        picture(1),
        picture(2),
        task,
        task.dimensions[:1],
        None,
    )
    (plain,) = ask(
        load_judge(str(judge_folder), device="cpu"),
        picture(1),
        picture(2),
        task,
        task.dimensions[:1],
        None,
    )
    logit = math.log(plain.p_first / (1 - plain.p_first))
    assert cool.p_first == pytest.approx(sigmoid(logit / 0.01), abs=1e-3)

from __future__ import annotations

import math

import pytest
import torch

from onefill.errors import BadInput
from onefill.rl.dimensions import dimension_weights, trained_tasks
from onefill.rl.loss import LOSSES, Shares, answer_shares, hinge, onereward_loss
from onefill.rl.reward import build_questions
from onefill.tasks.registry import load_tasks


def logit(*p):
    return torch.logit(torch.tensor(p))


ANSWERS = {
    "structure": logit(0.2, 0.95),  # (0.7 + 0) / 2 = 0.35
    "aesthetics": logit(0.6, 0.5),  # (0.3 + 0.4) / 2 = 0.35
    "text-alignment": logit(0.1),  # 0.8: only one sample had words
}
COUNTS = {"structure": 2, "aesthetics": 2, "text-alignment": 1}


def shares_of(weights, of_batch=1.0):
    return {"fill": Shares(of_batch, weights, COUNTS)}


def test_eq_5_on_values_worked_by_hand():
    shares = shares_of(dict.fromkeys(ANSWERS, 1.0))
    loss = onereward_loss({"fill": ANSWERS}, shares, 0.9)
    assert loss.item() == pytest.approx((0.35 + 0.35 + 0.8) / 3)


def test_dimensions_count_by_their_weights():
    shares = shares_of({"structure": 3.0, "aesthetics": 0.5, "text-alignment": 1.0})
    expected = (3 * 0.35 + 0.5 * 0.35 + 0.8) / 4.5
    assert onereward_loss({"fill": ANSWERS}, shares, 0.9).item() == pytest.approx(expected)


def test_tasks_count_by_their_samples():
    shares = shares_of(dict.fromkeys(ANSWERS, 1.0), of_batch=2 / 3)
    shares["removal"] = Shares(1 / 3, {"removal-quality": 5.0}, {"removal-quality": 1})
    answers = {"fill": ANSWERS, "removal": {"removal-quality": logit(0.3)}}
    expected = 2 / 3 * (0.35 + 0.35 + 0.8) / 3 + 1 / 3 * 0.6
    assert onereward_loss(answers, shares, 0.9).item() == pytest.approx(expected)


def test_parts_of_a_batch_add_up_to_the_whole():
    shares = shares_of(dict.fromkeys(ANSWERS, 1.0))
    first = {"structure": ANSWERS["structure"][:1], "aesthetics": ANSWERS["aesthetics"][:1]}
    second = {
        "structure": ANSWERS["structure"][1:],
        "aesthetics": ANSWERS["aesthetics"][1:],
        "text-alignment": ANSWERS["text-alignment"],
    }
    whole, *parts = (
        onereward_loss({"fill": answers}, shares, 0.9).item()
        for answers in (ANSWERS, first, second)
    )
    assert sum(parts) == pytest.approx(whole)


@pytest.mark.parametrize("kind", LOSSES)
def test_nothing_is_gained_above_lambda(kind):
    answers = logit(0.4, 0.8, 0.99).requires_grad_()
    loss = LOSSES[kind](answers, 0.7)
    loss.sum().backward()
    assert loss[0] > 0
    assert loss[1:].tolist() == [0.0, 0.0]
    assert answers.grad[0] < 0
    assert answers.grad[1:].tolist() == [0.0, 0.0]


def test_the_losses_on_values_worked_by_hand():
    answers = logit(0.25)
    assert hinge(answers, 0.8).item() == pytest.approx(0.55)
    assert LOSSES["logistic"](answers, 0.8).item() == pytest.approx(math.log(0.8 / 0.25))
    assert LOSSES["logistic"](answers, 1.0).item() == pytest.approx(math.log(4))
    assert LOSSES["relu"](answers, 0.8).item() == pytest.approx(math.log(4) + math.log(3))


def test_a_surely_refused_image_gets_no_gradient_by_the_hinge_and_all_of_it_by_the_others():
    gradients = {}
    for kind, loss in LOSSES.items():
        answers = torch.tensor([-20.0], requires_grad=True)
        loss(answers, 0.9).sum().backward()
        gradients[kind] = answers.grad.item()
    assert abs(gradients["hinge"]) < 1e-8
    assert gradients["logistic"] == pytest.approx(-1)
    assert gradients["relu"] == -1


def test_a_dimension_of_weight_nought_is_not_asked():
    weights = {"aesthetics": 0.0, "fill/structure": 2.0, "structure": 3.0}
    tasks = {name: load_tasks().get(name) for name in ("fill", "extend")}
    trained = trained_tasks(tasks, weights)
    assert [d.name for d in trained["fill"].dimensions] == [
        "consistency",
        "structure",
        "text-alignment",
    ]
    assert dimension_weights(trained["fill"], weights)["structure"] == 2
    assert dimension_weights(trained["extend"], weights)["structure"] == 3
    drawn = [trained[name] for name in ("extend", "extend", "fill")]
    questions = build_questions(drawn, ["a cat", None, "a cat"])
    of_tasks = {name: dimension_weights(task, weights) for name, task in trained.items()}
    shares = answer_shares(questions, of_tasks)
    assert shares["extend"].counts == {"consistency": 2, "structure": 2, "text-alignment": 1}
    assert shares["extend"].weights == {"consistency": 1, "structure": 3, "text-alignment": 1}
    assert shares["fill"].weights == {"consistency": 1, "structure": 2, "text-alignment": 1}
    assert shares["extend"].of_batch == pytest.approx(2 / 3)
    assert shares["fill"].of_batch == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("weights", "told"),
    [
        ({"beauty": 1.0}, "no task of this run has 'beauty'; known are .*removal-quality"),
        ({"fill/structure": 1.0}, "no task of this run has 'fill/structure'"),
        ({"removal-quality": 0.0}, "every dimension of 'removal' has weight 0"),
    ],
)
def test_weights_that_fit_no_task_are_refused(weights, told):
    with pytest.raises(BadInput, match=told):
        trained_tasks({"removal": load_tasks().get("removal")}, weights)

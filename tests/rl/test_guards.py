"""A value that is no number stops the run, with step, phase and sample in the message."""

from __future__ import annotations

import pytest
import torch

from onefill.errors import OnefillError
from onefill.rl.guards import Guard
from onefill.rl.loop import take_step

from .conftest import weights_of


def test_a_guard_names_the_sample_and_lets_numbers_through():
    guard = Guard(3, ["one.png", "two.png"])
    values = torch.rand(2, 3)
    assert guard.check("rollout", values) is values
    values[1, 2] = torch.inf
    with pytest.raises(OnefillError, match=r"^step 3, rollout: not a number .* for two\.png;"):
        guard.check("rollout", values)


def test_a_gradient_that_is_no_number_names_the_sample():
    guard = Guard(0, ["one.png", "two.png"])
    images = guard.watch("here", torch.tensor([[4.0], [0.0]], requires_grad=True) * 1)
    with pytest.raises(OnefillError, match=r"step 0, backward: .* for two\.png"):
        images.sqrt().sum().backward()


@pytest.mark.parametrize(
    ("where", "phase"),
    [
        ("onefill.rl.rollout.painted", "reference"),
        ("onefill.rl.loop.gradient_images", "gradient step"),
        ("onefill.rl.loop.predicted_latents", "gradient step"),
    ],
)
def test_a_step_that_breaks_leaves_weights_and_checkpoint(open_run, monkeypatch, where, phase):
    run = open_run(tasks={"fill": 1.0})
    take_step(run)
    run.save()
    (checkpoint,) = run.folder.checkpoints.iterdir()
    before = weights_of(run)
    module, _, name = where.rpartition(".")
    stock = getattr(__import__(module, fromlist=[name]), name)

    def broken(*args):
        made = stock(*args)
        return torch.cat([made[:1], made[1:] * torch.nan])

    monkeypatch.setattr(where, broken)
    with pytest.raises(OnefillError, match=rf"step 1, {phase}: .* \(sample 3 of fill\);"):
        take_step(run)
    after = weights_of(run)
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert checkpoint.is_dir() and open_run(resume=True).step == 1


def test_a_judge_that_answers_nothing_sensible_is_told_with_the_samples(open_run):
    run = open_run(tasks={"fill": 1.0})
    with torch.no_grad():
        run.judge.model.lm_head.weight.fill_(torch.nan)
    with pytest.raises(OnefillError, match=r"step 0, judge, \d+\.png \(sample 0 of fill\), "):
        take_step(run)


def test_a_loss_that_is_not_finite_changes_nothing(open_run):
    run = open_run(train="full", tasks={"fill": 1.0})
    before = weights_of(run)
    loss = sum(p.sum() for p in run.policy.trainable_parameters().values()) * torch.nan
    with pytest.raises(OnefillError, match="step 0: the loss is nan"):
        run.optimizer.accumulate(loss, 0)
    after = weights_of(run)
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_a_gradient_that_is_not_finite_changes_nothing(open_run):
    run = open_run(tasks={"fill": 1.0})
    before = weights_of(run)
    for parameter in run.policy.trainable_parameters().values():
        parameter.grad = torch.full_like(parameter, torch.nan)
    with pytest.raises(OnefillError, match="step 0, backward: the norm of the gradient is nan"):
        run.optimizer.update(0)
    after = weights_of(run)
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_weights_that_are_no_numbers_are_not_saved(open_run):
    run = open_run()
    with torch.no_grad():
        next(iter(run.policy.trainable_parameters().values())).fill_(torch.inf)
    with pytest.raises(OnefillError, match=r"is not a number .* any more"):
        run.save()
    assert not list(run.folder.checkpoints.iterdir())

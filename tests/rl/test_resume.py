"""N + M steps are N steps, a checkpoint, another process, and M steps: to the last bit."""

from __future__ import annotations

import itertools

import pytest
import torch

from onefill.errors import BadInput
from onefill.rl.loop import take_step

from .conftest import weights_of


def everything(run):
    return {
        "weights": weights_of(run),
        "optimizer": {name: t.clone() for name, t in run.optimizer.tensors().items()},
        "average": {name: t.clone() for name, t in run.average.tensors().items()},
    }


@pytest.mark.parametrize(
    ("train", "reference"), itertools.product(["lora", "full"], ["fixed", "dynamic"])
)
def test_a_resumed_run_goes_on_bit_for_bit(open_run, train, reference):
    settings = {"train": train, "reference": reference, "steps": 5}
    whole = open_run(name="whole", **settings)
    reports = [take_step(whole) for _ in range(5)]

    first = open_run(name="parted", **settings)
    for _ in range(2):
        take_step(first)
    first.save()
    rest = open_run(name="parted", resume=True)
    assert rest.step == 2
    assert [take_step(rest) for _ in range(3)] == reports[2:]

    expected, found = everything(whole), everything(rest)
    for group in expected:
        assert expected[group].keys() == found[group].keys()
        for name, tensor in expected[group].items():
            assert torch.equal(tensor, found[group][name]), (group, name)
    assert rest.mixer.state() == whole.mixer.state()
    assert rest.cursor == whole.cursor


def test_lines_of_steps_that_were_lost_are_dropped(open_run):
    run = open_run()
    take_step(run)
    run.save()
    take_step(run)
    rest = open_run(resume=True)
    assert [row["step"] for row in rest.metrics.read("step")] == [1]
    take_step(rest)
    assert [row["step"] for row in rest.metrics.read("step")] == [1, 2]


def test_other_steps_may_be_asked_for_and_another_training_may_not(open_run):
    run = open_run()
    run.save()
    assert open_run(resume=True, steps=9).config.steps == 9
    with pytest.raises(BadInput, match=r"lam is 0\.75 in this run, not 0\.8"):
        open_run(resume=True, lam=0.8)
    with pytest.raises(BadInput, match=r"lora\.rank is 2 in this run, not 3"):
        open_run(resume=True, lora={"rank": 3})


def test_other_pictures_are_refused(open_run, pictures):
    open_run().save()
    added = pictures / "9.txt"
    before = added.read_text()
    try:
        added.write_text("another caption")
        with pytest.raises(BadInput, match="data is not what this run began with"):
            open_run(resume=True)
    finally:
        added.write_text(before)


def test_a_run_without_a_checkpoint_cannot_be_resumed(open_run):
    open_run()
    with pytest.raises(BadInput, match="no checkpoint in it"):
        open_run(resume=True)

"""N + M steps are N steps, a checkpoint, another process, and M steps: to the last bit."""

from __future__ import annotations

import itertools

import pytest
import torch
from safetensors.torch import load_file

from onefill.checkpoint import list_checkpoints
from onefill.errors import BadInput
from onefill.rl.loop import take_step

from .conftest import weights_of


def everything(run, folder):
    """All that a run is, its reference as it paints and its results as others read them."""
    with run.reference.active():
        reference = weights_of(run)
    scenes = run.held_out.scenes("fill")
    run.folder.path = folder
    run.write_results()
    return {
        "weights": weights_of(run),
        "optimizer": {name: t.clone() for name, t in run.optimizer.tensors().items()},
        "average": {name: t.clone() for name, t in run.average.tensors().items()},
        "reference": reference,
        "start model": {"reference": scenes.reference, "start": scenes.start},
        "global generator": {"state": torch.get_rng_state()},
        "results": {
            f"{file.parent.name}/{file.name}/{name}": tensor
            for file in sorted(folder.rglob("*.safetensors"))
            for name, tensor in load_file(file).items()
        },
    }


@pytest.mark.parametrize(
    ("train", "reference", "tasks_per_step"),
    [*itertools.product(["lora", "full"], ["fixed", "dynamic"], [1]), ("lora", "dynamic", 2)],
)
def test_a_resumed_run_goes_on_bit_for_bit(open_run, tmp_path, train, reference, tasks_per_step):
    settings = {"train": train, "reference": reference, "steps": 5}
    settings |= {"tasks_per_step": tasks_per_step}
    torch.manual_seed(0)
    whole = open_run(name="whole", **settings)
    reports = [take_step(whole) for _ in range(5)]
    expected = everything(whole, tmp_path / "whole results")

    first = open_run(name="parted", **settings)
    for _ in range(2):
        take_step(first)
    first.save()
    torch.manual_seed(0)
    rest = open_run(name="parted", resume=True)
    assert rest.step == 2
    assert [take_step(rest) for _ in range(3)] == reports[2:]

    found = everything(rest, tmp_path / "parted results")
    for group in expected:
        assert expected[group].keys() == found[group].keys()
        assert expected[group], group
        for name, tensor in expected[group].items():
            assert torch.equal(tensor, found[group][name]), (group, name)
    assert rest.mixer.state() == whole.mixer.state()
    assert rest.cursor == whole.cursor
    assert [rest.optimizer.rate(n) for n in range(9)] == [whole.optimizer.rate(n) for n in range(9)]


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
    with pytest.raises(BadInput, match=r"tasks_per_step is 1 in this run, not 2"):
        open_run(resume=True, tasks_per_step=2)


def test_a_changed_setting_can_be_forced_unless_the_weights_no_longer_fit(open_run):
    open_run().save()
    assert open_run(resume=True, forced=["lam"], lam=0.8).config.lam == 0.8
    with pytest.raises(BadInput, match=r"the saved weights do not fit"):
        open_run(resume=True, forced=["lora.rank"], lora={"rank": 3})


def test_other_pictures_are_refused(open_run, pictures):
    open_run().save()
    added = pictures / "9.txt"
    before = added.read_text()
    try:
        added.write_text("another caption")
        with pytest.raises(BadInput, match=r"training-data is .{8}… in this run.*--force-resume"):
            open_run(resume=True)
        forced = ["training-data", "held-out-data"]
        assert open_run(resume=True, forced=forced).step == 0
    finally:
        added.write_text(before)


@pytest.mark.parametrize("key", ["policy", "judge", "torch", "onefill", "device"])
def test_another_model_or_version_is_refused_by_name(open_run, key):
    run = open_run()
    run.fingerprints[key] = "another"
    run.save()
    with pytest.raises(BadInput, match=f"{key} is 'another' in this run.*--force-resume {key}$"):
        open_run(resume=True)
    assert open_run(resume=True, forced=[key]).step == 0


def test_the_checkpoint_of_the_best_win_rate_stays(open_run):
    run = open_run(checkpoints={"keep": 1})
    for step, rate in enumerate((0.4, 0.7, 0.6, 0.5), start=1):
        run.step = step
        run.save()
        run.metrics.append("win rate", step, {"win_rate": {"fill": {"a": rate, "b": rate}}})
    assert [path.name for path in list_checkpoints(run.folder.checkpoints)] == [
        *("step-000002", "step-000004")
    ]


def test_a_damaged_checkpoint_is_told_and_the_one_before_goes_on(open_run):
    run = open_run()
    for _ in range(2):
        take_step(run)
        run.save()
    (run.folder.checkpoints / "step-000002" / "weights.safetensors").write_bytes(b"")
    with pytest.raises(BadInput, match=r"step-000002: weights.safetensors is damaged"):
        open_run(resume=True)
    told = []
    rest = open_run(resume=True, warn=told.append)
    assert rest.step == 1
    assert len(told) == 1
    assert "step-000001 is used in its place" in told[0]
    take_step(rest)
    rest.save()
    assert open_run(resume=True).step == 2


def test_a_run_without_a_checkpoint_cannot_be_resumed(open_run):
    open_run()
    with pytest.raises(BadInput, match="no checkpoint in it"):
        open_run(resume=True)

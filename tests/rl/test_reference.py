from __future__ import annotations

import pytest
import torch

from onefill.rl.batch import make_batch
from onefill.rl.loop import take_step
from onefill.rl.reference import MovingAverage

from .conftest import shake, weights_of, written_weights


def paint(run, weights):
    """What the model paints from one noise under some weights."""
    samples = run.samples.batch("removal", 0, 2, run.policy.settings.size)
    batch = make_batch(run.tasks["removal"], samples, "cpu")
    conditions = run.policy.encode(batch.images, batch.masks, batch.prompts)
    noise = run.policy.noise(conditions, torch.Generator().manual_seed(3))
    with weights.active():
        return run.policy.sample(conditions, noise, steps=3, guidance=2.0)


@pytest.mark.parametrize("train", ["lora", "full"])
def test_the_fixed_reference_does_not_move(open_run, train):
    run = open_run(train=train, reference="fixed", tasks={"removal": 1.0})
    before = paint(run, run.reference)
    for _ in range(2):
        take_step(run)
    assert torch.equal(paint(run, run.reference), before)


@pytest.mark.parametrize("train", ["lora", "full"])
def test_the_dynamic_reference_moves_by_the_average_and_nothing_else(open_run, train):
    run = open_run(train=train, reference="dynamic", tau=0.75, tasks={"removal": 1.0})
    before = paint(run, run.reference)
    expected = weights_of(run)
    for _ in range(3):
        take_step(run)
        for name, weight in weights_of(run).items():
            expected[name] = 0.75 * expected[name] + (1 - 0.75) * weight
    found = run.average.tensors()
    assert run.reference is run.average
    assert found.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=0, atol=1e-7)
    assert not torch.equal(paint(run, run.reference), before)


@pytest.mark.parametrize("train", ["lora", "full"])
def test_the_policy_is_itself_again_after_its_reference_was_asked(open_run, train):
    run = open_run(train=train, reference="dynamic", tasks={"removal": 1.0})
    shake(run)
    before, average = weights_of(run), {k: v.clone() for k, v in run.average.tensors().items()}
    with pytest.raises(ZeroDivisionError), run.reference.active():
        inside = weights_of(run)
        raise ZeroDivisionError
    assert all(torch.equal(inside[name], average[name]) for name in average)
    assert all(torch.equal(weight, before[name]) for name, weight in weights_of(run).items())


@pytest.mark.parametrize("reference", ["fixed", "dynamic"])
def test_the_average_is_handed_out_and_the_last_update_beside_it(open_run, reference):
    run = open_run(reference=reference, tasks={"removal": 1.0})
    take_step(run)
    last = weights_of(run)
    average = {name: weight.clone() for name, weight in run.average.tensors().items()}
    with run.settled():
        assert all(torch.equal(weight, average[name]) for name, weight in weights_of(run).items())
    run.write_results()
    for folder, expected in (("adapter", average), ("adapter-last", last)):
        found = written_weights(run.folder.path / folder, expected)
        assert all(torch.equal(found[name], weight) for name, weight in expected.items())
    assert any(not torch.equal(last[name], average[name]) for name in last)


def test_without_an_average_the_last_update_is_handed_out(open_run):
    run = open_run(ema=False, reference="dynamic", tasks={"removal": 1.0})
    take_step(run)
    last = weights_of(run)
    run.write_results()
    found = written_weights(run.folder.path / "adapter", last)
    assert all(torch.equal(found[name], weight) for name, weight in last.items())
    assert not (run.folder.path / "adapter-last").exists()


def test_algorithm_1_keeps_an_average_that_nobody_is_compared_with(open_run):
    run = open_run(reference="fixed", tasks={"removal": 1.0})
    assert isinstance(run.average, MovingAverage)
    assert run.reference is not run.average
    before = {name: weight.clone() for name, weight in run.average.tensors().items()}
    take_step(run)
    assert any(not torch.equal(run.average.tensors()[name], before[name]) for name in before)
    assert open_run(name="other", reference="fixed", ema=False).average is None

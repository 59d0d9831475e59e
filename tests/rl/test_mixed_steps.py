"""A step of several tasks is the mean of what each of them would have done."""

from __future__ import annotations

import pytest
import torch

import onefill.rl.loop
from onefill.rl.loop import take_step
from onefill.rl.randomness import noise_generators

from .conftest import shake, weights_of

MIXED = {"tasks": {"fill": 3.0, "removal": 1.0}, "tasks_per_step": 2, "batch_size": 4}


def gradients_of(run, monkeypatch, first_place=0):
    """The step's report and gradients, its noises those of a batch from ``first_place`` on."""

    def moved(seed, purpose, step, places):
        begin, end = places.start + first_place, places.stop + first_place
        return noise_generators(seed, purpose, step, range(begin, end))

    found = {}

    def keep(step):
        found.update(
            (name, parameter.grad.clone())
            for name, parameter in run.policy.trainable_parameters().items()
        )

    shake(run)
    monkeypatch.setattr(onefill.rl.loop, "noise_generators", moved)
    monkeypatch.setattr(run.optimizer, "update", keep)
    return take_step(run), found


def largest_of(gradients):
    return max(gradient.abs().max().item() for gradient in gradients.values())


def assert_alike(found, expected):
    tolerance = 1e-4 * largest_of(expected)
    assert tolerance > 0
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=tolerance, rtol=0)


@pytest.mark.parametrize("policy", [None, "removing_policy"])
@pytest.mark.parametrize("reference", ["fixed", "dynamic"])
def test_a_mixed_step_is_the_mean_of_its_tasks_steps(
    open_run, monkeypatch, request, reference, policy
):
    """Also where one of them is denoised otherwise than the others."""
    shared = {"reference": reference}
    if policy is not None:
        shared |= {"policy": request.getfixturevalue(policy), "sampler_steps": None}
    run = open_run(name="mixed", **shared, **MIXED)
    report, mixed = gradients_of(run, monkeypatch)
    place, losses, expected = 0, [], {name: torch.zeros_like(g) for name, g in mixed.items()}
    for task in report.rewards:  # in the order of the batch
        count = run.cursor[task]
        alone = open_run(name=task, tasks={task: 1.0}, batch_size=count, **shared)
        of_task, gradients = gradients_of(alone, monkeypatch, place)
        assert report.rewards[task] == pytest.approx(of_task.rewards[task], abs=1e-5)
        losses.append(count / 4 * of_task.loss)
        for name, gradient in gradients.items():
            expected[name] += count / 4 * gradient
        place += count
    assert run.cursor == {"fill": 3, "removal": 1}
    assert report.loss == pytest.approx(sum(losses), abs=1e-6)
    assert_alike(mixed, expected)


def test_a_mixed_batch_in_parts_is_the_same_batch(open_run, monkeypatch):
    """As two processes have it: of two parts one holds both tasks, the other one of them."""
    whole, gradients = gradients_of(open_run(name="whole", **MIXED), monkeypatch)
    optimizer = {"learning_rate": 1e-2, "accumulation": 2}
    parted, found = gradients_of(open_run(optimizer=optimizer, **MIXED), monkeypatch)
    assert parted.loss == pytest.approx(whole.loss, abs=1e-6)
    assert_alike(found, gradients)


def test_a_mixed_step_is_one_call_of_every_model(open_run, monkeypatch):
    run = open_run(**MIXED)
    calls = {"encode": [], "decode": [], "judge": []}
    encode, decode, seen = run.policy.encode, run.policy.decode, run.judge.encode_images

    def count(name, stock):
        return lambda images, *more: calls[name].append(len(images)) or stock(images, *more)

    monkeypatch.setattr(run.policy, "encode", count("encode", encode))
    monkeypatch.setattr(run.policy, "decode", count("decode", decode))
    monkeypatch.setattr(run.judge, "encode_images", count("judge", seen))
    take_step(run)
    # Decoded and seen are the reference's images and the policy's.
    assert calls == {"encode": [4], "decode": [4, 4], "judge": [4, 4]}
    (row,) = run.metrics.read("step")
    assert row["tasks"] == {"fill": 3, "removal": 1}
    assert set(row["reward"]["removal"]) == set(row["saturated"]["removal"]) == {"removal-quality"}
    assert set(row["reward"]["fill"]) == set(row["saturated"]["fill"]) > {"structure"}


def test_a_mixed_run_is_the_same_with_the_cache_cold_warm_or_off(open_run, tmp_path):
    def losses_of(name, cache):
        run = open_run(name=name, cache=cache, **MIXED)
        return [take_step(run).loss for _ in range(2)], weights_of(run)

    cache = {"folder": str(tmp_path / "kept")}
    (off, weights), *others = (
        losses_of(name, kept) for name, kept in (("off", {}), ("cold", cache), ("warm", cache))
    )
    assert len(list((tmp_path / "kept").iterdir())) == 4  # conditions and images of two steps
    for losses, found in others:
        assert losses == off
        assert all(torch.equal(found[name], weight) for name, weight in weights.items())

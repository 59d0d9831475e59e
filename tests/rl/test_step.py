"""One update through the whole chain: policy, VAE, judge, loss, and back."""

from __future__ import annotations

import pytest
import torch

from onefill.rl.loop import take_step
from onefill.rl.loss import answer_shares, onereward_loss
from onefill.rl.randomness import Purpose, noise_generators
from onefill.rl.reward import build_questions, preferences
from onefill.rl.rollout import (
    carried_on,
    full_denoising,
    gradient_images,
    partial_denoising,
    predicted_latents,
    reference_images,
)

from .conftest import shake


def all_weights(run):
    parts = {**run.policy.pipeline.components, "judge": run.judge.model}
    return {
        f"{part}.{name}": parameter
        for part, module in parts.items()
        if isinstance(module, torch.nn.Module)
        for name, parameter in module.named_parameters()
    }


def begin_step(run, task="fill"):
    batch = run.next_batch({task: run.config.batch_size})
    conditions = run.policy.encode(batch.images, batch.masks, batch.prompts)
    places = range(len(batch))
    noise = [
        run.policy.noise(conditions, noise_generators(0, purpose, 0, places))
        for purpose in (Purpose.POLICY_NOISE, Purpose.REFERENCE_NOISE)
    ]
    return batch, conditions, noise


@pytest.mark.parametrize("train", ["lora", "full"])
def test_the_gradient_reaches_every_trained_weight_and_no_other(open_run, train):
    run = open_run(train=train, tasks={"fill": 1.0}, lam=1.0)
    shake(run)
    batch, conditions, (noise, noise_ref) = begin_step(run)
    x_ref = reference_images(
        run.policy, run.reference, batch, conditions, noise_ref, run.samplers["fill"]
    )
    partial = partial_denoising(run.policy, batch, conditions, noise, run.samplers["fill"], until=1)
    latents = predicted_latents(run.policy, conditions, partial, run.samplers["fill"])
    x_theta = gradient_images(run.policy, batch, conditions, latents)
    answers = run.reward.logits(x_theta, x_ref, batch.questions, 0, range(len(batch)))
    onereward_loss(answers, answer_shares(batch.questions, run.weights), 1.0).backward()

    trained = {id(parameter) for parameter in run.policy.trainable_parameters().values()}
    for name, parameter in all_weights(run).items():
        reached = parameter.grad is not None and bool(parameter.grad.abs().max() > 0)
        assert reached == (id(parameter) in trained), name


@pytest.mark.parametrize("train", ["lora", "full"])
def test_a_step_moves_every_trained_weight_and_no_other(open_run, train):
    run = open_run(train=train, tasks={"fill": 1.0}, lam=1.0)
    shake(run)
    before = {name: weight.detach().clone() for name, weight in all_weights(run).items()}
    take_step(run)
    trained = {id(parameter) for parameter in run.policy.trainable_parameters().values()}
    for name, parameter in all_weights(run).items():
        moved = not torch.equal(parameter, before[name])
        assert moved == (id(parameter) in trained), name


def test_at_the_start_policy_and_reference_paint_alike(open_run):
    run = open_run()
    batch, conditions, (noise, _) = begin_step(run)
    mine = full_denoising(run.policy, batch, conditions, noise, run.samplers["fill"])
    other = reference_images(
        run.policy, run.reference, batch, conditions, noise, run.samplers["fill"]
    )
    assert torch.equal(mine, other)


def test_pixels_outside_the_mask_are_the_samples_own_and_pass_no_gradient(open_run):
    run = open_run()
    batch, conditions, (noise, _) = begin_step(run)
    partial = partial_denoising(run.policy, batch, conditions, noise, run.samplers["fill"], until=2)
    latents = predicted_latents(run.policy, conditions, partial, run.samplers["fill"])
    images = gradient_images(run.policy, batch, conditions, latents)
    outside = (batch.masks == 0).expand_as(images)
    assert torch.equal(images[outside], batch.images[outside])
    assert images.requires_grad and not partial.latents.requires_grad


def test_carried_on_is_what_sampling_ends_at_with_the_gradient_of_the_prediction(open_run):
    run = open_run()
    shake(run)
    batch, conditions, (noise, _) = begin_step(run)
    sampler = run.samplers["fill"]
    whole = full_denoising(run.policy, batch, conditions, noise, sampler)
    for until in range(sampler.steps):
        partial = partial_denoising(run.policy, batch, conditions, noise, sampler, until=until)
        latents = predicted_latents(run.policy, conditions, partial, sampler)
        end = carried_on(run.policy, conditions, partial, latents, sampler)
        images = gradient_images(run.policy, batch, conditions, end)
        assert torch.allclose(images, whole, atol=1e-5)
        (gradient,) = torch.autograd.grad(end.sum(), latents)
        assert torch.equal(gradient, torch.ones_like(latents))


@pytest.mark.parametrize("image", ["predicted", "sampled"])
def test_the_judge_sees_what_is_asked_for(open_run, monkeypatch, image):
    run = open_run(image=image, tasks={"fill": 1.0}, step_range=[0, 0])
    shake(run)
    seen = []
    answer = run.reward.logits

    def note(images, *rest):
        seen.append(images.detach())
        return answer(images, *rest)

    monkeypatch.setattr(run.reward, "logits", note)
    batch, conditions, (noise, _) = begin_step(run)
    run.cursor["fill"] = 0
    take_step(run)
    whole = full_denoising(run.policy, batch, conditions, noise, run.samplers["fill"])
    # The step has moved the weights a little since.
    assert torch.allclose(seen[0], whole, atol=0.02) == (image == "sampled")


def test_learning_raises_the_reward(open_run):
    """On one batch and one noise, a dozen updates please the judge more than the start did."""
    run = open_run(train="full", tasks={"removal": 1.0}, lam=1.0, batch_size=4, step_range=[2, 2])
    losses = []
    for _ in range(12):
        run.cursor["removal"], run.step = 0, 0
        losses.append(take_step(run).loss)
    assert losses[-1] < losses[0] - 0.03


def test_each_image_is_asked_every_dimension_that_applies(open_run):
    run = open_run()
    questions = build_questions([run.tasks["extend"]] * 2, ["a cat", None])
    assert questions.samples == [0, 0, 0, 0, 1, 1, 1]
    assert {name: len(rows) for name, rows in questions.rows["extend"].items()} == {
        "consistency": 2,
        "structure": 2,
        "text-alignment": 1,
        "aesthetics": 2,
    }
    assert sum("Prompt: a cat." in query for query in questions.queries) == 1


def test_asking_all_at_once_answers_as_asking_one_by_one(open_run):
    run = open_run(reward={"shift": 0, "resize": 0.0})
    generator = torch.Generator().manual_seed(0)
    first, second = torch.rand(2, 3, 3, 32, 32, generator=generator)
    tasks = [run.tasks[name] for name in ("extend", "removal", "extend")]
    questions = build_questions(tasks, ["a cat", None, None])
    assert {task: len(found) for task, found in questions.rows.items()} == {
        "extend": 4,
        "removal": 1,
    }
    together = run.reward.logits(first, second, questions, 0, range(3))
    for task, of_task in questions.rows.items():
        for dimension, rows in of_task.items():
            for place, row in enumerate(rows):
                one = slice(questions.samples[row], questions.samples[row] + 1)
                alone = run.judge.prob_first_better(
                    first[one], second[one], [questions.queries[row]]
                )
                answer = torch.sigmoid(together[task][dimension][place]).item()
                assert answer == pytest.approx(alone.item(), abs=1e-5)


def test_preferences_do_not_depend_on_the_order(open_run):
    run = open_run()
    generator = torch.Generator().manual_seed(0)
    first, second = torch.rand(2, 2, 3, 32, 32, generator=generator)
    questions = build_questions([run.tasks["removal"]] * 2, [None, None])
    forward = preferences(run.judge, first, second, questions)["removal"]["removal-quality"]
    backward = preferences(run.judge, second, first, questions)["removal"]["removal-quality"]
    assert [a + b for a, b in zip(forward, backward, strict=True)] == pytest.approx([1, 1])
    assert forward != pytest.approx([0.5, 0.5], abs=1e-4)

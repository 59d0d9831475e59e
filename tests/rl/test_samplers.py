"""What is measured is what an edit gives, and rollouts go where an edit goes."""

from __future__ import annotations

import zlib

import pytest
import torch

from onefill.edit.painting import Subject, paint_subjects
from onefill.errors import BadInput
from onefill.images import array_to_image
from onefill.policy.sampler import Sampling
from onefill.policy.sampling import sigma_schedule
from onefill.rl.loop import take_step
from onefill.rl.randomness import Purpose, noise_generators


def test_steps_are_an_edits_when_measuring_and_fewer_in_rollouts(open_run, removing_policy):
    tasks = {"fill": 1.0, "removal": 1.0}
    run = open_run(policy=removing_policy, tasks=tasks, sampler_steps=None)
    for measured in (run.held_out._samplers, run.monitor._samplers):
        assert {name: (s.steps, s.strength) for name, s in measured.items()} == {
            "fill": (6, 1.0),
            "removal": (3, 0.8),
        }
    assert {name: s.steps for name, s in run.samplers.items()} == {"fill": 3, "removal": 3}

    named = open_run(name="named", policy=removing_policy, tasks=tasks, sampler_steps=5)
    for samplers in (named.held_out._samplers, named.samplers):
        assert {name: s.steps for name, s in samplers.items()} == {"fill": 5, "removal": 5}


def test_a_held_out_removal_is_what_an_edit_paints(open_run, removing_policy):
    run = open_run(policy=removing_policy, tasks={"removal": 1.0}, sampler_steps=None)
    scenes = run.held_out.scenes("removal")
    batch = scenes.batch
    subjects = [
        Subject(view=array_to_image(image.numpy()), mask=mask[0].bool().numpy(), prompt=prompt)
        for image, mask, prompt in zip(batch.images, batch.masks, batch.prompts, strict=True)
    ]
    number, places = zlib.crc32(b"removal"), range(len(batch))
    generators = noise_generators(0, Purpose.HELD_OUT_NOISE, number, places)
    sampling = Sampling().settle(run.policy, "removal")
    edits = paint_subjects(subjects, generators, run.policy, sampling)
    for edit, shown, mask in zip(edits, scenes.start, batch.masks, strict=True):
        inside = mask[0].bool()
        painted = torch.tensor(list(edit.get_flattened_data())).view(*inside.shape, 3)[inside]
        expected = (shown * 255).permute(1, 2, 0)[inside]
        torch.testing.assert_close(painted.float(), expected, atol=0.6, rtol=0)


def test_a_rollout_never_meets_more_noise_than_an_edit(open_run, removing_policy):
    run = open_run(
        policy=removing_policy, tasks={"removal": 1.0}, sampler_steps=None, step_range=[0.0, 1.0]
    )
    config = run.policy.pipeline.scheduler.config
    tokens = (run.policy.settings.size // run.policy.settings.multiple) ** 2
    sigmas = sigma_schedule(config, 3, tokens)
    allowed = [t for t in range(3) if sigmas[t] <= 0.8]
    assert list(run.gradient_steps["removal"]) == allowed
    for _ in range(3):
        take_step(run)
    for row in run.metrics.read("step"):
        assert row["gradient_step"] in allowed
        assert row["sigma"] == pytest.approx(sigmas[row["gradient_step"]].item())


def test_a_range_that_counts_steps_of_another_task_is_refused(open_run, removing_policy):
    tasks = {"fill": 1.0, "removal": 1.0}
    with pytest.raises(BadInput, match="the sampler has steps 0 to 2 for fill"):
        open_run(policy=removing_policy, tasks=tasks, sampler_steps=None, step_range=[2, 4])


def test_tasks_that_are_painted_otherwise_do_not_share_a_batch(open_run, removing_policy):
    unlike = {"fill": 1.0, "removal": 1.0}
    told = (
        r"fill \(steps 3, strength 1\) and removal \(steps 3, strength 0\.8\) cannot share a batch"
    )
    with pytest.raises(BadInput, match=f"^tasks_per_step 2: {told}; leave one out"):
        open_run(policy=removing_policy, tasks=unlike, tasks_per_step=2, sampler_steps=None)
    alike = {"fill": 1.0, "extend": 1.0}
    run = open_run(policy=removing_policy, tasks=alike, tasks_per_step=2, sampler_steps=None)
    assert take_step(run).rewards.keys() == alike.keys()

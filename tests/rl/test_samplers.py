"""What is measured is what an edit gives, and rollouts go where an edit goes."""

from __future__ import annotations

import zlib

import pytest
import torch

import onefill.rl.loop
from onefill.edit.painting import Subject, paint_subjects
from onefill.errors import BadInput
from onefill.images import array_to_image
from onefill.policy.sampler import Sampling, SettledSampling
from onefill.policy.sampling import sigma_schedule
from onefill.rl.loop import take_step
from onefill.rl.randomness import Purpose, noise_generators
from onefill.rl.samplers import split_by_sampler


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
        painted = torch.from_numpy(edit.picture * 255).permute(1, 2, 0)[inside]
        expected = (shown * 255).permute(1, 2, 0)[inside]
        torch.testing.assert_close(painted, expected, atol=0.6, rtol=0)


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
        assert row["gradient_step"]["removal"] in allowed
        assert row["sigma"]["removal"] == pytest.approx(
            sigmas[row["gradient_step"]["removal"]].item()
        )


def test_a_range_that_counts_steps_of_another_task_is_refused(open_run, removing_policy):
    tasks = {"fill": 1.0, "removal": 1.0}
    with pytest.raises(BadInput, match="the sampler has steps 0 to 2 for fill"):
        open_run(policy=removing_policy, tasks=tasks, sampler_steps=None, step_range=[2, 4])


def test_tasks_that_are_painted_otherwise_share_a_step_in_parts(
    open_run, removing_policy, monkeypatch
):
    tasks = {"fill": 1.0, "removal": 1.0}
    run = open_run(
        policy=removing_policy,
        tasks=tasks,
        tasks_per_step=2,
        batch_size=4,
        sampler_steps=None,
        step_range=[0.0, 1.0],
    )
    painted = []
    partial = onefill.rl.loop.partial_denoising

    def note(policy, part, conditions, noise, sampler, until):
        painted.append(([task.name for task in part.tasks], sampler, until))
        return partial(policy, part, conditions, noise, sampler, until)

    monkeypatch.setattr(onefill.rl.loop, "partial_denoising", note)
    report = take_step(run)
    assert report.rewards.keys() == tasks.keys()
    (row,) = run.metrics.read("step")
    for task, (names, sampler, until) in zip(row["tasks"], painted, strict=True):
        assert names == [task] * 2
        assert sampler == run.samplers[task] and sampler.strength == {"fill": 1.0}.get(task, 0.8)
        assert until == row["gradient_step"][task] and until in run.gradient_steps[task]


@pytest.mark.parametrize(
    ("tasks", "parts"),
    [("ffff", [(2, 6)]), ("fffrrr", [(2, 3), (3, 6)]), ("eeffrr", [(2, 4), (4, 6)])],
)
def test_a_batch_is_split_where_the_sampler_changes(tasks, parts):
    samplers = {
        "f": SettledSampling(steps=3, guidance=1.0, negative="", strength=1.0),
        "e": SettledSampling(steps=3, guidance=1.0, negative="", strength=1.0),
        "r": SettledSampling(steps=3, guidance=1.0, negative="", strength=0.8),
    }
    places = range(2, 6)
    found = split_by_sampler(places, tasks.ljust(6, tasks[-1]), samplers)
    assert [(part.start, part.stop) for part in found] == parts

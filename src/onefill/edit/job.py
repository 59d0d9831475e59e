"""Carry out planned edits: paint what fits into one batch together, stitch, write."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from onefill.edit.canvas import Canvas
from onefill.edit.crop import Box, Crop, bounding_box, choose_crop, shrink_mask
from onefill.edit.debug import save_pass
from onefill.edit.encode import write_picture
from onefill.edit.enlarge import enlarge
from onefill.edit.painting import Subject, paint_subjects
from onefill.edit.passes import Pass
from onefill.edit.record import EditRecord
from onefill.edit.request import EditPlan
from onefill.edit.show import show_crop
from onefill.edit.stitch import default_feather, feather_weights, stitch
from onefill.policy.flux_fill import FluxFillPolicy
from onefill.policy.sampler import Sampling, SettledSampling
from onefill.policy.settings import PolicySettings
from onefill.tasks.types import Mask

_BATCH_WORKING_PIXELS = 2 * 1024 * 1024
_BATCH_CANVAS_BYTES = 512 * 2**20


@dataclass(frozen=True, kw_only=True)
class Signature:
    """Whose work a result is, for the record in the file.

    Attributes:
        model: as the user named it.
        adapter: likewise.
        key: of an edit of a batch, see ``onefill.edit.key``.
    """

    model: str
    adapter: str | None = None
    key: str | None = None


@dataclass(frozen=True, kw_only=True)
class EditResult:
    """A file that was written."""

    path: Path
    seed: int
    width: int
    height: int


def run_edit(
    plan: EditPlan,
    policy: FluxFillPolicy,
    sampling: Sampling,
    signature: Signature | None = None,
) -> Iterator[EditResult]:
    """Paint and write every result of a plan; each is written as soon as it is done.

    The same seed gives the same result whatever the number of candidates, up to the rounding
    of batched arithmetic.

    Args:
        plan: what to do.
        policy: paints.
        sampling: how.
        signature: what results tell of their making; None leaves that out.

    Raises:
        BadInput: the prompt is longer than the policy reads; nothing has been written then.
        OnefillError: a result cannot be written.
    """
    room = max(1, _BATCH_CANVAS_BYTES // plan.canvas.pixels.nbytes)
    batch = min(batch_size(policy.settings), room)
    for start in range(0, len(plan.seeds), batch):
        seeds = plan.seeds[start : start + batch]
        for seed, canvas in zip(seeds, paint(plan, policy, sampling, seeds), strict=True):
            yield write_result(plan, seed, canvas, policy, sampling, signature)


def batch_size(settings: PolicySettings) -> int:
    """How many crops a model of these settings paints at once."""
    return max(1, _BATCH_WORKING_PIXELS // settings.size**2)


def fits_together(plans: Sequence[EditPlan]) -> bool:
    """Whether the canvases of several plans, one for each seed, may be held in memory together."""
    held = sum(plan.canvas.pixels.nbytes * (1 + len(plan.seeds)) for plan in plans)
    return held <= _BATCH_CANVAS_BYTES


def write_result(
    plan: EditPlan,
    seed: int,
    canvas: Canvas,
    policy: FluxFillPolicy,
    sampling: Sampling,
    signature: Signature | None,
) -> EditResult:
    """Write one painted canvas to the place that the plan has for its seed.

    Raises:
        OnefillError: it cannot be written.
    """
    path = plan.outputs[plan.seeds.index(seed)]
    record = None
    if signature is not None:
        settled = sampling.settle(policy, plan.task)
        record = EditRecord(
            task=plan.task,
            prompt=plan.prompt,
            seed=seed,
            model=signature.model,
            adapter=signature.adapter,
            negative=settled.negative if settled.guidance > 1 else None,
            steps=settled.steps,
            guidance=settled.guidance,
            strength=settled.strength if settled.strength < 1 else None,
            key=signature.key,
        )
    write_picture(path, canvas, plan.photo, record)
    return EditResult(path=path, seed=seed, width=canvas.box.width, height=canvas.box.height)


def paint(
    plan: EditPlan, policy: FluxFillPolicy, sampling: Sampling, seeds: Sequence[int]
) -> list[Canvas]:
    """The edited canvas of each seed; the plan's own canvas is left as it is."""
    return paint_together([(plan, seed) for seed in seeds], policy, sampling)


def paint_together(
    edits: Sequence[tuple[EditPlan, int]], policy: FluxFillPolicy, sampling: Sampling
) -> list[Canvas]:
    """The edited canvas of each (plan, seed), in order.

    Crops of one working size are painted in one batch, whatever edits they belong to.

    Raises:
        BadInput: a prompt is longer than the policy reads.
    """
    works = [_Work(plan, seed) for plan, seed in edits]
    for number in range(max(len(work.plan.passes) for work in works)):
        present = [work for work in works if number < len(work.plan.passes)]
        _paint_pass(present, number, policy, sampling)
    return [work.canvas for work in works]


@dataclass
class _Work:
    """One result on its way."""

    plan: EditPlan
    seed: int
    canvas: Canvas = field(init=False)
    generator: torch.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.canvas = self.plan.canvas
        self.generator = torch.Generator().manual_seed(self.seed)


@dataclass(frozen=True)
class _Scene:
    """What all results of one plan share in one pass."""

    crop: Crop
    model_mask: Mask
    weights: NDArray[np.float32]
    prompt: str
    sampling: SettledSampling


def _paint_pass(
    works: Sequence[_Work], number: int, policy: FluxFillPolicy, sampling: Sampling
) -> None:
    scenes: dict[int, _Scene] = {}
    # Until its first pass is done all results of a plan look the same, and one encoding serves all.
    subjects: dict[tuple[int, int], Subject] = {}
    groups: defaultdict[object, list[tuple[_Work, _Scene, Subject]]] = defaultdict(list)
    for work in works:
        if id(work.plan) not in scenes:
            scenes[id(work.plan)] = _set_scene(work.plan, number, policy, sampling)
        scene = scenes[id(work.plan)]
        key = (id(work.plan), id(work.canvas))
        if key not in subjects:
            view = show_crop(work.canvas, scene.crop, scene.model_mask)
            subjects[key] = Subject(view=view, mask=scene.model_mask, prompt=scene.prompt)
        size = (scene.crop.width, scene.crop.height)
        groups[(size, scene.sampling)].append((work, scene, subjects[key]))
    batch = batch_size(policy.settings)
    for group in groups.values():
        for start in range(0, len(group), batch):
            _paint_group(group[start : start + batch], number, policy)


def _paint_group(
    group: Sequence[tuple[_Work, _Scene, Subject]], number: int, policy: FluxFillPolicy
) -> None:
    paintings = paint_subjects(
        [subject for _, _, subject in group],
        [work.generator for work, _, _ in group],
        policy,
        group[0][1].sampling,
    )
    for (work, scene, subject), painting in zip(group, paintings, strict=True):
        patch = enlarge(painting, work.canvas, scene.crop)
        work.canvas = stitch(work.canvas, scene.crop, patch, scene.weights)
        plan = work.plan
        if plan.debug is not None and work.seed == plan.seeds[0]:
            save_pass(
                plan.debug,
                f"{plan.outputs[0].stem}-pass-{number + 1}",
                subject.view,
                scene.model_mask,
                scene.crop,
                scene.weights,
                plan.canvas.box,
            )


def _set_scene(plan: EditPlan, number: int, policy: FluxFillPolicy, sampling: Sampling) -> _Scene:
    step = plan.passes[number]
    crop = crop_for(step, policy.settings, plan.task, plan.feather)
    mask = _mask_of(step, crop.box)
    return _Scene(
        crop=crop,
        model_mask=shrink_mask(mask, crop),
        weights=feather_weights(mask, feather_of(plan, crop)),
        prompt=step.prompt,
        sampling=sampling.settle(policy, plan.task),
    )


def crop_for(step: Pass, settings: PolicySettings, task: str, feather: int | None) -> Crop:
    """The crop in which a pass is painted, in pixels of the canvas."""
    target = bounding_box(step.mask)
    return choose_crop(
        Box(target.x + step.bounds.x, target.y + step.bounds.y, target.width, target.height),
        step.bounds,
        size=settings.size,
        multiple=settings.multiple,
        context=settings.context_for(task),
        feather=feather or 0,
    )


def feather_of(plan: EditPlan, crop: Crop) -> int:
    """Width of the blended band of a crop, in pixels of the canvas."""
    return default_feather(crop) if plan.feather is None else plan.feather


def _mask_of(step: Pass, box: Box) -> Mask:
    inner = Box(box.x - step.bounds.x, box.y - step.bounds.y, box.width, box.height)
    return step.mask[inner.slices]

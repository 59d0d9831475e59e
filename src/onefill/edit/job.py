"""Carry out a planned edit: paint all candidates of a batch at once, stitch, write."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from onefill.edit.canvas import Canvas
from onefill.edit.crop import Box, Crop, bounding_box, choose_crop, shrink_mask, shrink_picture
from onefill.edit.debug import save_pass
from onefill.edit.encode import write_picture
from onefill.edit.match import fill_smoothly, match_colours
from onefill.edit.request import EditPlan, Pass
from onefill.edit.stitch import default_feather, feather_weights, stitch
from onefill.images import array_to_image, image_to_array
from onefill.policy.flux_fill import FluxFillPolicy
from onefill.policy.settings import PolicySettings
from onefill.tasks.types import Mask

_BATCH_WORKING_PIXELS = 2 * 1024 * 1024
_BATCH_CANVAS_BYTES = 512 * 2**20


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How the policy denoises; None takes the policy's own setting.

    Attributes:
        steps: Euler steps, at least 1.
        guidance: true classifier-free guidance scale; 1.0 is off.
        negative: what guidance leads away from.
        strength: noise level in (0, 1] at which painting begins from the surroundings carried
            into the mask; 1.0 begins from noise alone.
    """

    steps: int | None = None
    guidance: float | None = None
    negative: str | None = None
    strength: float | None = None


@dataclass(frozen=True, kw_only=True)
class EditResult:
    """A file that was written."""

    path: Path
    seed: int
    width: int
    height: int


def run_edit(plan: EditPlan, policy: FluxFillPolicy, sampling: Sampling) -> Iterator[EditResult]:
    """Paint and write every result of a plan; each is written as soon as it is done.

    The same seed gives the same result whatever the number of candidates, up to the rounding
    of batched arithmetic.

    Raises:
        BadInput: the prompt is longer than the policy reads; nothing has been written then.
        OnefillError: a result cannot be written.
    """
    batch = _batch_size(plan, policy)
    for start in range(0, len(plan.seeds), batch):
        seeds = plan.seeds[start : start + batch]
        canvases = paint(plan, policy, sampling, seeds)
        for seed, path, canvas in zip(seeds, plan.outputs[start:], canvases, strict=False):
            write_picture(path, canvas, plan.photo)
            box = canvas.box
            yield EditResult(path=path, seed=seed, width=box.width, height=box.height)


def _batch_size(plan: EditPlan, policy: FluxFillPolicy) -> int:
    model = _BATCH_WORKING_PIXELS // policy.settings.size**2
    return max(1, min(model, _BATCH_CANVAS_BYTES // plan.canvas.pixels.nbytes))


def paint(
    plan: EditPlan, policy: FluxFillPolicy, sampling: Sampling, seeds: Sequence[int]
) -> list[Canvas]:
    """The edited canvas of each seed; the plan's own canvas is left as it is."""
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    canvases = [plan.canvas] * len(seeds)
    for number, step in enumerate(plan.passes, 1):
        crop = crop_for(step, policy.settings, plan.feather)
        mask = _mask_of(step, crop.box)
        weights = feather_weights(mask, feather_of(plan, crop))
        model_mask = shrink_mask(mask, crop)
        # Until the first pass is done all candidates look the same, and one encoding serves all.
        looks = canvases[:1] if number == 1 else canvases
        views = [shrink_picture(canvas.view(crop.box), crop) for canvas in looks]
        patches = _paint_crops(views, model_mask, plan, generators, policy, sampling)
        canvases = [
            stitch(canvas, crop, patch, weights)
            for canvas, patch in zip(canvases, patches, strict=True)
        ]
        if plan.debug is not None and seeds[0] == plan.seeds[0]:
            stem = f"{plan.outputs[0].stem}-pass-{number}"
            save_pass(plan.debug, stem, views[0], model_mask, crop, weights, plan.canvas.box)
    return canvases


def crop_for(step: Pass, settings: PolicySettings, feather: int | None) -> Crop:
    """The crop in which a pass is painted, in pixels of the canvas."""
    target = bounding_box(step.mask)
    return choose_crop(
        Box(target.x + step.bounds.x, target.y + step.bounds.y, target.width, target.height),
        step.bounds,
        size=settings.size,
        multiple=settings.multiple,
        feather=feather or 0,
    )


def feather_of(plan: EditPlan, crop: Crop) -> int:
    """Width of the blended band of a crop, in pixels of the canvas."""
    return default_feather(crop) if plan.feather is None else plan.feather


def _mask_of(step: Pass, box: Box) -> Mask:
    inner = Box(box.x - step.bounds.x, box.y - step.bounds.y, box.width, box.height)
    return step.mask[inner.slices]


@torch.no_grad()
def _paint_crops(
    views: list[Image.Image],
    mask: Mask,
    plan: EditPlan,
    generators: list[torch.Generator],
    policy: FluxFillPolicy,
    sampling: Sampling,
) -> list[Image.Image]:
    """One painting of the working size per generator; a single view serves all of them."""
    known = [image_to_array(view) for view in views]
    images = torch.from_numpy(np.stack(known))
    masks = torch.from_numpy(mask.astype(np.float32)).expand(len(views), 1, *mask.shape)
    conditions = policy.encode(images, masks, [plan.prompt] * len(views), sampling.negative)
    settings = policy.settings
    strength = sampling.strength
    if strength is None:
        strength = settings.strength.get(plan.task, 1.0)
    start = None
    if strength < 1:
        start = torch.from_numpy(np.stack([fill_smoothly(view, mask) for view in known]))
    if len(views) < len(generators):
        conditions = conditions.select([0] * len(generators))
        start = start if start is None else start.expand(len(generators), -1, -1, -1)
        known *= len(generators)
    latents = policy.sample(
        conditions,
        policy.noise(conditions, generators),
        steps=settings.steps if sampling.steps is None else sampling.steps,
        guidance=settings.guidance if sampling.guidance is None else sampling.guidance,
        start=start,
        strength=strength,
    )
    painted = policy.decode(latents, conditions).cpu().numpy()
    return [
        array_to_image(match_colours(image, before, mask))
        for image, before in zip(painted, known, strict=True)
    ]

"""Crops to paintings: many at once, each distinct crop encoded once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from onefill.images import image_to_array
from onefill.policy.finishing import Finished, finish
from onefill.policy.flux_fill import FluxFillPolicy
from onefill.policy.sampler import SettledSampling
from onefill.policy.surroundings import fill_smoothly
from onefill.tasks.types import Mask


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is painted, apart from chance.

    Attributes:
        view: the crop at the working size.
        mask: (H, W) of the view, True where the model paints.
        prompt: text for the model.
    """

    view: Image.Image
    mask: Mask
    prompt: str


@torch.no_grad()
def paint_subjects(
    subjects: Sequence[Subject],
    generators: Sequence[torch.Generator],
    policy: FluxFillPolicy,
    sampling: SettledSampling,
) -> list[Finished]:
    """One painting for each subject, all in one batch, at the size of its view.

    Args:
        subjects: views of one size; one object that comes several times is encoded once.
        generators: of the noise, one for each subject.
        policy: paints.
        sampling: how.

    Raises:
        BadInput: a prompt is longer than the policy reads.
    """
    distinct = list({id(subject): subject for subject in subjects}.values())
    places = {id(subject): place for place, subject in enumerate(distinct)}
    index = [places[id(subject)] for subject in subjects]
    known = [image_to_array(subject.view) for subject in distinct]
    masks = np.stack([subject.mask for subject in distinct])[:, None]
    conditions = policy.encode(
        torch.from_numpy(np.stack(known)),
        torch.from_numpy(masks.astype(np.float32)),
        [subject.prompt for subject in distinct],
        sampling.negative,
    )
    if len(distinct) < len(subjects):
        conditions = conditions.select(index)
    start = None
    if sampling.strength < 1:
        pairs = zip(known, distinct, strict=True)
        filled = np.stack([fill_smoothly(picture, subject.mask) for picture, subject in pairs])
        start = torch.from_numpy(filled[index])
    latents = policy.sample(
        conditions,
        policy.noise(conditions, list(generators)),
        steps=sampling.steps,
        guidance=sampling.guidance,
        start=start,
        strength=sampling.strength,
    )
    painted = policy.decode(latents, conditions).cpu().numpy()
    wanted = {"detail": sampling.detail, "pieces": sampling.pieces}
    return [
        finish(picture, known[place], distinct[place].mask, **wanted)
        for picture, place in zip(painted, index, strict=True)
    ]

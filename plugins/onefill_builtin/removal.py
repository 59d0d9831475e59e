"""Removal: take an object out and paint the background that it hid."""

from __future__ import annotations

import numpy as np
from PIL import Image

from onefill.tasks import shapes
from onefill.tasks.hookspecs import hookimpl
from onefill.tasks.types import Dimension, Mask, MaskOptions, PromptTemplate, Task

_SHAPES = (shapes.blob, shapes.box, shapes.brush)


def cover(image: Image.Image, rng: np.random.Generator, options: MaskOptions) -> Mask:
    """A blob, a box or broad brush strokes over an object, 10 to 35 % of the picture."""
    shape = _SHAPES[rng.integers(len(_SHAPES))]
    if shape is shapes.brush:
        return shapes.brush(image.size, rng, (0.10, 0.35), width=0.25)
    return shape(image.size, rng, (0.10, 0.35))


@hookimpl
def onefill_tasks() -> list[Task]:
    """The removal task."""
    return [
        Task(
            name="removal",
            summary="Take an object out",
            masks=cover,
            # The published model's own prompt; whatever the user types does not change the job.
            prompt=PromptTemplate(with_words="remove", without_words="remove"),
            dimensions=(
                Dimension(
                    name="removal-quality",
                    question="Is the object gone, with plausible background in its place and "
                    "nothing new put there?",
                ),
            ),
        )
    ]

"""Fill: paint what the prompt says into a hole."""

from __future__ import annotations

import numpy as np
from PIL import Image

from onefill.tasks import shapes
from onefill.tasks.hookspecs import hookimpl
from onefill.tasks.types import Mask, MaskOptions, PromptTemplate, Task
from onefill_builtin.dimensions import AESTHETICS, CONSISTENCY, STRUCTURE, TEXT_ALIGNMENT

_SHAPES = (shapes.box, shapes.ellipse, shapes.blob, shapes.brush)


def hole(image: Image.Image, rng: np.random.Generator, options: MaskOptions) -> Mask:
    """A box, ellipse, blob or brush strokes anywhere, 10 to 40 % of the picture."""
    shape = _SHAPES[rng.integers(len(_SHAPES))]
    return shape(image.size, rng, (0.10, 0.40))


@hookimpl
def onefill_tasks() -> list[Task]:
    """The fill task."""
    return [
        Task(
            name="fill",
            summary="Paint something new into a hole",
            masks=hole,
            prompt=PromptTemplate(with_words="{words}"),
            dimensions=(CONSISTENCY, STRUCTURE, TEXT_ALIGNMENT, AESTHETICS),
        )
    ]

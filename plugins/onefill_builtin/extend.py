"""Extend: paint what lies beyond the borders of a picture."""

from __future__ import annotations

import numpy as np
from PIL import Image

from onefill.tasks import shapes
from onefill.tasks.hookspecs import hookimpl
from onefill.tasks.types import Mask, MaskOptions, PromptTemplate, Task
from onefill_builtin.dimensions import AESTHETICS, CONSISTENCY, STRUCTURE, TEXT_ALIGNMENT


def surroundings(image: Image.Image, rng: np.random.Generator, options: MaskOptions) -> Mask:
    """All outside the kept picture; in training one side, two, or all round, 18 to 57 %."""
    keep = options.get("keep")
    if keep is not None:
        return shapes.outside(image.size, keep)
    return shapes.border(image.size, rng, (0.18, 0.57))


@hookimpl
def onefill_tasks() -> list[Task]:
    """The extend task."""
    return [
        Task(
            name="extend",
            summary="Paint what lies beyond the borders",
            masks=surroundings,
            # Without words: the published model's own prompt for extension.
            prompt=PromptTemplate(
                with_words="{words}",
                without_words="high-definition, perfect composition",
            ),
            dimensions=(CONSISTENCY, STRUCTURE, TEXT_ALIGNMENT, AESTHETICS),
        )
    ]

"""Text: write the words of the prompt into a picture."""

from __future__ import annotations

import numpy as np
from PIL import Image

from onefill.tasks import shapes
from onefill.tasks.hookspecs import hookimpl
from onefill.tasks.types import Dimension, Mask, MaskOptions, PromptTemplate, Task
from onefill_builtin.dimensions import AESTHETICS, CONSISTENCY


def line_box(image: Image.Image, rng: np.random.Generator, options: MaskOptions) -> Mask:
    """A box wide enough for a line of text, 9 to 35 % of the picture."""
    return shapes.wide_box(image.size, rng, (0.09, 0.35))


@hookimpl
def onefill_tasks() -> list[Task]:
    """The text task."""
    return [
        Task(
            name="text",
            summary="Write the words of the prompt into the picture",
            masks=line_box,
            prompt=PromptTemplate(with_words="{words}"),
            dimensions=(
                CONSISTENCY,
                Dimension(
                    name="text-alignment",
                    question="Does the painted area show exactly the words of the prompt, "
                    "complete and readable?",
                    uses_prompt=True,
                ),
                AESTHETICS,
            ),
        )
    ]

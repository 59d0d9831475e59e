"""What a task is: a mask generator, a prompt template and the dimensions a judge is asked about.

A task only describes. It knows neither torch nor any model, so that a plugin stays about
40 lines long and the command line stays quick.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from onefill.errors import BadInput, OnefillError

Mask = NDArray[np.bool_]
"""Shape (H, W) of the image it belongs to; True is where the model paints."""

MaskOptions = Mapping[str, Any]
"""What the caller knows about the wanted mask; every key is optional.

``keep``: (x, y, width, height) in pixels, the part of an enlarged canvas that holds the picture.
"""

MaskGenerator = Callable[[Image.Image, np.random.Generator, MaskOptions], Mask]

_NAME = re.compile(r"[a-z][a-z0-9-]*")


def _check_name(kind: str, name: object) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(f"{kind} name {name!r} must be lower-case letters, digits and hyphens")


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """One thing a judge can be asked about two results.

    Attributes:
        name: short name, as typed after ``--dim``: ``text-alignment``.
        question: the sentence that explains the dimension to the judge.
        uses_prompt: whether the user's prompt is part of the query. In the paper only text
            alignment is judged with the prompt (section 3.1, the query Phi).
    """

    name: str
    question: str
    uses_prompt: bool = False

    def __post_init__(self) -> None:
        _check_name("dimension", self.name)
        if not isinstance(self.question, str) or not self.question.strip():
            raise ValueError(f"dimension {self.name!r} needs a question for the judge")
        if not isinstance(self.uses_prompt, bool):
            raise ValueError(f"dimension {self.name!r}: uses_prompt is True or False")


@dataclass(frozen=True, kw_only=True)
class PromptTemplate:
    """Turns the user's words, or none, into the text the model is given.

    Attributes:
        with_words: text with one ``{words}`` field, used when the user typed something.
        without_words: text used when the user typed nothing; None if words are required.
    """

    with_words: str = "{words}"
    without_words: str | None = None

    def __post_init__(self) -> None:
        for text in (self.with_words, self.without_words):
            if text is not None and not isinstance(text, str):
                raise ValueError(f"a prompt template is made of text, not {text!r}")
        try:
            self.with_words.format(words="x")
        except (AttributeError, KeyError, IndexError, ValueError) as error:
            raise ValueError(
                f"template {self.with_words!r}: only {{words}} may stand in it"
            ) from error

    def render(self, words: str | None) -> str:
        """The model's prompt for what the user typed.

        Raises:
            BadInput: nothing was typed and the task cannot do without.
        """
        if words is not None and words.strip():
            return self.with_words.format(words=words.strip())
        if self.without_words is None:
            raise BadInput(
                "--prompt: this task needs one; say what to paint, as --prompt 'straw hat'"
            )
        return self.without_words


@dataclass(frozen=True, kw_only=True)
class Task:
    """A kind of masked edit.

    Attributes:
        name: as typed after ``--task`` and ``--tasks``.
        summary: one line for ``onefill tasks``.
        masks: draws a training mask for an image, or the automatic mask of an edit.
        prompt: how the user's words become the model's prompt.
        dimensions: what a judge is asked about; at least one.
    """

    name: str
    summary: str
    masks: MaskGenerator
    prompt: PromptTemplate
    dimensions: tuple[Dimension, ...]

    def __post_init__(self) -> None:
        _check_name("task", self.name)
        if not isinstance(self.summary, str) or not self.summary.strip():
            raise ValueError(f"task {self.name!r} needs a summary of one line")
        if not callable(self.masks):
            raise ValueError(f"task {self.name!r}: masks must be callable")
        if not isinstance(self.prompt, PromptTemplate):
            raise ValueError(f"task {self.name!r}: prompt must be a PromptTemplate")
        if (
            not isinstance(self.dimensions, tuple)
            or not self.dimensions
            or not all(isinstance(d, Dimension) for d in self.dimensions)
        ):
            raise ValueError(f"task {self.name!r} needs a tuple of Dimension objects")
        names = [d.name for d in self.dimensions]
        if len(set(names)) != len(names):
            raise ValueError(f"task {self.name!r} names a dimension twice")

    def dimension(self, name: str) -> Dimension:
        """The dimension called ``name``.

        Raises:
            BadInput: this task is not judged on it.
        """
        for dimension in self.dimensions:
            if dimension.name == name:
                return dimension
        known = ", ".join(d.name for d in self.dimensions)
        raise BadInput(
            f"--dim {name}: task {self.name!r} has no such dimension; choose from {known}"
        )

    def draw_mask(
        self, image: Image.Image, rng: np.random.Generator, options: MaskOptions | None = None
    ) -> Mask:
        """Ask the generator for a mask and check what it returns.

        Args:
            image: the picture to be edited.
            rng: the only source of chance, so that a seed gives the same mask again.
            options: see ``MaskOptions``.

        Raises:
            OnefillError: the generator failed, or its mask is no boolean array of the image's
                (height, width), or is empty.
        """
        try:
            mask = self.masks(image, rng, options or {})
        except OnefillError:
            raise
        # A third party's code: whatever it raises, sys.exit too, is its task's failure.
        except (Exception, SystemExit) as error:
            raise OnefillError(
                f"task {self.name!r}: its mask generator raised {type(error).__name__}: {error}"
            ) from error
        expected = (image.height, image.width)
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != expected:
            got = (
                f"{mask.dtype} array of shape {mask.shape}"
                if isinstance(mask, np.ndarray)
                else type(mask).__name__
            )
            raise OnefillError(
                f"task {self.name!r}: the mask must be a boolean array of shape {expected}, "
                f"not {got}"
            )
        if not mask.any():
            raise OnefillError(f"task {self.name!r}: the mask is empty")
        return mask

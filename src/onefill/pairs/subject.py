"""What preference pairs are made of: a good result, and what is known of how it came about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from onefill.pocket.contests.damage_canvas import Canvas, Plane, blur_plane
from onefill.pocket.material.scenes import Rgb, to_bytes
from onefill.tasks.types import Mask, Task

Picture = NDArray[np.uint8]
"""Shape (H, W, 3), RGB."""

Layer = Rgb
"""Shape (H, W, 4): colours and how far they cover, values in [0, 1]."""

Write = Callable[[str, bool], Rgb]
"""(text, mirrored) to the picture with that text written in its region."""

CONSISTENCY, STRUCTURE, ALIGNMENT = "consistency", "structure", "text-alignment"
AESTHETICS, REMOVAL = "aesthetics", "removal-quality"
KNOWN = (CONSISTENCY, STRUCTURE, ALIGNMENT, AESTHETICS, REMOVAL)
"""The dimensions that there are damages for."""


@dataclass(frozen=True, eq=False)
class Subject:
    """A result without fault, to be damaged.

    Attributes:
        task: the edit it stands for.
        words: what the user typed, or None.
        scene: name of the picture it is made from; pairs of one scene share it.
        clean: the result, (H, W, 3) in [0, 1].
        mask: where it was painted.
        source: the picture before the edit.
        background: the result without the thing that was painted, or None where that is unknown.
        write: writes other text in place of the words, or None where nothing was written.
        rivals: other text that could have been written.
        gone: the thing that was taken away, where it lay, or None where that is unknown.
    """

    task: Task
    words: str | None
    scene: str
    clean: Rgb
    mask: Mask
    source: Picture
    background: Rgb | None = None
    write: Write | None = None
    rivals: tuple[str, ...] = ()
    gone: Layer | None = None

    @cached_property
    def canvas(self) -> Canvas:
        """What the damages are done to."""
        if self.background is None:
            return WholeRegion(self.clean, self.clean, self.mask)
        return Canvas(self.clean, self.background, self.mask)

    @property
    def on_border(self) -> bool:
        """Whether a whole side of the picture was painted, as when a picture is extended."""
        sides = (self.mask[0], self.mask[-1], self.mask[:, 0], self.mask[:, -1])
        return any(bool(side.all()) for side in sides)


class WholeRegion(Canvas):
    """A canvas of which only the picture is known: the thing is all that the region shows."""

    @cached_property
    def matte(self) -> Plane:
        """1 everywhere."""
        return np.ones((*self.shape, 1), np.float32)

    @cached_property
    def box(self) -> tuple[slice, slice]:
        """Rows and columns of the smallest box around the mask."""
        return bounds(self.mask)


class Material(Protocol):
    """Where subjects come from."""

    def fingerprint(self) -> str:
        """Short text that is another one for other material."""
        ...

    def why_not(self, task: Task, dimension: str) -> str | None:
        """Why this material has no subject for a dimension of a task; None if it has."""
        ...

    def subject(self, task: Task, dimension: str, rng: np.random.Generator) -> Subject:
        """Draw a good result of ``task`` that can be damaged in ``dimension``.

        Raises:
            BadInput: a picture cannot be used.
            OnefillError: the task drew no proper mask.
        """
        ...

    def other(self, subject: Subject, rng: np.random.Generator) -> Layer:
        """Something that the words do not ask for, laid where the subject was painted."""
        ...


def bounds(on: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Rows and columns of the smallest box around what is on."""
    rows, columns = np.flatnonzero(on.any(1)), np.flatnonzero(on.any(0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def soft_edge(mask: Mask, scale: float) -> Plane:
    """1 well inside the mask, going down to 0 at its edge: a paste that shows no hard seam."""
    shape = np.where(mask, 1, 0)[..., None].astype(np.float32)
    return np.clip(2 * blur_plane(shape, 1.2 * scale) - 1, 0, 1) * shape


def grey_out(clean: Rgb, mask: Mask) -> Picture:
    """The picture with its region grey: a source for results whose own source is unknown."""
    picture = to_bytes(clean)
    picture[mask] = 127
    return picture

"""A preference pair: two results of one edit, and, where somebody said it, which is better."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

WINNERS = ("first", "second", "tie")
"""What a pair may say of a dimension."""


@dataclass(frozen=True)
class PreferencePair:
    """One line of a pairs file.

    Attributes:
        first: one picture; the file's relative paths are already taken from its folder.
        second: the other picture, of any size.
        task: name of the edit that both are results of.
        prompt: what was asked for, or None.
        source: the picture that was edited, or None.
        mask: where it was edited, or None.
        dims: names of the dimensions asked about: those of ``dims``, else those that have a
            winner, else every dimension of the task that these words allow.
        winner: dimension to "first", "second" or "tie"; may be empty.
        strength: dimension to how plain the difference is, in [0, 1]; may be empty.
        scene: pairs of one scene belong on one side of a split: ``scene`` as the line gives it,
            else the source's path, else that of the first picture.
        line: the number of the line in its file, from 1; 0 if it comes from no file.
        row: the line as read, keys that are not ours among it.
    """

    first: Path
    second: Path
    task: str
    prompt: str | None
    source: Path | None
    mask: Path | None
    dims: tuple[str, ...]
    winner: Mapping[str, str]
    strength: Mapping[str, float]
    scene: str
    line: int
    row: Mapping[str, Any] = field(repr=False)

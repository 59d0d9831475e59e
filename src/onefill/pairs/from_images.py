"""Pairs without people: good pictures, damaged by degrees in one dimension after another."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from onefill.errors import BadInput, OnefillError
from onefill.pairs.duel import Duel, draw_duel
from onefill.pairs.output import PairsFolder
from onefill.pairs.subject import ALIGNMENT, KNOWN, Material, Subject
from onefill.tasks.types import Task

_TRIES = 60
"""Subjects that are tried for one pair; damage to a flat picture may not show."""

_PLACES = ("first", "second")


def find_cells(
    tasks: Mapping[str, Task], material: Material
) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """What each task can be damaged in, and one line for each dimension that is left out.

    Raises:
        BadInput: nothing is left.
    """
    cells, left_out = {}, []
    for name, task in tasks.items():
        able = []
        for dimension in task.dimensions:
            reason = (
                material.why_not(task, dimension.name)
                if dimension.name in KNOWN
                else f"there is damage only to {', '.join(KNOWN)}"
            )
            if reason is None:
                able.append(dimension.name)
            else:
                left_out.append(f"{name}/{dimension.name} is left out: {reason}")
        if able:
            cells[name] = tuple(able)
    if not cells:
        raise BadInput(f"--tasks {','.join(tasks)}: no pair can be made; {'; '.join(left_out)}")
    return cells, left_out


def make_pairs(
    folder: PairsFolder,
    material: Material,
    tasks: Mapping[str, Task],
    weights: Mapping[str, float],
    cells: Mapping[str, tuple[str, ...]],
    *,
    count: int,
    start: int,
    seed: int,
    strengths: tuple[float, float],
    on_pair: Callable[[], None],
) -> None:
    """Write the pairs ``start`` to ``count``; pair number n depends on seed and n alone.

    Args:
        folder: an opened folder.
        material: where good pictures come from.
        tasks: by name.
        weights: how often each is drawn.
        cells: task to the dimensions it is damaged in.
        count: how many pairs there are to be.
        start: how many there are.
        seed: of everything.
        strengths: lowest and highest strength of a fault, in (0, 1].
        on_pair: called after each pair.

    Raises:
        BadInput: a picture cannot be used.
        OnefillError: no damage shows on the pictures, or writing failed.
    """
    names = list(cells)
    shares = np.array([weights[name] for name in names])
    for number in range(start, count):
        rng = np.random.default_rng([seed, number])
        task = tasks[str(rng.choice(names, p=shares / shares.sum()))]
        dimension = str(rng.choice(cells[task.name]))
        subject, duel = _draw(material, task, dimension, cells[task.name], rng, strengths)
        order = (0, 1) if rng.random() < 0.5 else (1, 0)
        folder.append([_write(folder, number, subject, duel, order)])
        on_pair()


def _draw(
    material: Material,
    task: Task,
    dimension: str,
    dimensions: tuple[str, ...],
    rng: np.random.Generator,
    strengths: tuple[float, float],
) -> tuple[Subject, Duel]:
    for _ in range(_TRIES):
        subject = material.subject(task, dimension, rng)
        able = tuple(d for d in dimensions if subject.words or d != ALIGNMENT)
        if dimension not in able:
            continue
        other = partial(material.other, subject)
        duel = draw_duel(subject, dimension, able, other, rng, strengths)
        if duel is not None:
            return subject, duel
    raise OnefillError(
        f"{task.name}/{dimension}: in {_TRIES} draws no damage could be seen; give pictures with "
        "more in them, or raise --strengths"
    )


def _write(
    folder: PairsFolder, number: int, subject: Subject, duel: Duel, order: tuple[int, int]
) -> dict[str, Any]:
    """Save the pictures of a pair, the one at ``order[0]`` first, and return its row."""
    name = f"{number:06d}"
    row: dict[str, Any] = {
        key: folder.save_picture(f"{name}-{key}", duel.pictures[place])
        for key, place in zip(_PLACES, order, strict=True)
    }
    row["source"] = folder.save_picture(f"{name}-source", subject.source)
    row["mask"] = folder.save_mask(f"{name}-mask", subject.mask)
    row["task"] = subject.task.name
    if subject.words:
        row["prompt"] = subject.words
    row["winner"] = {
        dimension: _PLACES[order.index(place)] for dimension, place in duel.winner.items()
    }
    row["strength"] = dict(duel.strength)
    row["scene"] = subject.scene
    row["number"] = number
    return row

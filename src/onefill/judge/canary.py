"""A few questions stored in a judge's folder with the answers it gave, asked again at every load.

Weights that were damaged, other preprocessing, another library or too coarse a precision show as
answers that moved. Pictures are stored small and lossless; the question is stored as text, so
that neither tasks nor plugins are needed to ask it.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from onefill.errors import BadInput, OnefillError
from onefill.images import read_image
from onefill.judge.asking import load_picture, logits_of_pairs
from onefill.judge.model import ImageFeatures, Judge
from onefill.judge.pair import PreferencePair
from onefill.judge.query import build_query
from onefill.tasks.registry import TaskRegistry, load_tasks

CANARIES_NAME = "canaries.json"
CANARIES_FOLDER = "canaries"

DRIFT = 0.05
"""How far a probability may have moved in single precision."""

COARSE_DRIFT = 0.15
"""And in half precision or quantized weights, where every layer rounds."""

_COUNT = 4
_LONGEST = 256  # pixels: a canary is there to be asked quickly
_DECIDED = 0.85  # the probability that tells most: neither near one half nor saturated
_EDGE = 0.55  # a canary nearer to one half names no winner
_CONSIDERED = 64


@dataclass(frozen=True)
class _Canary:
    """A question, and P("Yes") with the first and with the second picture shown first."""

    first: Path
    second: Path
    query: str
    forward: float
    backward: float


def write_canaries(
    folder: Path,
    judge: Judge,
    pairs: Sequence[PreferencePair],
    registry: TaskRegistry | None = None,
) -> int:
    """Store up to four of ``pairs`` in a judge's folder with what the judge says of them.

    Those are preferred of which the judge is sure but not too sure, on which it agrees with the
    winner if there is one, and which are of different tasks and dimensions.

    Args:
        folder: of the judge; canaries that are there are replaced.
        judge: as it is loaded from that folder.
        pairs: to choose from; the first 64 are looked at.
        registry: the tasks that the pairs name; the installed ones if left out.

    Returns:
        How many were stored.

    Raises:
        BadInput: a picture cannot be read.
    """
    tasks = registry or load_tasks()
    shelf = folder / CANARIES_FOLDER
    shutil.rmtree(shelf, ignore_errors=True)
    (folder / CANARIES_NAME).unlink(missing_ok=True)
    shelf.mkdir(parents=True)
    canaries = []
    for number, (pair, dim) in enumerate(_choose(judge, pairs, tasks)):
        task = tasks.get(pair.task)
        pictures = []
        for side, path in (("first", pair.first), ("second", pair.second)):
            picture = load_picture(path, pair, judge.sees)
            picture.thumbnail((_LONGEST, _LONGEST), Image.Resampling.BICUBIC)
            pictures.append(shelf / f"{number}-{side}.png")
            picture.save(pictures[-1])
        query = build_query(task, task.dimension(dim), pair.prompt)
        canaries.append(_Canary(pictures[0], pictures[1], query, 0.5, 0.5))
    answers = _ask(judge, canaries)
    answered = [
        replace(canary, forward=forward, backward=backward)
        for canary, (forward, backward) in zip(canaries, answers, strict=True)
    ]
    document = {"canaries": [_to_row(folder, canary) for canary in answered]}
    text = json.dumps(document, indent=2, ensure_ascii=False)
    (folder / CANARIES_NAME).write_text(text + "\n", encoding="utf-8")
    return len(answered)


def check_canaries(folder: Path, judge: Judge, *, coarse: bool) -> None:
    """Ask a judge its canaries again; a folder without any is taken as it is.

    Args:
        folder: of the judge.
        judge: loaded from it.
        coarse: its weights are not in single precision.

    Raises:
        BadInput: the canaries cannot be read, or an answer moved by more than ``DRIFT``
            (``COARSE_DRIFT``) or to the other picture.
    """
    path = folder / CANARIES_NAME
    if not path.exists():
        return
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["canaries"]
        canaries = [_from_row(folder, row) for row in rows]
    except (OSError, ValueError, TypeError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise BadInput(
            f"{path}: not a judge's canaries ({reason}); copy the judge's folder again"
        ) from error
    allowed = COARSE_DRIFT if coarse else DRIFT
    try:
        answers = _ask(judge, canaries)
    except OnefillError as error:
        raise BadInput(f"its canary pairs cannot be asked ({error})") from error
    for number, (canary, now) in enumerate(zip(canaries, answers, strict=True)):
        for was, found in zip((canary.forward, canary.backward), now, strict=True):
            flipped = (was > 0.5) != (found > 0.5) and max(was, 1 - was) >= _EDGE
            if flipped or abs(was - found) > allowed:
                hint = (
                    "try --dtype float32"
                    if coarse
                    else "its weights or libraries are not those "
                    "it was made with; copy its folder again"
                )
                raise BadInput(
                    f'canary pair {number + 1} of {len(canaries)} failed: P("Yes") is {found:.2f} '
                    f"and was {was:.2f} when the judge was made; {hint}"
                )


def _choose(
    judge: Judge, pairs: Sequence[PreferencePair], tasks: TaskRegistry
) -> list[tuple[PreferencePair, str]]:
    found = []
    for logits in logits_of_pairs(judge, pairs[:_CONSIDERED], tasks):
        margin = (logits.forward - logits.backward) / 2
        named = "first" if margin > 0 else "second"
        sure = 1 / (1 + math.exp(-min(50.0, abs(margin))))
        wrong = logits.pair.winner.get(logits.dim, named) != named
        cell = (logits.pair.task, logits.dim)
        found.append(((wrong or sure < _EDGE, abs(sure - _DECIDED)), cell, logits.pair))
    found.sort(key=lambda entry: entry[0])
    # The best of every task and dimension first, then the best of what is left.
    seen: set[tuple[str, str]] = set()
    rounds: tuple[list[tuple[PreferencePair, str]], ...] = ([], [])
    for _, cell, pair in found:
        rounds[cell in seen].append((pair, cell[1]))
        seen.add(cell)
    return [*rounds[0], *rounds[1]][:_COUNT]


@torch.no_grad()
def _ask(judge: Judge, canaries: Sequence[_Canary]) -> list[tuple[float, float]]:
    """P("Yes") of both orders; those whose pictures have equal sizes go in one batch."""
    looked: dict[Path, ImageFeatures] = {}
    for canary in canaries:
        for path in (canary.first, canary.second):
            looked[path] = judge.encode_picture(read_image(path, flag="canary"))
    layouts: dict[object, list[tuple[int, bool]]] = {}
    for index, canary in enumerate(canaries):
        for swapped in (False, True):
            one, two = _sides(canary, swapped)
            layouts.setdefault((looked[one].grid, looked[two].grid), []).append((index, swapped))
    found: dict[tuple[int, bool], float] = {}
    for group in layouts.values():
        sides = [_sides(canaries[index], swapped) for index, swapped in group]
        logits = judge.logits_from_features(
            ImageFeatures.join([looked[one] for one, _ in sides]),
            ImageFeatures.join([looked[two] for _, two in sides]),
            [canaries[index].query for index, _ in group],
        )
        found.update(zip(group, torch.sigmoid(logits).tolist(), strict=True))
    return [(found[index, False], found[index, True]) for index in range(len(canaries))]


def _sides(canary: _Canary, swapped: bool) -> tuple[Path, Path]:
    return (canary.second, canary.first) if swapped else (canary.first, canary.second)


def _to_row(folder: Path, canary: _Canary) -> dict[str, Any]:
    return {
        "first": canary.first.relative_to(folder).as_posix(),
        "second": canary.second.relative_to(folder).as_posix(),
        "query": canary.query,
        "p_yes": [round(canary.forward, 5), round(canary.backward, 5)],
    }


def _from_row(folder: Path, row: Mapping[str, Any]) -> _Canary:
    forward, backward = (float(value) for value in row["p_yes"])
    if not (0 <= forward <= 1 and 0 <= backward <= 1):
        raise ValueError(f"{row['p_yes']} are no probabilities")
    return _Canary(
        folder / row["first"], folder / row["second"], str(row["query"]), forward, backward
    )

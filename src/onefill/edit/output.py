"""Names of the files an edit writes, from what was typed after ``-o``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from onefill.errors import BadInput

RANKING = "ranking.json"
"""What the file that tells how the results of an edit were ranked is called; see ``beside``."""

SHEET = "compare.png"
"""What the sheet of before and after is called."""

_FIELDS = "{stem}, {task}, {seed} and {n}"


def name_outputs(
    output: str | None, *, image: Path, task: str, seeds: Sequence[int], flag: str = "-o"
) -> list[Path]:
    """One path for each seed.

    Without ``output``, or with a folder, files are called ``<stem>-<task>-<seed>.png``, with a
    further ``-2``, ``-3`` ... where that name is taken, or was by a result of which only the
    ranking is left: only a file named outright is replaced.

    Args:
        output: a file, a folder (existing, or ending in a slash), a pattern, or None for the
            current folder. Fields of a pattern are ``{stem}``, ``{task}``, ``{seed}`` and
            ``{n}`` (1, 2, ...). Several results of one file name get ``-<seed>`` before its
            suffix.
        image: the photograph; gives ``{stem}``.
        task: name of the task.
        seeds: all different.
        flag: how the user named the output.

    Raises:
        BadInput: a pattern with an unknown field, or that names one file for several results.
    """
    if output is None or output.endswith("/") or Path(output).is_dir():
        folder = Path(output or "")
        return [_free(folder / f"{image.stem}-{task}-{seed}.png") for seed in seeds]
    if "{" in output:
        return _fill_pattern(output, image.stem, task, seeds, flag)
    path = Path(output)
    if len(seeds) == 1:
        return [path]
    return [path.with_name(f"{path.stem}-{seed}{path.suffix}") for seed in seeds]


def beside(outputs: Sequence[Path], what: str) -> Path:
    """Where something about all results of an edit goes: beside the first, named after it."""
    return outputs[0].with_name(f"{outputs[0].stem}-{what}")


def _fill_pattern(output: str, stem: str, task: str, seeds: Sequence[int], flag: str) -> list[Path]:
    try:
        paths = [
            Path(output.format(stem=stem, task=task, seed=seed, n=number))
            for number, seed in enumerate(seeds, 1)
        ]
    except (KeyError, IndexError, ValueError, AttributeError) as error:
        raise BadInput(f"{flag} {output}: only {_FIELDS} may stand in braces") from error
    if len(set(paths)) < len(paths):
        raise BadInput(f"{flag} {output}: names one file for all results; put {{seed}} into it")
    return paths


def _companions(path: Path) -> list[Path]:
    return [beside([path], what) for what in (RANKING, SHEET)]


def _free(path: Path) -> Path:
    candidate, number = path, 1
    while any(taken.exists() for taken in (candidate, *_companions(candidate))):
        number += 1
        candidate = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return candidate

"""Reads a pairs file: one JSON object a line, checked whole before anybody is asked.

A line is ``{"first", "second", "task", "prompt"?, "source"?, "mask"?, "dims"?, "winner"?,
"strength"?, "scene"?}``, paths relative to the file. Blank lines are skipped, other keys kept.
Pictures must exist; whether they can be decoded shows when they are opened.
"""

from __future__ import annotations

import json
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from onefill.errors import BadInput
from onefill.json_lines import read_json_lines
from onefill.judge.pair import WINNERS, PreferencePair
from onefill.judge.query import answerable
from onefill.tasks.registry import TaskRegistry
from onefill.tasks.types import Task

_PICTURES = ("first", "second")
_BESIDE = ("source", "mask")


def read_pairs(path: Path, registry: TaskRegistry) -> list[PreferencePair]:
    """The pairs of a file, in order.

    Args:
        path: a jsonl file.
        registry: the tasks a pair may name.

    Raises:
        BadInput: the file cannot be read or holds no pair, or a line has a fault; the first one
            is named with its line.
    """
    pairs = []
    for line, found in examine_pairs(path, registry):
        if isinstance(found, list):
            raise BadInput(f"{path} line {line}: {found[0]}")
        pairs.append(found)
    return pairs


def examine_pairs(
    path: Path, registry: TaskRegistry
) -> Iterator[tuple[int, PreferencePair | list[str]]]:
    """Every line as its pair, or as the list of its faults.

    Raises:
        BadInput: the file cannot be read at all, or holds no line.
    """
    reader = _Reader(path, registry)
    line = 0
    for line, row in read_json_lines(path):
        if isinstance(row, str):
            yield line, [f"{row}; write one object a line"]
        else:
            yield line, reader.faults(row) or reader.build(line, row)
    if not line:
        raise BadInput(f"{path}: {_NO_PAIR}")


_NO_PAIR = (
    'holds no pair; write one a line, as {"first": "a.png", "second": "b.png", "task": "fill"}'
)


class _Reader:
    """Checks rows and builds pairs; a picture that many lines share is looked up once."""

    def __init__(self, path: Path, registry: TaskRegistry) -> None:
        self._folder = path.parent
        self._registry = registry
        self._found: dict[str, str | None] = {}

    def faults(self, row: Mapping[str, Any]) -> list[str]:
        """What is wrong with a row."""
        return [*self._faults_of_files(row), *self._faults_of_answers(row)]

    def build(self, line: int, row: Mapping[str, Any]) -> PreferencePair:
        """The pair of a row without faults."""
        task = self._registry.get(row["task"])
        winner = row.get("winner") or {}
        named = row.get("dims") or winner or [d.name for d in answerable(task, row.get("prompt"))]
        first, second = (self._folder / row[key] for key in _PICTURES)
        source, mask = (self._folder / row[key] if row.get(key) else None for key in _BESIDE)
        scene = row.get("scene") or str((source or first).resolve())
        return PreferencePair(
            first=first,
            second=second,
            task=task.name,
            prompt=row.get("prompt"),
            source=source,
            mask=mask,
            dims=tuple(named),
            winner=dict(winner),
            strength={name: float(value) for name, value in (row.get("strength") or {}).items()},
            scene=scene,
            line=line,
            row=row,
        )

    def _faults_of_files(self, row: Mapping[str, Any]) -> Iterator[str]:
        for key in (*_PICTURES, *_BESIDE):
            value = row.get(key)
            if value is None and key in _BESIDE:
                continue
            if not isinstance(value, str) or not value:
                yield f'"{key}" must be the path of a picture, not {_short(value)}'
            elif fault := self._look_up(value):
                yield f'"{key}" {value}: {fault}'

    def _look_up(self, value: str) -> str | None:
        if value not in self._found:
            self._found[value] = self._fault_of_file(value)
        return self._found[value]

    def _fault_of_file(self, value: str) -> str | None:
        path = self._folder / value
        try:
            mode = path.stat().st_mode
        except (OSError, ValueError):
            return f"no such file ({path}); paths are relative to the pairs file"
        return "a folder, not a picture" if stat.S_ISDIR(mode) else None

    def _faults_of_answers(self, row: Mapping[str, Any]) -> Iterator[str]:
        for key in ("prompt", "scene"):
            if not isinstance(row.get(key), str | None):
                yield f'"{key}" must be text, not {_short(row[key])}'
        name = row.get("task")
        if not isinstance(name, str) or not name:
            yield f'"task" must name a task, not {_short(name)}'
            return
        try:
            task = self._registry.get(name, flag='"task"')
        except BadInput as error:
            yield str(error)
            return
        asked = list(_faults_of_dims(row.get("dims"), task))
        asked += _faults_of_mapping(row, "winner", task, _fault_of_winner)
        asked += _faults_of_mapping(row, "strength", task, _fault_of_strength)
        yield from asked
        if not asked:
            yield from _faults_of_words(row, task)


def _faults_of_dims(dims: Any, task: Task) -> Iterator[str]:
    if dims is None:
        return
    if not isinstance(dims, list) or not dims:
        yield f'"dims" must be a list of dimensions of {task.name!r}, not {_short(dims)}'
        return
    for index, name in enumerate(dims):
        if fault := _fault_of_name(name, task):
            yield f'"dims": {fault}'
        elif name in dims[:index]:
            yield f'"dims" names {name} twice'


def _faults_of_mapping(
    row: Mapping[str, Any], key: str, task: Task, check: Callable[[Any], str | None]
) -> Iterator[str]:
    value = row.get(key)
    if value is None:
        return
    if not isinstance(value, dict):
        yield f'"{key}" must be an object with dimensions of {task.name!r}, not {_short(value)}'
        return
    for name, entry in value.items():
        if fault := _fault_of_name(name, task) or check(entry):
            yield f'"{key}": {fault}'


def _faults_of_words(row: Mapping[str, Any], task: Task) -> Iterator[str]:
    """Faults of dimensions that are judged with a prompt, in a row without one."""
    prompt = row.get("prompt")
    if isinstance(prompt, str) and prompt.strip():
        return
    named = dict.fromkeys([*(row.get("dims") or []), *(row.get("winner") or {})])
    for name in named:
        if task.dimension(name).uses_prompt:
            yield f'"prompt" is missing, and {name} is judged against it'
    if not named and not answerable(task, None):
        yield f'"prompt" is missing, and every dimension of {task.name!r} is judged against it'


def _fault_of_name(name: Any, task: Task) -> str | None:
    known = [dimension.name for dimension in task.dimensions]
    if isinstance(name, str) and name in known:
        return None
    return f"{task.name!r} has no dimension {_short(name)}; choose from {', '.join(known)}"


def _fault_of_winner(value: Any) -> str | None:
    if isinstance(value, str) and value in WINNERS:
        return None
    return f"a winner is {', '.join(WINNERS[:-1])} or {WINNERS[-1]}, not {_short(value)}"


def _fault_of_strength(value: Any) -> str | None:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1:
        return None
    return f"a strength is a number from 0 to 1, not {_short(value)}"


def _short(value: Any) -> str:
    if value is None:
        return "missing"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:39]}…"

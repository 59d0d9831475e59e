"""The stream of samples of each task, the same for the same seed."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from onefill.data.file_check import check_files
from onefill.data.folder import read_folder
from onefill.data.jsonl import Row, read_rows
from onefill.data.sample import Sample, cut_image, cut_mask, draw_square, make_sample
from onefill.errors import BadInput
from onefill.images import read_image, read_mask
from onefill.tasks.types import Task

Part = Literal["all", "train", "heldout"]

_HELD_OUT_SHARE = 0.1
_HELD_OUT_LEAST = 8

_ORDER, _SAMPLE = 0, 1  # what a random generator is drawn for


class SampleSource:
    """Samples of several tasks, made from rows.

    Each task goes through its rows in a drawn order, every row once before any comes again.

    Attributes:
        borrowing: the tasks that no row is meant for, and that draw their own masks over all
            the pictures.
    """

    def __init__(
        self,
        rows: dict[str, list[Row]],
        tasks: dict[str, Task],
        seed: int,
        borrowing: frozenset[str] = frozenset(),
    ) -> None:
        self.borrowing = borrowing
        self._rows = rows
        self._tasks = tasks
        self._seed = seed

    def count(self, task: str) -> int:
        """How many rows serve ``task``."""
        return len(self._rows[task])

    def pictures(self) -> set[Path]:
        """Every picture file that some task uses."""
        return {row.image for rows in self._rows.values() for row in rows}

    def fingerprint(self) -> str:
        """Hash of what the rows say, file names included and file contents not."""
        digest = hashlib.sha256()
        for task, rows in self._rows.items():
            for row in rows:
                mask = row.mask.name if row.mask else None
                digest.update(repr((task, row.image.name, mask, row.words)).encode())
        return digest.hexdigest()

    def draw(self, task: str, index: int, size: int) -> Sample:
        """The sample number ``index`` (from 0) of ``task``, a square of ``size`` pixels.

        Raises:
            BadInput: the picture or its mask cannot be used.
            OnefillError: the task drew no proper mask.
        """
        row = self.row(task, index)
        return _make(row, self._tasks[task], size, self._rng(task, _SAMPLE, index))

    def row(self, task: str, index: int) -> Row:
        """What the sample number ``index`` of ``task`` is made from."""
        rows = self._rows[task]
        epoch, place = divmod(index, len(rows))
        order = self._rng(task, _ORDER, epoch).permutation(len(rows))
        return rows[int(order[place])]

    def batch(self, task: str, start: int, count: int, size: int) -> list[Sample]:
        """The samples ``start`` to ``start + count`` of ``task``."""
        return [self.draw(task, index, size) for index in range(start, start + count)]

    def _rng(self, task: str, purpose: int, number: int) -> np.random.Generator:
        return np.random.default_rng([self._seed, zlib.crc32(task.encode()), purpose, number])


def _make(row: Row, task: Task, size: int, rng: np.random.Generator) -> Sample:
    picture = read_image(row.image, flag=row.origin)
    if row.mask is None:
        image = cut_image(picture, draw_square(picture, size, rng), size)
        mask = task.draw_mask(Image.fromarray(image), rng)
    else:
        whole = read_mask(row.mask, picture.size, flag=row.origin)
        box = draw_square(picture, size, rng, whole)
        image, mask = cut_image(picture, box, size), cut_mask(whole, box, size)
    return make_sample(image, mask, row.words, task.name)


def open_source(path: Path, tasks: Sequence[Task], seed: int, part: Part = "all") -> SampleSource:
    """Open a folder of pictures or a jsonl file as a stream of samples.

    A row that names a task serves that task alone; a row that names none serves every task.
    A task for which there is neither draws its own masks over all the pictures, so a task that
    the makers of the data never heard of trains too. Rows without words are left out for tasks
    that need words: to be painted, or because all they are judged on is about words.

    Args:
        path: what the user gave as ``--data``.
        tasks: the tasks that will be drawn.
        seed: of everything drawn.
        part: all rows, or one side of a split by picture: of each kind of row one picture in
            ten is held out, of few pictures up to a quarter, the same ones whatever the seed.

    Raises:
        BadInput: the path is neither folder nor jsonl, a row is malformed or names a file that
            is no picture, or a task has no sample.
    """
    rows = read_data(path)
    kept = rows_of_part(rows, part)
    by_task: dict[str, list[Row]] = {}
    for task in tasks:
        by_task[task.name] = serving = _serving(kept, task)
        if serving:
            continue
        if _serving(rows, task):
            raise BadInput(
                f"--data {path}: task {task.name!r} needs pictures to train on and others to be "
                "tested on, and has a single one; add pictures"
            )
        raise BadInput(
            f"--data {path}: no row for task {task.name!r} has a prompt, which it needs; add "
            'captions (a .txt beside each picture, or "prompt" in the jsonl) or leave the task out'
        )
    borrowing = frozenset(task.name for task in tasks if not _meant_for(kept, task))
    return SampleSource(by_task, {task.name: task for task in tasks}, seed, borrowing)


def read_data(path: Path) -> list[Row]:
    """Every row of what the user gave as ``--data``; its pictures are looked at, not decoded.

    Raises:
        BadInput: the path is neither folder nor jsonl, a row is malformed or names a file that
            is no picture, or there is no row.
    """
    if path.is_dir():
        rows = read_folder(path)
    elif path.suffix == ".jsonl" and path.is_file():
        rows = read_rows(path)
    elif path.exists():
        raise BadInput(f"--data {path}: neither a folder nor a .jsonl file; give one of them")
    else:
        raise BadInput(f"--data {path}: does not exist; give a folder of pictures or a .jsonl file")
    if not rows:
        raise BadInput(f'--data {path}: no rows in it; add at least one line with an "image"')
    check_files(rows)
    return rows


def rows_of_part(rows: list[Row], part: Part) -> list[Row]:
    """The rows of one side of the split by picture, see ``open_source``; or all of them."""
    return rows if part == "all" else _side(rows, held_out=part == "heldout")


def _meant_for(rows: list[Row], task: Task) -> list[Row]:
    return [row for row in rows if row.task in (None, task.name)]


def _serving(rows: list[Row], task: Task) -> list[Row]:
    serving = _meant_for(rows, task) or _borrowed(rows)
    needs_words = task.prompt.without_words is None or all(
        dimension.uses_prompt for dimension in task.dimensions
    )
    return [row for row in serving if row.words is not None] if needs_words else serving


def _borrowed(rows: list[Row]) -> list[Row]:
    """Every picture once, without the mask that was drawn for another task; words are kept."""
    pictures = {row.image: row for row in sorted(rows, key=lambda row: row.words is not None)}
    return [replace(row, mask=None) for row in pictures.values()]


def _side(rows: list[Row], *, held_out: bool) -> list[Row]:
    kinds: dict[tuple[str | None, bool], list[Path]] = {}
    placed: dict[Path, bool] = {}
    for row in sorted(rows, key=lambda row: hashlib.sha256(row.image.name.encode()).digest()):
        if row.image not in placed:
            placed[row.image] = False
            kinds.setdefault((row.task, row.words is not None), []).append(row.image)
    for pictures in kinds.values():
        if len(pictures) > 1:
            for picture in pictures[: _held_out_count(len(pictures))]:
                placed[picture] = True
    return [row for row in rows if placed[row.image] == held_out]


def _held_out_count(pictures: int) -> int:
    return max(1, round(_HELD_OUT_SHARE * pictures), min(_HELD_OUT_LEAST, pictures // 4))

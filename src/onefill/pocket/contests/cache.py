"""Contests drawn once and kept on disk: the judge's training reads each several times."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onefill.pocket.contests import pairs
from onefill.pocket.contests.pairs import DIMENSIONS, GRID, LABELS, TASK_DIMENSIONS
from onefill.pocket.material.pictures import Pictures, load_pictures
from onefill.pocket.material.scenes import SIZE
from onefill.pocket.material.sources import Split

TASKS = tuple(TASK_DIMENSIONS)
RENDERINGS = 4
"""Two duels a contest: six comparisons for four pictures."""

_CHUNK = 2000
_TASK_SHARES = {"fill": 0.29, "extend": 0.32, "removal": 0.14, "text": 0.25}


@dataclass(frozen=True)
class Contests:
    """N contests as arrays.

    Attributes:
        pictures: uint8 (N, 4, SIZE, SIZE, 3).
        levels: float32 (N, 4, 5), damage per dimension.
        shown: int64 (N, 4), what is seen, index in ``LABELS`` or -1.
        words: int64 (N,), what was asked for, index in ``LABELS``.
        tasks: int64 (N,), index in ``TASKS``.
        harm: float16 (N, 4, 5, GRID, GRID), damage per dimension, cell by cell.
        covered: bool (N, 4, GRID, GRID), cells that show the thing or the words.

    """

    pictures: NDArray[np.uint8]
    levels: NDArray[np.float32]
    shown: NDArray[np.int64]
    words: NDArray[np.int64]
    tasks: NDArray[np.int64]
    harm: NDArray[np.float16]
    covered: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.tasks)

    def select(self, rows: NDArray[np.intp] | slice) -> Contests:
        """Some of the contests."""
        return Contests(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})


def load_contests(
    split: Split, count: int, seed: int, cache: Path, log: Callable[[str], None]
) -> Contests:
    """``count`` contests, drawn where they are not yet in the cache.

    Chunks are whole files, so a drawing that was interrupted goes on where it stopped.
    """
    pictures = lru_cache(partial(load_pictures, split, cache))

    def draw(rng: np.random.Generator, number: int) -> Contests:
        drawn = _draw_chunk(pictures(), rng)
        log(f"contests {split}: {(number + 1) * _CHUNK} drawn")
        return drawn

    return load_chunks(cache / f"contests-{split}-{seed}", count, _CHUNK, seed, draw)


def load_chunks(
    folder: Path,
    count: int,
    size: int,
    seed: int,
    draw: Callable[[np.random.Generator, int], Contests],
) -> Contests:
    """``count`` contests out of chunks of ``size``, each drawn where it has no file yet."""
    folder.mkdir(parents=True, exist_ok=True)
    chunks = []
    for number in range(-(-count // size)):
        path = folder / f"{number:04d}.npz"
        if not path.exists():
            staged = path.with_name(f"{number:04d}.part.npz")
            drawn = draw(np.random.default_rng((seed, number)), number)
            np.savez(staged, allow_pickle=False, **vars(drawn))
            staged.rename(path)
        with np.load(path) as stored:
            chunks.append(Contests(**{name: stored[name] for name in stored.files}))
    return join(chunks).select(slice(count))


def join(parts: Sequence[Contests]) -> Contests:
    """All contests of several."""
    return Contests(
        **{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Contests)}
    )


def _draw_chunk(pictures: Pictures, rng: np.random.Generator) -> Contests:
    images = np.empty((_CHUNK, RENDERINGS, SIZE, SIZE, 3), np.uint8)
    levels = np.empty((_CHUNK, RENDERINGS, len(DIMENSIONS)), np.float32)
    shown = np.empty((_CHUNK, RENDERINGS), np.int64)
    words, tasks = np.empty(_CHUNK, np.int64), np.empty(_CHUNK, np.int64)
    harm = np.empty((_CHUNK, RENDERINGS, len(DIMENSIONS), GRID, GRID), np.float16)
    covered = np.empty((_CHUNK, RENDERINGS, GRID, GRID), bool)
    for index in range(_CHUNK):
        task = str(rng.choice(TASKS, p=[_TASK_SHARES[t] for t in TASKS]))
        contest = pairs.draw_contest(pictures, rng, task, _two_dimensions(task, rng))
        for place, rendering in enumerate(contest.renderings):
            images[index, place] = rendering.picture
            levels[index, place] = rendering.levels
            shown[index, place] = rendering.shown
            harm[index, place] = rendering.harm
            covered[index, place] = rendering.covered
        words[index], tasks[index] = LABELS.index(contest.word), TASKS.index(task)
    return Contests(images, levels, shown, words, tasks, harm, covered)


def _two_dimensions(task: str, rng: np.random.Generator) -> tuple[str, str]:
    """Two to duel in; the hardest to learn, words and structure, twice as often as the others."""
    dimensions = TASK_DIMENSIONS[task]
    if len(dimensions) == 1:
        return dimensions[0], dimensions[0]
    weights = np.array(
        [2.0 if d in (pairs.ALIGNMENT, pairs.STRUCTURE) else 1.0 for d in dimensions]
    )
    first, second = rng.choice(dimensions, 2, replace=False, p=weights / weights.sum())
    return str(first), str(second)

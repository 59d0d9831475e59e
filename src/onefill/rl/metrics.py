"""What a run writes down at each step, and where the time of a step goes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from onefill.files import replace_text

PHASES = ("conditions", "reference", "rollout", "gradient step", "judge", "backward", "other")
"""Of a step: encoding pictures and prompts, the reference's denoising, the policy's without
gradient, its one call with gradient (decoding included), the judge's answers, backpropagation and
update, and all that remains."""


class PhaseTimer:
    """Seconds of each phase since the last ``take``; ``other`` is what no phase claimed."""

    def __init__(self) -> None:
        self._begin = time.perf_counter()
        self._seconds = dict.fromkeys(PHASES, 0.0)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count the time inside towards ``name``."""
        import torch  # here, as to look at the metrics of a run takes no torch

        begin = time.perf_counter()
        try:
            yield
        finally:
            if torch.cuda.is_initialized():
                torch.cuda.synchronize()  # a GPU works on after the call has returned
            self._seconds[name] += time.perf_counter() - begin

    def take(self) -> dict[str, float]:
        """The seconds of each phase, and start anew."""
        now = time.perf_counter()
        seconds = self._seconds
        seconds["other"] = now - self._begin - sum(seconds.values())
        self._begin, self._seconds = now, dict.fromkeys(PHASES, 0.0)
        return seconds


class Follower(Protocol):
    """Is told what is written down, as it is."""

    def log(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
        """A line was written."""
        ...

    def picture(self, step: int, path: Path) -> None:
        """A sample sheet was drawn."""
        ...


class MetricsLog:
    """``metrics.jsonl``: one JSON object per line, each with ``kind`` and ``step``.

    Args:
        path: of the file; lines are appended.
        writes: whether this process does; another one of the same run may.

    Attributes:
        followers: told about each line once it is written.
    """

    def __init__(self, path: Path, *, writes: bool = True) -> None:
        self._path = path
        self._writes = writes
        self.followers: Sequence[Follower] = ()

    def drop_after(self, step: int) -> None:
        """Drop the lines of later steps, written by a process that ended before it saved them."""
        if self._path.exists():
            kept = [
                json.dumps(row, ensure_ascii=False) for row in self.read() if row["step"] <= step
            ]
            replace_text(self._path, "".join(f"{line}\n" for line in kept))

    def append(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
        """Write one line at once."""
        if not self._writes:
            return
        line = json.dumps({"kind": kind, "step": step, **values}, ensure_ascii=False)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        for follower in self.followers:
            follower.log(kind, step, values)

    def read(self, kind: str | None = None) -> list[dict[str, Any]]:
        """Every line, or every one of a kind, first to last."""
        if not self._path.exists():
            return []
        return [row for row in _rows(self._path) if kind in (None, row["kind"])]


def best_step(log: MetricsLog) -> int | None:
    """The step of the best win rate while a run trained, over all tasks and dimensions alike."""
    rows = [row for row in log.read("win rate") if row.get("win_rate")]
    return max(rows, key=mean_win_rate)["step"] if rows else None


def mean_win_rate(row: Mapping[str, Any]) -> float:
    """Of a line with win rates: their mean over tasks and dimensions."""
    rates = [rate for dimensions in row["win_rate"].values() for rate in dimensions.values()]
    return sum(rates) / len(rates)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    """The lines that hold what was written: a kill leaves half a line, a failing disk worse."""
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and "kind" in row and isinstance(row.get("step"), int):
            yield _by_task(row)


def _by_task(row: dict[str, Any]) -> dict[str, Any]:
    """A line as it is written now: the steps of older runs name their one task apart."""
    if row["kind"] == "step" and (task := row.pop("task", None)) is not None:
        row |= {name: {task: row[name]} for name in ("reward", "saturated") if name in row}
    return row

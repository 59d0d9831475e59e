"""What a person sees of a judge's training: a live table on a terminal, plain lines in a log."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from onefill.judge.accuracy import AccuracyTable

_LINE_EVERY = 10  # seconds between two lines about steps in a log
_RECENT = 100  # answers of a cell that its training accuracy is of


class TrainingDisplay(Protocol):
    """Follows a training."""

    def step(self, step: int, loss: float, right: Sequence[tuple[str, float]]) -> None:
        """An update is done; ``right`` has the task/dimension and points of each answer."""
        ...

    def validation(self, step: int, loss: float, table: AccuracyTable, best: bool) -> None:
        """The held-out pairs have been asked."""
        ...

    def doing(self, text: str) -> None:
        """What goes on now."""
        ...

    def note(self, text: str) -> None:
        """Something worth a line of its own."""
        ...


class _Recent:
    """Accuracy of late, by task/dimension."""

    def __init__(self) -> None:
        self._points: dict[str, deque[float]] = {}
        self.loss: deque[float] = deque(maxlen=50)

    def take(self, loss: float, right: Sequence[tuple[str, float]]) -> None:
        self.loss.append(loss)
        for cell, points in right:
            self._points.setdefault(cell, deque(maxlen=_RECENT)).append(points)

    def rates(self) -> Mapping[str, float]:
        return {cell: sum(points) / len(points) for cell, points in self._points.items()}

    def mean_loss(self) -> float:
        return sum(self.loss) / max(1, len(self.loss))


class PlainTrainingDisplay:
    """Lines: one for each validation, and now and then one about the steps."""

    def __init__(self, console: Console, total: int) -> None:
        self._console = console
        self._total = total
        self._recent = _Recent()
        self._spoke = 0.0

    def step(self, step: int, loss: float, right: Sequence[tuple[str, float]]) -> None:
        """A line, if the last one was some seconds ago."""
        self._recent.take(loss, right)
        if time.monotonic() - self._spoke >= _LINE_EVERY:
            self._spoke = time.monotonic()
            rates = " ".join(f"{cell} {rate:.2f}" for cell, rate in self._recent.rates().items())
            self.note(f"step {step}/{self._total}: loss {self._recent.mean_loss():.3f}, {rates}")

    def validation(self, step: int, loss: float, table: AccuracyTable, best: bool) -> None:
        """Loss, and accuracy by task and dimension."""
        rates = " ".join(f"{name} {c.accuracy.rate:.2f}" for name, c in table.cells.items())
        mark = ", the best so far" if best else ""
        self.note(f"step {step}/{self._total} validation: loss {loss:.3f}{mark}; accuracy {rates}")

    def doing(self, text: str) -> None:
        """Nothing to say in a log."""

    def note(self, text: str) -> None:
        """The line as it is."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


class LiveTrainingDisplay:
    """A progress bar and a table of accuracy that renew themselves while ``live`` is entered."""

    def __init__(self, console: Console, total: int, begin: int) -> None:
        self._recent = _Recent()
        self._table: AccuracyTable | None = None
        self._at, self._best = 0, 0
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            console=console,
        )
        self._bar = self._progress.add_task("starting", total=total, completed=begin, figures="")
        self.live = Live(self._picture(), console=console, refresh_per_second=4)
        self._begun, self._begin = time.monotonic(), begin
        self._total = total

    def step(self, step: int, loss: float, right: Sequence[tuple[str, float]]) -> None:
        """Move the bar and take the answers into the table."""
        self._recent.take(loss, right)
        pace = (time.monotonic() - self._begun) / max(1, step - self._begin)
        minutes, seconds = divmod(round(pace * (self._total - step)), 60)
        figures = f"loss {self._recent.mean_loss():.3f}, {minutes}:{seconds:02d} left at most"
        self._progress.update(self._bar, completed=step, description="training", figures=figures)
        self.live.update(self._picture())

    def validation(self, step: int, loss: float, table: AccuracyTable, best: bool) -> None:
        """Renew the column of held-out pairs."""
        self._table, self._at = table, step
        if best:
            self._best = step
        self.live.update(self._picture())

    def doing(self, text: str) -> None:
        """The words before the bar."""
        self._progress.update(self._bar, description=escape(text))

    def note(self, text: str) -> None:
        """A line above the live part."""
        self.live.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _picture(self) -> Group:
        rates = self._recent.rates()
        held_out = self._table.cells if self._table else {}
        if not rates and not held_out:
            return Group(self._progress)
        table = Table(
            "task",
            "dimension",
            f"accuracy of the last {_RECENT} answers",
            f"held out, step {self._at} (best: {self._best})",
            box=None,
        )
        for cell in dict.fromkeys([*held_out, *rates]):
            found = held_out.get(cell)
            shown = f"{found.accuracy.rate:.1%} of {found.accuracy.n}" if found else ""
            task, _, dim = cell.partition("/")
            trained = f"{rates[cell]:.0%}" if cell in rates else ""
            table.add_row(escape(task), escape(dim), trained, shown)
        return Group(table, self._progress)


@contextmanager
def open_training_display(console: Console, total: int, begin: int) -> Iterator[TrainingDisplay]:
    """While this lasts, the display that suits ``console``; see ``LiveTrainingDisplay``."""
    if console.is_terminal:
        display = LiveTrainingDisplay(console, total, begin)
        with display.live:
            yield display
    else:
        yield PlainTrainingDisplay(console, total)

"""What a person sees of a run: a live table on a terminal, plain lines in a log."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

_WINDOW = 10


@dataclass(frozen=True)
class StepReport:
    """What a step tells the display.

    Attributes:
        step: updates done so far, this one included.
        loss: Eq. 5, averaged.
        rewards: mean P(yes) of each dimension of each task that was drawn.
    """

    step: int
    loss: float
    rewards: Mapping[str, Mapping[str, float]]

    @property
    def tasks(self) -> str:
        """Those that were drawn."""
        return " + ".join(self.rewards)


class Display(Protocol):
    """Follows a run."""

    def step(self, report: StepReport) -> None:
        """A step is done."""
        ...

    def note(self, text: str) -> None:
        """Something worth a line of its own."""
        ...

    def doing(self, text: str) -> None:
        """What goes on now, besides steps."""
        ...


class _Pace:
    """Seconds per step of late, and what is left at that rate."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._seconds: deque[float] = deque(maxlen=_WINDOW)
        self._last = time.monotonic()

    def start(self) -> None:
        """The next step begins now."""
        self._last = time.monotonic()

    def count(self) -> None:
        """A step ended now."""
        now = time.monotonic()
        self._seconds.append(now - self._last)
        self._last = now

    def text(self, step: int) -> str:
        if not self._seconds:
            return ""
        each = sum(self._seconds) / len(self._seconds)
        minutes, seconds = divmod(round(each * (self._total - step)), 60)
        return f"{each:.2f} s/step, {minutes}:{seconds:02d} left"


@contextmanager
def open_display(console: Console, total: int, begin: int) -> Iterator[Display]:
    """While this lasts, the display that suits ``console``.

    Args:
        console: where talk goes.
        total: steps of the whole run.
        begin: steps done before.
    """
    if console.is_terminal:
        display = LiveDisplay(console, total, begin)
        with display.live:
            yield display
    else:
        yield PlainDisplay(console, total)


class PlainDisplay:
    """One line per step, for log files and pipes."""

    def __init__(self, console: Console, total: int) -> None:
        self._console = console
        self._total = total
        self._pace = _Pace(total)

    def step(self, report: StepReport) -> None:
        """A line with tasks, loss, reward per dimension (in the tasks' order) and pace."""
        self._pace.count()
        rewards = " + ".join(
            " ".join(f"{name} {value:.2f}" for name, value in of_task.items())
            for of_task in report.rewards.values()
        )
        self.note(
            f"step {report.step}/{self._total} {report.tasks}: loss {report.loss:.3f}, "
            f"reward {rewards}, {self._pace.text(report.step)}"
        )

    def note(self, text: str) -> None:
        """The line as it is."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def doing(self, text: str) -> None:
        """Nothing to say in a log; the clock of the steps starts anew."""
        self._pace.start()


class SilentDisplay:
    """For a process that leaves it to another one to speak."""

    def step(self, report: StepReport) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""

    def doing(self, text: str) -> None:
        """Nothing."""


class LiveDisplay:
    """A progress bar and a table of rewards that renew themselves while ``live`` is entered."""

    def __init__(self, console: Console, total: int, begin: int) -> None:
        self._pace = _Pace(total)
        self._rewards: dict[str, dict[str, deque[float]]] = {}
        self._draws: dict[str, int] = {}
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[pace]}"),
            console=console,
        )
        self._bar = self._progress.add_task("starting", total=total, completed=begin, pace="")
        self.live = Live(self._picture(), console=console, refresh_per_second=4)

    def step(self, report: StepReport) -> None:
        """Move the bar and take the rewards into the table."""
        self._pace.count()
        for task, rewards in report.rewards.items():
            self._draws[task] = self._draws.get(task, 0) + 1
            of_task = self._rewards.setdefault(task, {})
            for name, value in rewards.items():
                of_task.setdefault(name, deque(maxlen=_WINDOW)).append(value)
        self._progress.update(
            self._bar,
            completed=report.step,
            description=f"training: {report.tasks}",
            pace=f"loss {report.loss:.3f}, {self._pace.text(report.step)}",
        )
        self.live.update(self._picture())

    def note(self, text: str) -> None:
        """A line above the live part."""
        self.live.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def doing(self, text: str) -> None:
        """The words before the bar; the clock of the steps starts anew."""
        self._pace.start()
        self._progress.update(self._bar, description=text)

    def _picture(self) -> Group:
        if not self._rewards:
            return Group(self._progress)
        table = Table("task", "drawn", f"reward: mean P(yes) of its last {_WINDOW} draws", box=None)
        for task, dimensions in self._rewards.items():
            means = (f"{name} {sum(v) / len(v):.2f}" for name, v in dimensions.items())
            table.add_row(task, str(self._draws[task]), "  ".join(means))
        return Group(table, self._progress)

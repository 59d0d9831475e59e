"""Bars and counts on stderr, and a stop that waits for what is at hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from onefill.cli import console

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn


def open_bar(*columns: ProgressColumn) -> Progress:
    """A bar that a terminal shows until it is done, and nothing else does; rich's usual columns."""
    from rich.progress import Progress

    talk = console.stderr()
    return Progress(*columns, console=talk, transient=True, disable=not talk.is_terminal)


@contextmanager
def counting(what: str) -> Iterator[Callable[[], None]]:
    """A count on stderr of something whose number is not known."""
    with open_bar() as bar:
        task = bar.add_task(what, total=None)

        def count() -> None:
            done = int(bar.tasks[0].completed) + 1
            bar.update(task, completed=done, description=f"{what} {done}")

        yield count

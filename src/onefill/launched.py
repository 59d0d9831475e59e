"""What a launcher tells the processes it starts, by environment variables; needs no torch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

LAUNCHER = "ONEFILL_LAUNCHER"
"""The process that started this one, which stops when that is gone."""


@dataclass(frozen=True)
class Place:
    """This process among all that a launcher started for one command.

    Attributes:
        index: of this one, from 0.
        count: of all.
    """

    index: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the one that writes and speaks for all."""
        return self.index == 0


def process_count() -> int:
    """How many processes a launcher started for this command; 1 without a launcher."""
    return _number("WORLD_SIZE", 1)


def own_place() -> Place:
    """This process among all that a launcher started for this command."""
    return Place(_number("RANK", 0), process_count())


def is_first() -> bool:
    """Whether this is the process that speaks for all that a launcher started."""
    return own_place().is_first


def local_index() -> int:
    """Which of the processes on this machine this one is, from 0."""
    return _number("LOCAL_RANK", 0)


def is_orphan() -> bool:
    """Whether the launcher that named itself is gone."""
    launcher = _number(LAUNCHER, 0)
    return launcher != 0 and os.getppid() != launcher


@contextmanager
def noticing(gone: Exception) -> Iterator[None]:
    """Raise ``gone`` where a connection breaks: the process at its other end has ended."""
    try:
        yield
    except RuntimeError as error:
        raise gone from error


def _number(variable: str, otherwise: int) -> int:
    try:
        return int(os.environ.get(variable, ""))
    except ValueError:
        return otherwise

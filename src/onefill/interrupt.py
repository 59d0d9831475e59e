"""Ctrl-C and SIGTERM ask a run to stop; the loop answers when the step is done."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from onefill.errors import OnefillError

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(OnefillError):  # noqa: N818 - it reads as what happened, not as a bug
    """A run stopped because it was asked to, after it was saved (exit code 130)."""

    exit_code = 130


class StopRequest:
    """Whether somebody asked the run to stop.

    Attributes:
        asked: this process was.
        agree: what several processes make of it, which must all stop at the same place.
    """

    def __init__(self) -> None:
        self.asked = False
        self.agree: Callable[[bool], bool] = bool

    def check(self) -> None:
        """Call where stopping does no harm.

        Raises:
            Interrupted: a stop was asked for.
        """
        if self.agree(self.asked):
            raise Interrupted("interrupted")


@contextmanager
def listen_for_stop() -> Iterator[StopRequest]:
    """While this lasts a first signal sets ``asked``; a second one does what it always did."""
    request = StopRequest()
    before = {number: signal.getsignal(number) for number in _SIGNALS}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def note(number: int, frame: FrameType | None) -> None:
        request.asked = True
        restore()

    for number in _SIGNALS:
        signal.signal(number, note)
    try:
        yield request
    finally:
        restore()

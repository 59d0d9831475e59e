"""Start one command several times on this machine, and end with all of it."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType

from onefill.errors import OnefillError
from onefill.launched import LAUNCHER

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_INTERRUPTED = 130
_GRACE = 20.0
"""Seconds that the others have to end by themselves once one has failed."""


def launch(arguments: Sequence[str], count: int) -> int:
    """Run ``onefill`` in several processes, told of one another as torchrun would tell them.

    A signal to this process reaches all of them.

    Args:
        arguments: of the command line.
        count: of processes.

    Returns:
        The exit code of the command.

    Raises:
        OnefillError: a process was killed.
    """
    children = [
        subprocess.Popen(
            [sys.executable, "-m", "onefill", *arguments],
            env={**os.environ, **place, LAUNCHER: str(os.getpid())},
            process_group=0,  # a terminal's Ctrl-C comes through this process, once
        )
        for place in _places(count)
    ]
    asked = 0

    def forward(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked += 1
        _tell(children, number)

    before = {number: signal.signal(number, forward) for number in _SIGNALS}
    try:
        _wait(children)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _tell(children, signal.SIGKILL)
    codes = [child.returncode for child in children]
    killed = next((index for index, code in enumerate(codes) if code < 0), None)
    if killed is None or codes[0] > 0:  # then the first has said why
        return codes[0] or max(codes)
    if asked:
        return _INTERRUPTED
    by = signal.Signals(-codes[killed]).name
    raise OnefillError(
        f"process {killed} of {count} was killed by {by}; the last checkpoint is whole: go on from "
        "it with --resume"
    )


def _places(count: int) -> list[dict[str, str]]:
    port = _free_port()
    threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, _cores() // count))
    of_all = {
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "OMP_NUM_THREADS": threads,
    }
    return [{**of_all, "RANK": str(index), "LOCAL_RANK": str(index)} for index in range(count)]


def _free_port() -> int:
    """A port nobody listens at, and that the system gives to no outgoing connection meanwhile."""
    for port in random.sample(range(20_000, 32_000), 100):
        with socket.socket() as free, suppress(OSError):
            free.bind(("127.0.0.1", port))
            return port
    raise OnefillError("--processes: of 100 ports of this machine none is free; close programs")


def _cores() -> int:
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _wait(children: Sequence[subprocess.Popen[bytes]]) -> None:
    failed = None
    while None in (codes := [child.poll() for child in children]):
        time.sleep(0.05)
        if failed is None and any(codes):
            failed = time.monotonic()
        if failed is not None and time.monotonic() > failed + _GRACE:
            return


def _tell(children: Sequence[subprocess.Popen[bytes]], number: int) -> None:
    for child in children:
        if child.poll() is None:
            child.send_signal(number)
            if number == signal.SIGKILL:
                child.wait()

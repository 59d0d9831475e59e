"""Whether a run is going on, and how it ended: a lock held while it is, and ``status.json``."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from onefill.errors import BadInput, OnefillError
from onefill.interrupt import Interrupted
from onefill.rl.run_folder import RunFolder

RUNNING, FINISHED, INTERRUPTED, FAILED, KILLED = (
    "running",
    "finished",
    "interrupted",
    "failed",
    "killed",
)
"""The states of a run; ``killed`` is one that says it is running while no process holds it."""

_LOCK = ".lock"


@dataclass(frozen=True)
class RunStatus:
    """How a run stands.

    Attributes:
        state: one of the five above.
        reason: why it failed, or None.
        started: when it first began, or None where that was not recorded.
        updated: when the state was last written, likewise.
        environment: versions, machine and command line of the last process.
    """

    state: str
    reason: str | None
    started: str | None
    updated: str | None
    environment: dict[str, str]


@contextmanager
def lock_run(folder: RunFolder) -> Iterator[None]:
    """While this lasts no other process trains in the folder; a kill gives the lock free.

    Raises:
        BadInput: another process trains in it.
    """
    with (folder.path / _LOCK).open("a", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BadInput(
                f"--resume {folder.path}: another process is training it; stop that one first"
            ) from error
        yield


@contextmanager
def record_state(folder: RunFolder, device: str, processes: int = 1) -> Iterator[None]:
    """Note in ``status.json`` that a run is going on, and in the end how it ended.

    Args:
        folder: of the run, which exists.
        device: what it is computed on, for the record.
        processes: how many compute it, likewise.

    Raises:
        OnefillError: something could not be written; the line says how to go on.
    """
    before = _read(folder)
    now = _now()
    status = {
        "state": RUNNING,
        "reason": None,
        "started": before.get("started") or now,
        "updated": now,
        "environment": _environment(device) | {"processes": str(processes)},
    }

    def write(state: str, reason: str | None = None) -> None:
        folder.write_status({**status, "state": state, "reason": reason, "updated": _now()})

    try:
        write(RUNNING)
        yield
        write(FINISHED)
    except Interrupted:
        write(INTERRUPTED)
        raise
    except BaseException as error:
        with suppress(OSError):  # on a full disk, of which the error itself must be heard
            kind = "" if isinstance(error, OnefillError) else f"{type(error).__name__}: "
            write(FAILED, f"{kind}{error}".partition("\n")[0])
        if isinstance(error, OSError | SafetensorError):  # the latter when weights are written
            raise OnefillError(
                f"{folder.path}: {error}; its checkpoints are whole: set that right, then go on "
                f"with: onefill train --resume {folder.path}"
            ) from error
        raise


def read_status(folder: RunFolder) -> RunStatus:
    """How the run in a folder stands."""
    found = _read(folder)
    state = found.get("state")
    if state is None:
        state = FINISHED if folder.summary.is_file() else RUNNING
    if state == RUNNING and not _is_locked(folder):
        state = KILLED
    return RunStatus(
        state=state,
        reason=found.get("reason"),
        started=found.get("started"),
        updated=found.get("updated"),
        environment=found.get("environment", {}),
    )


def _is_locked(folder: RunFolder) -> bool:
    path = folder.path / _LOCK
    if not path.is_file():
        return False
    with path.open(encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        fcntl.flock(file, fcntl.LOCK_UN)
    return False


def _read(folder: RunFolder) -> dict[str, Any]:
    try:
        found = json.loads(folder.status.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # never written, or by a hand
        return {}
    return found if isinstance(found, dict) else {}


def _environment(device: str) -> dict[str, str]:
    import torch

    from onefill.rl.resume import current_versions

    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else device
    return {
        **current_versions(device),
        "device": name,
        "threads": str(torch.get_num_threads()),
        "cores": str(os.cpu_count()),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "host": socket.gethostname(),
        "process": str(os.getpid()),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")

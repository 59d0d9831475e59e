"""A hidden folder beside the results, for those that may not be kept.

It goes when the command ends, and what a killed command left goes with the next one. Whose command
still runs is known by a lock: the system lifts it with the process, however that ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

_PREFIX = ".onefill-aside-"
_LOCK = "owner.lock"


@contextlib.contextmanager
def folder_aside(parent: Path) -> Iterator[Path]:
    """A new hidden folder in an existing one; gone with all that is in it afterwards.

    Raises:
        OSError: it cannot be made.
    """
    folder, lock = _claim(parent)
    try:
        yield folder
    finally:
        # The lock first: on a network's disk an open file would keep its folder.
        os.close(lock)
        shutil.rmtree(folder, ignore_errors=True)


def clear_asides(parent: Path) -> None:
    """Remove from a folder the asides whose owners are gone; it need not exist."""
    for folder in parent.glob(f"{_PREFIX}*"):
        # What cannot be locked or removed stays: it may be somebody's.
        with contextlib.suppress(OSError):
            if not folder.is_symlink():
                _clear(folder)


def _claim(parent: Path) -> tuple[Path, int]:
    """A new folder, and the open file whose lock says that it has an owner."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        # Before it is locked, another command may take the folder for one without an owner.
        try:
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        except FileNotFoundError:
            continue
        # Where files cannot be locked nobody can clear the folder either.
        with contextlib.suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX)
        if (folder / _LOCK).exists():
            return folder, lock
        os.close(lock)


def _clear(folder: Path) -> None:
    """Remove a folder without an owner.

    Raises:
        OSError: it has one, or cannot be removed.
    """
    with contextlib.suppress(FileNotFoundError):  # its owner ended before there was a lock
        lock = os.open(folder / _LOCK, os.O_RDWR)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The lock last: a stop here leaves a folder that can be cleared again.
            for path in folder.iterdir():
                if path.name != _LOCK:
                    shutil.rmtree(path)
            (folder / _LOCK).unlink()
        finally:
            os.close(lock)
    folder.rmdir()

"""Keep freed memory for the next step instead of handing it back to the system."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGEST = 2**31 - 1


def keep_freed_memory() -> None:
    """Tell glibc to reuse large blocks; does nothing elsewhere.

    A training step frees and asks for the same large arrays again and again. By default glibc
    returns each to the kernel, and zeroing the new pages took half of the time of a CPU step.
    """
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, 2**30)
        mallopt(_TRIM_THRESHOLD, _LARGEST)

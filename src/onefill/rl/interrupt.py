"""The old place of ``onefill.interrupt``."""

from __future__ import annotations

from onefill.interrupt import Interrupted, StopRequest, listen_for_stop

__all__ = ["Interrupted", "StopRequest", "listen_for_stop"]

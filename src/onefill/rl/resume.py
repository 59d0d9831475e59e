"""What a resumed run must find as it was: settings, models, data, and the versions it computes by.

A run that goes on with any of them changed is not the run that began. It is refused with the name
of what differs; whoever wants it all the same names that with ``--force-resume``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from onefill import __version__
from onefill.errors import BadInput

_LIBRARIES = ("torch", "diffusers", "transformers", "peft")
"""Whose arithmetic an update goes through."""


def current_versions(device: str) -> dict[str, str]:
    """What the bits of an update depend on besides configuration, weights and data.

    Args:
        device: as torch names it; two kinds of device round differently.
    """
    return {
        "onefill": __version__,
        **{name: version(name) for name in _LIBRARIES},
        "device": device.partition(":")[0],
    }


def refuse_changes(
    path: Path, recorded: Mapping[str, Any], found: Mapping[str, Any], forced: Collection[str]
) -> None:
    """Compare what a run began with and what there is now.

    Args:
        path: the folder of the run.
        recorded: by key; a hash, a version or the value of a setting.
        found: likewise; a key that it lacks is not compared.
        forced: keys that may differ.

    Raises:
        BadInput: one differs that is not in ``forced``.
    """
    for key, before in recorded.items():
        now = found.get(key, before)
        if now != before and key not in forced:
            raise BadInput(
                f"--resume {path}: {key} is {_short(before)} in this run, not {_short(now)}; bring "
                f"it back, start a new run, or go on all the same with --force-resume {key}"
            )


def _short(value: Any) -> str:
    """A value for a line of text; of a hash only the begin."""
    text = str(value)
    return f"{text[:8]}…" if len(text) > 60 and text.isalnum() else repr(value)

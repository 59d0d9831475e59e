"""Who speaks where: results and JSON on stdout, everything else on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from onefill.tasks.registry import TaskRegistry


def stdout() -> Console:
    """A rich console for results that people read."""
    from rich.console import Console

    return Console()


def stderr() -> Console:
    """A rich console for progress and talk."""
    from rich.console import Console

    return Console(stderr=True)


def say(text: str) -> None:
    """One plain line of talk on stderr."""
    typer.echo(_one_line(text), err=True)


def warn(text: str) -> None:
    """One line on stderr about something that is wrong but does not stop the command."""
    typer.echo(typer.style("warning: ", fg="yellow", bold=True) + _one_line(text), err=True)


def report_error(text: str) -> None:
    """The one line that a failed command leaves on stderr; commands raise instead of calling it."""
    typer.echo(typer.style("error: ", fg="red", bold=True) + _one_line(text), err=True)


def print_json(document: Mapping[str, Any]) -> None:
    """The one JSON document of a command called with ``--json``.

    Raises:
        ValueError: the document holds NaN or an infinity, which JSON cannot.
    """
    # A terminal or pipe that cannot show every character still gets valid JSON.
    unicode = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    text = json.dumps(document, indent=2, ensure_ascii=not unicode, allow_nan=False)
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def open_registry(*, warns: bool = True) -> TaskRegistry:
    """The installed tasks, with one warning on stderr for each plugin that failed to load.

    Args:
        warns: False leaves the warnings to another process of the same command.
    """
    from onefill.tasks.registry import load_tasks

    registry = load_tasks()
    for failure in registry.failures if warns else ():
        warn(
            f"plugin {failure.plugin} of {failure.distribution} is left out: {failure.reason} "
            "(see `onefill tasks`)"
        )
    return registry


def _one_line(text: str) -> str:
    return " ".join(text.splitlines())

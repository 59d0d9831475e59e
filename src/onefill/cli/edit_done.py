"""What of a batch an earlier run has done, and whether it is still what is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from onefill.cli import console
from onefill.cli.edit_ranking_file import ranking_path, read_ranking
from onefill.cli.edit_wishes import BatchOptions
from onefill.edit.output import SHEET, beside
from onefill.errors import BadInput

if TYPE_CHECKING:
    from onefill.edit.jobs import Job


@dataclass
class Standing:
    """How far a batch is.

    Attributes:
        total: of its edits.
        left: the edits to do.
        changed: how many of those were done, but as something else than is asked for now.
        untold: how many of the others do not tell how they were made.
    """

    total: int
    left: list[Job] = field(default_factory=list)
    changed: int = 0
    untold: int = 0

    @property
    def skipped(self) -> int:
        """How many edits stay as they are."""
        return self.total - len(self.left)

    def say(self) -> None:
        """Speak on stderr, if there is something to say."""
        if self.skipped:
            console.say(f"{self.skipped} of {self.total} edits are there already")
        if self.changed:
            console.say(
                f"{self.changed} of {self.total} edits are painted again: what is asked for has "
                "changed since"
            )
        if self.untold:
            console.say(
                f"{self.untold} of {self.total} edits do not tell how they were made, and stay "
                "even if what is asked for has changed; remove those that are to be painted again"
            )


def find_standing(
    jobs: Sequence[Job], options: BatchOptions, key_of: Callable[[Job], str]
) -> Standing:
    """How far the batch is.

    Args:
        jobs: all of its edits.
        options: how to go through them.
        key_of: the word of an edit as it is asked for now; see ``onefill.edit.key``.

    Raises:
        BadInput: results of an earlier run are there, and nobody said to skip them.
    """
    standing = Standing(len(jobs))
    for job in jobs:
        if not options.skip_existing:
            _refuse_results(job, options)
        keys = _keys_of_done(job, options)
        if keys is None:
            standing.left.append(job)
        elif any(keys) and set(keys) - {None, key_of(job)}:
            standing.left.append(job)
            standing.changed += 1
        elif None in keys:
            standing.untold += 1
    return standing


def _refuse_results(job: Job, options: BatchOptions) -> None:
    places = [*job.outputs, *([ranking_path(job.outputs)] if options.ranked else [])]
    for path in places:
        if _is_there(path):
            raise BadInput(
                f"{job.name}: {path} is there already; give --skip-existing to go on where an "
                "earlier run stopped, or another -o"
            )


def _keys_of_done(job: Job, options: BatchOptions) -> list[str | None] | None:
    """The words that the files of a finished edit tell; None if it is not finished."""
    if options.compared and not _is_there(beside(job.outputs, SHEET)):
        return None
    if options.ranked:
        ranking = ranking_path(job.outputs)
        return [_text(read_ranking(ranking).get("key"))] if _is_there(ranking) else None
    if not all(_is_there(path) for path in job.outputs):
        return None
    if not options.signed:
        # What such a result tells is of an earlier edit, which its photograph came from.
        return [None] * len(job.outputs)
    from onefill.edit.record import read_key

    return [read_key(path) for path in job.outputs]


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False  # a name that no file can have; writing it will say so

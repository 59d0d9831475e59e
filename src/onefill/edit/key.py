"""A short word for all that decides how an edit's results look.

A result of a batch carries the word of its edit. A later run that goes on with the batch compares
it with what is asked for now, and so notices a changed prompt, mask or option.
"""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Mapping
from dataclasses import fields
from functools import lru_cache
from pathlib import Path
from typing import Any

from onefill.edit.region import Region
from onefill.edit.request import EditRequest

_APART = ("image", "task", "count", "output", "debug")
_LENGTH = 32


def edit_key(request: EditRequest, making: Mapping[str, Any]) -> str:
    """The word of an edit: another one as soon as anything is another that its results show.

    Pictures count by what they hold, not by name and place. What is as usual counts for nothing,
    so that an option to come leaves the words of finished edits as they are. How many results are
    wanted and where they go shows in none of them.

    Args:
        request: the edit; a file that is not there is a value of its own.
        making: what else decides, by name. A path of a file counts by what the file holds, that
            of a folder by its place; None counts for nothing.
    """
    wanted = {
        each.name: _told(getattr(request, each.name))
        for each in fields(request)
        if each.name not in _APART and getattr(request, each.name) != each.default
    }
    known = {
        "image": _told(request.image),
        "task": request.task.task.name,
        "wanted": wanted,
        "making": {name: _told(value) for name, value in making.items() if value is not None},
    }
    text = json.dumps(known, sort_keys=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:_LENGTH]


def _told(value: Any) -> Any:
    """A value as JSON can hold it."""
    if isinstance(value, Path):
        return _told_by_path(value)
    if isinstance(value, Region):
        said = {each.name: getattr(value, each.name) for each in fields(value)}
        return {name: _told(part) for name, part in said.items() if part is not None}
    if isinstance(value, tuple):
        return [_told(each) for each in value]
    return value


def _told_by_path(path: Path) -> str | None:
    try:
        status = path.stat()
        if stat.S_ISREG(status.st_mode):
            return _digest(path, status.st_size, status.st_mtime_ns)
        return str(path.resolve())
    except (OSError, ValueError):
        return None


@lru_cache(maxsize=256)
def _digest(path: Path, size: int, changed: int) -> str:
    """Of a file as it was when it had this length and time: many edits share a mask."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()

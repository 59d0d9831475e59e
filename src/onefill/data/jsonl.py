"""Rows of training data in a jsonl file: one object per line, paths relative to the file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onefill.errors import BadInput
from onefill.json_lines import read_json_lines

_EXAMPLE = '{"image": "a.png", "mask": "a-mask.png", "prompt": "straw hat", "task": "fill"}'


@dataclass(frozen=True)
class Row:
    """One picture that samples are made from.

    Attributes:
        image: the picture.
        mask: its own mask, or None to let the task draw one.
        words: what a user would type, or None.
        task: the only task it is meant for, or None for any.
        origin: file and line it comes from, for messages.
    """

    image: Path
    mask: Path | None
    words: str | None
    task: str | None
    origin: str


def read_rows(path: Path) -> list[Row]:
    """Every row of a jsonl file; blank lines are ignored.

    Keys are ``image`` (or ``file_name``), and optionally ``mask``, ``prompt`` (or ``text``) and
    ``task``; other keys are left alone, since other tools write theirs into the same file.

    Raises:
        BadInput: the file cannot be read, or a line is malformed or names a missing file; the
            message tells which line.
    """
    # Whatever another tool has written into a key of its own is no fault.
    lines = read_json_lines(path, numbers_only=False)
    return [_check_row(path, number, row) for number, row in lines]


def _check_row(path: Path, number: int, row: dict[str, Any] | str) -> Row:
    origin = f"{path}, line {number}"
    if isinstance(row, str):
        raise BadInput(
            f"{origin}: not a JSON object ({row}); write one object per line, as {_EXAMPLE}"
        )
    image = _text(row, ("image", "file_name"), origin)
    if image is None:
        raise BadInput(f"{origin}: no key 'image'; write it as {_EXAMPLE}")
    mask = _text(row, ("mask",), origin)
    return Row(
        image=_existing(path.parent / image, origin),
        mask=None if mask is None else _existing(path.parent / mask, origin),
        words=_text(row, ("prompt", "text"), origin),
        task=_text(row, ("task",), origin),
        origin=origin,
    )


def _text(row: dict[str, Any], keys: tuple[str, ...], origin: str) -> str | None:
    for key in keys:
        value = row.get(key)
        if value is None:
            continue
        if not isinstance(value, str):
            raise BadInput(f"{origin}: {key!r} must be text in quotes, not {json.dumps(value)}")
        if value.strip():
            return value.strip()
    return None


def _existing(path: Path, origin: str) -> Path:
    if not path.is_file():
        raise BadInput(
            f"{origin}: {path} is no file; paths are relative to the folder of the jsonl file"
        )
    return path

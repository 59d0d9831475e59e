"""Rows of training data in a jsonl file: one object per line, paths relative to the file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onefill.errors import BadInput

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
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: cannot be read as UTF-8 text ({_reason(error)})") from error
    return [_parse_row(path, number, line) for number, line in enumerate(lines, 1) if line.strip()]


def _parse_row(path: Path, number: int, line: str) -> Row:
    origin = f"{path}, line {number}"
    try:
        row = json.loads(line)
    except ValueError as error:
        raise BadInput(
            f"{origin}: not JSON ({error}); write one object per line, as {_EXAMPLE}"
        ) from error
    if not isinstance(row, dict):
        raise BadInput(f"{origin}: not a JSON object; write one per line, as {_EXAMPLE}")
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


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)

"""Files of one JSON object a line, as jobs, training data and pairs are written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from onefill.errors import BadInput

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read_json_lines(
    path: Path, *, flag: str = "", numbers_only: bool = True
) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Every line that is not blank: its number from 1, and its object or what is wrong with it.

    What is wrong is a few words for the reader of one kind of file to put file, line and example
    to. Lines are read as they are asked for.

    Args:
        path: the file.
        flag: how the user named it, for the error line: ``--jobs``.
        numbers_only: take NaN and Infinity, which other programs write, for no JSON.

    Raises:
        BadInput: the file cannot be read.
    """
    refuse = _refuse_constant if numbers_only else None
    try:
        with path.open("rb") as file:
            for number, text in enumerate(file, start=1):
                if number == 1:
                    text = text.removeprefix(_BYTE_ORDER_MARK)
                if text.strip():
                    yield number, _parse(text, refuse)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        where = f"{flag} {path}".strip()
        raise BadInput(f"{where}: cannot be read ({reason}); name a jsonl file") from error


def _parse(text: bytes, refuse: Any) -> dict[str, Any] | str:
    try:
        row = json.loads(text.decode("utf-8"), parse_constant=refuse)
    except UnicodeDecodeError:
        return "not UTF-8 text; save the file as UTF-8"
    except (ValueError, RecursionError) as error:
        return f"not JSON: {str(error).splitlines()[0]}"
    return row if isinstance(row, dict) else f"a JSON {type(row).__name__}, not an object"


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")

"""Turns somebody else's pairs into ours: a folder with ``pairs.jsonl`` and pictures."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

from PIL import Image

from onefill.errors import BadInput
from onefill.images import read_image
from onefill.pairs.columns import Asked, Columns, find_columns
from onefill.pairs.output import PAIRS, PICTURES
from onefill.pairs.tables import Row
from onefill.tasks.registry import TaskRegistry


@dataclass(frozen=True)
class Imported:
    """What came of it.

    Attributes:
        pairs: lines written.
        skipped: rows left out because of a fault.
        columns: what was taken for what.
    """

    pairs: int
    skipped: int
    columns: Columns


def import_pairs(
    rows: Iterator[tuple[str, Row]],
    asked: Asked,
    registry: TaskRegistry,
    out: Path,
    *,
    images: Path,
    limit: int | None = None,
    on_bad: Callable[[BadInput], None] | None = None,
    on_row: Callable[[], None] = lambda: None,
) -> Imported:
    """Write pairs of a table; the folder appears when all of them are there.

    Pictures that are files stay where they are and are named from the new folder; pictures
    inside the table are written beside the pairs, bytes unchanged.

    Args:
        rows: each with where it stands.
        asked: what the user said of the columns.
        registry: the tasks a row may name.
        out: a folder that does not exist yet.
        images: where paths in the table start.
        limit: most rows to read.
        on_bad: called with the reason why a row is left out; without it the first one raises.
        on_row: called after each row.

    Raises:
        BadInput: the folder exists, columns are missing, or a row has a fault; nothing is left.
    """
    if out.exists():
        raise BadInput(f"--out {out}: exists already; name a new folder")
    first = next(rows, None)
    if first is None:
        raise BadInput("the table has no rows; nothing to import")
    columns = find_columns(list(first[1]), asked, registry)
    stage = out.with_name(f".{out.name}.part")
    shutil.rmtree(stage, ignore_errors=True)
    try:
        (stage / PICTURES).mkdir(parents=True)
        pairs = skipped = 0
        with (stage / PAIRS).open("w", encoding="utf-8") as file:
            for where, row in islice(chain([first], rows), limit):
                try:
                    line = _convert(row, columns, registry, stage, out, images)
                except BadInput as error:
                    fault = BadInput(f"{where}: {error}")
                    if on_bad is None:
                        raise fault from error
                    on_bad(fault)
                    skipped += 1
                else:
                    file.write(json.dumps(line, ensure_ascii=False) + "\n")
                    pairs += 1
                on_row()
        if not pairs:
            raise BadInput("every row has a fault; check --first, --second and --images")
        stage.rename(out)
    except OSError as error:
        raise BadInput(
            f"--out {out}: cannot be written ({error.strerror}); name another folder"
        ) from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    return Imported(pairs, skipped, columns)


def _convert(
    row: Row, columns: Columns, registry: TaskRegistry, stage: Path, out: Path, images: Path
) -> dict[str, Any]:
    task = registry.get(_cell(row, columns.task) or columns.always_task)
    name = _cell(row, columns.dim) or columns.always_dim
    if name is None:
        raise BadInput(f"{columns.dim} is empty; it should name a dimension")
    dimension = task.dimension(name)
    prompt = _cell(row, columns.prompt)
    if dimension.uses_prompt and prompt is None:
        raise BadInput(f"no prompt, and {dimension.name} is judged against it; give --prompt")
    line: dict[str, Any] = {
        "first": _picture(row.get(columns.first), columns.first, stage, out, images),
        "second": _picture(row.get(columns.second), columns.second, stage, out, images),
        "task": task.name,
    }
    if prompt is not None:
        # Answers to one prompt belong on one side of a split.
        line |= {"prompt": prompt, "scene": prompt}
    line["winner"] = {dimension.name: columns.winner_of(row)}
    return line


def _cell(row: Row, column: str | None) -> str | None:
    value = row.get(column) if column is not None else None
    text = " ".join(str(value).split()) if value is not None else ""
    return text or None


def _picture(value: Any, column: str, stage: Path, out: Path, images: Path) -> str:
    """Path of a picture as the pairs file tells it."""
    if isinstance(value, dict):  # as Hugging Face stores pictures
        value = value.get("bytes") or value.get("path")
    if isinstance(value, bytes | bytearray):
        return _store(bytes(value), column, stage)
    if not isinstance(value, str) or not value:
        raise BadInput(f"{column} holds no picture: neither a path nor the bytes of a file")
    if "://" in value:
        raise BadInput(f"{column} is an address on the net ({value}); fetch the pictures first")
    path = images / value
    read_image(path, flag=column)
    return Path(os.path.relpath(path.resolve(), out.resolve())).as_posix()


def _store(data: bytes, column: str, stage: Path) -> str:
    try:
        with Image.open(io.BytesIO(data)) as image:
            suffix = (image.format or "png").lower()
            image.verify()
    # Whatever Pillow makes of damaged bytes, they are no picture.
    except Exception as error:
        raise BadInput(f"{column} holds bytes that are no picture ({error})") from error
    name = f"{hashlib.sha256(data).hexdigest()[:24]}.{suffix}"
    path = stage / PICTURES / name
    if not path.exists():
        path.write_bytes(data)
    return f"{PICTURES}/{name}"

"""Rows of training data from a folder of pictures, with or without captions."""

from __future__ import annotations

from pathlib import Path

from onefill.data.jsonl import Row, read_rows
from onefill.errors import BadInput

METADATA = "metadata.jsonl"

_PICTURES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})


def read_folder(folder: Path) -> list[Row]:
    """Every picture of a folder and its sub-folders, in the order of their names.

    With a ``metadata.jsonl`` in the folder, its rows alone count. Otherwise each picture is a
    row, and the text file beside it (``hat.jpg``, ``hat.txt``) holds its words.

    Raises:
        BadInput: there is no picture, a caption is no UTF-8 text, or the metadata is malformed.
    """
    metadata = folder / METADATA
    if metadata.is_file():
        return read_rows(metadata)
    pictures = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in _PICTURES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    if not pictures:
        kinds = ", ".join(sorted(kind[1:] for kind in _PICTURES))
        raise BadInput(f"--data {folder}: no picture in it ({kinds}); name a folder that has some")
    return [Row(path, None, _caption(path), None, str(path)) for path in pictures]


def _caption(picture: Path) -> str | None:
    path = picture.with_suffix(".txt")
    if not path.is_file():
        return None
    try:
        return " ".join(path.read_text(encoding="utf-8").split()) or None
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(
            f"{path}: a caption must be UTF-8 text ({error}); save it again as such"
        ) from error

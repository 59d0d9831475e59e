"""What sheets of pictures share: two results of a pair side by side, and a file for the sheet."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

OTHER = {"first": "second", "second": "first"}


def paste_pair(
    sheet: Image.Image,
    at: tuple[int, int],
    folder: Path,
    row: Mapping[str, Any],
    left: str,
    side: int,
) -> None:
    """Paste the pair's ``left`` picture and the other one beside it, squares of ``side`` pixels."""
    for place, key in enumerate((left, OTHER[left])):
        with Image.open(folder / row[key]) as picture:
            shown = picture.convert("RGB").resize((side, side), Image.Resampling.LANCZOS)
        sheet.paste(shown, (at[0] + place * (side + 2), at[1]))


def save_sheet(sheet: Image.Image, file: Path, *, quality: int = 88, method: int = 4) -> None:
    """Write the sheet, making its folder; quality and method are those of WebP."""
    file.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(file, quality=quality, method=method)

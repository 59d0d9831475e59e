"""Small files that are there whole or not at all."""

from __future__ import annotations

from pathlib import Path


def replace_bytes(path: Path, data: bytes) -> None:
    """Write a file; whoever reads it, and whenever, finds the old one or the new one.

    Raises:
        OSError: it cannot be written; the old one stays.
    """
    aside = path.with_name(f".{path.name}.partial")
    try:
        aside.write_bytes(data)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def replace_text(path: Path, text: str) -> None:
    """``replace_bytes`` of a text in UTF-8."""
    replace_bytes(path, text.encode("utf-8"))

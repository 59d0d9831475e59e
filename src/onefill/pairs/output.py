"""The folder that pairs are written to: pictures, ``pairs.jsonl``, and what they were made with.

A line is appended in one write after its pictures are whole, so that a stop at any moment leaves
a file that is valid up to its last newline, and the making goes on from there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from onefill.errors import BadInput, OnefillError
from onefill.files import replace_text
from onefill.pairs.subject import Picture
from onefill.tasks.types import Mask

PAIRS = "pairs.jsonl"
SETTINGS = "make.json"
PICTURES = "pictures"


@dataclass(frozen=True)
class Written:
    """What is there already.

    Attributes:
        pairs: number of lines.
        last: highest ``number`` of a line, -1 if there is none.
    """

    pairs: int
    last: int


class PairsFolder:
    """A folder of pairs that are made one after the other."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def pairs(self) -> Path:
        """The pairs file."""
        return self.path / PAIRS

    def open(self, settings: Mapping[str, Any]) -> Written:
        """Make the folder, or go on with one that was made with the same settings.

        Raises:
            BadInput: the folder holds something else, or pairs made with other settings.
        """
        where = f"--out {self.path}"
        if self.path.exists() and not self.path.is_dir():
            raise BadInput(f"{where}: is a file; name a folder")
        told = self.path / SETTINGS
        if not told.is_file():
            if self.path.is_dir() and any(self.path.iterdir()):
                raise BadInput(f"{where}: is not empty and holds no pairs; name a new folder")
            self._create(settings, where)
            return Written(0, -1)
        try:
            before = json.loads(told.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise BadInput(f"{told}: cannot be read ({error}); name a new folder") from error
        now = json.loads(json.dumps(settings))
        other = [name for name in {**before, **now} if before.get(name) != now.get(name)]
        if other:
            name = other[0]
            raise BadInput(
                f"{where}: its pairs were made with {name} {_told(before.get(name))}, not "
                f"{_told(now.get(name))}; repeat the old settings to go on, or name a new folder"
            )
        return self._drop_torn_line()

    def _create(self, settings: Mapping[str, Any], where: str) -> None:
        try:
            (self.path / PICTURES).mkdir(parents=True, exist_ok=True)
            replace_text(self.path / SETTINGS, json.dumps(settings, indent=1) + "\n")
        except OSError as error:
            raise BadInput(
                f"{where}: cannot be made ({error.strerror}); name another folder"
            ) from error

    def _drop_torn_line(self) -> Written:
        if not self.pairs.exists():
            return Written(0, -1)
        text = self.pairs.read_bytes()
        whole = text[: text.rfind(b"\n") + 1]
        if len(whole) < len(text):
            with self.pairs.open("r+b") as file:
                file.truncate(len(whole))
        lines = whole.splitlines()
        try:
            return Written(
                len(lines), max((json.loads(line)["number"] for line in lines), default=-1)
            )
        except (ValueError, KeyError, TypeError) as error:
            raise BadInput(
                f"{self.pairs}: was changed since it was made ({error}); name a new folder"
            ) from error

    def save_picture(self, name: str, picture: Picture) -> str:
        """Write a picture without loss; returns its path as a pairs file tells it."""
        return self._save(f"{name}.webp", Image.fromarray(picture), lossless=True, method=2)

    def save_mask(self, name: str, mask: Mask) -> str:
        """Write a mask, white where it paints; returns its path as a pairs file tells it."""
        return self._save(f"{name}.png", Image.fromarray(np.asarray(mask)), optimize=True)

    def _save(self, file: str, image: Image.Image, **how: Any) -> str:
        target = self.path / PICTURES / file
        staged = target.with_name(f".{file}.part")
        try:
            image.save(staged, format=target.suffix[1:].upper(), **how)
            staged.replace(target)
        except OSError as error:
            raise OnefillError(f"{target}: cannot be written ({error})") from error
        return f"{PICTURES}/{file}"

    def append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add lines, all in one write."""
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
        try:
            with self.pairs.open("ab", buffering=0) as file:
                file.write(text)
                os.fsync(file.fileno())
        except OSError as error:
            raise OnefillError(f"{self.pairs}: cannot be written ({error})") from error


def _told(value: Any) -> str:
    return "none" if value is None else str(value)

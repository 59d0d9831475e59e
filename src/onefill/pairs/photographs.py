"""Anybody's pictures as material: each is taken to be a good result of the edit."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageFont

from onefill.data.jsonl import Row
from onefill.data.sample import cut_image, cut_mask, draw_square
from onefill.data.source import Part, read_data, rows_of_part
from onefill.errors import BadInput, OnefillError
from onefill.images import read_image, read_mask
from onefill.pairs import lettering
from onefill.pairs.lettering import Fonts
from onefill.pairs.subject import (
    ALIGNMENT,
    REMOVAL,
    Layer,
    Subject,
    bounds,
    grey_out,
    soft_edge,
)
from onefill.pocket.contests.damage_canvas import numbers
from onefill.tasks import shapes
from onefill.tasks.types import Mask, Task

LEAST_SIDE = 32
"""Shorter side of the smallest picture that is used, in pixels."""

_TEXT = "text"
_TRIES = 30


class Photographs:
    """Pictures from a folder or a jsonl file, as ``onefill train --data`` takes them.

    The region is the row's own mask or one that the task draws. Where an object is to be
    removed the row's mask is left alone, since it covers one that is still there.

    Attributes:
        size: side of the squares that are cut from the pictures; smaller pictures are not
            enlarged.
    """

    def __init__(self, rows: Sequence[Row], root: Path, size: int, fonts: Fonts | None) -> None:
        self.size = size
        self._rows = rows
        self._root = root
        self._fonts = fonts

    def fingerprint(self) -> str:
        """A short hash of what the rows say, file names included and file contents not."""
        told = [
            (row.image.name, row.mask and row.mask.name, row.words, row.task) for row in self._rows
        ]
        return f"{zlib.crc32(repr(told).encode()):08x}"

    def why_not(self, task: Task, dimension: str) -> str | None:
        """Why these pictures have no subject for a dimension of a task; None if they have."""
        if dimension == REMOVAL and len({row.image for row in self._rows}) < 2:
            return "it needs two pictures, to leave a thing from one in the other"
        if dimension != ALIGNMENT:
            return None
        if task.name == _TEXT:
            if self._fonts is None:
                return "only --fonts tells what letters look like"
            if not any(self._writable(row) for row in self._rows):
                return "no prompt can be written with --fonts"
            return None
        if len({_plain(row.words) for row in self._serving(task) if row.words}) < 2:
            return "it needs pictures with two different prompts"
        return None

    def subject(self, task: Task, dimension: str, rng: np.random.Generator) -> Subject:
        """Cut a square from a picture and draw its region."""
        rows = self._serving(task)
        written = task.name == _TEXT and self._fonts is not None
        if written:
            rows = [row for row in self._rows if self._writable(row)] or rows
        elif dimension == ALIGNMENT:
            rows = [row for row in rows if row.words]
        row = rows[int(rng.integers(len(rows)))]
        removes = any(d.name == REMOVAL for d in task.dimensions)
        picture, own = self._cut(row, rng, with_mask=not removes)
        mask = task.draw_mask(picture, rng) if own is None else own
        clean = numbers(picture)
        scene = _name(row.image, self._root)
        if written and self._writable(row) and self._fonts is not None:
            words = _short_words(row.words or "", rng)
            faces = self._fonts.able(words)
            write = lettering.open_writing(clean, mask, words, faces, int(rng.integers(2**62)))
            return Subject(
                task=task,
                words=words,
                scene=scene,
                clean=write(words, False),
                mask=mask,
                source=np.asarray(picture),
                background=clean,
                write=write,
                rivals=self._rivals(words, faces),
            )
        return Subject(
            task=task,
            words=row.words,
            scene=scene,
            clean=clean,
            mask=mask,
            source=grey_out(clean, mask),
        )

    def other(self, subject: Subject, rng: np.random.Generator) -> Layer:
        """What a picture with another prompt shows in its region, or a lump of it."""
        row = self._another(subject, rng)
        picture, own = self._cut(row, rng)
        removes = any(d.name == REMOVAL for d in subject.task.dimensions)
        if own is None:
            side = max(2, round(0.7 * picture.width))
            x, y = (int(rng.integers(picture.width - side + 1)) for _ in range(2))
            box = (x, y, x + side, y + side)
        else:
            down, across = bounds(own)
            box = (across.start, down.start, across.stop, down.stop)
        height, width = subject.mask.shape
        place = bounds(subject.mask)
        room = (place[1].stop - place[1].start, place[0].stop - place[0].start)
        shown = np.zeros((height, width, 4), np.float32)
        part = picture.resize(room, Image.Resampling.LANCZOS, box=box)
        shown[place][..., :3] = numbers(part)
        scale = min(height, width) / 64
        on = subject.mask
        if removes:
            lump = np.zeros_like(on)
            lump[place] = shapes.blob(room, rng, (0.35, 0.7))
            on = on & lump if (on & lump).any() else on
        shown[..., 3:] = soft_edge(on, scale)
        return shown

    def _another(self, subject: Subject, rng: np.random.Generator) -> Row:
        for _ in range(_TRIES):
            row = self._rows[int(rng.integers(len(self._rows)))]
            if _name(row.image, self._root) == subject.scene:
                continue
            if not subject.words or (row.words and _plain(row.words) != _plain(subject.words)):
                return row
        raise OnefillError(
            f"{subject.scene}: in {_TRIES} draws no picture with another prompt came up; add some"
        )

    def _serving(self, task: Task) -> list[Row]:
        meant = [row for row in self._rows if row.task in (None, task.name)]
        return meant or list(self._rows)

    def _writable(self, row: Row) -> bool:
        words = (row.words or "").split()
        if self._fonts is None or not words:
            return False
        return bool(self._fonts.able("".join(words))) and len(words[0]) <= lettering.LONGEST

    def _rivals(self, words: str, faces: Sequence[ImageFont.FreeTypeFont]) -> tuple[str, ...]:
        """Other short prompts that every one of the faces can write."""
        found = {" ".join((row.words or "").split()) for row in self._rows} - {"", words}
        short = sorted(text for text in found if len(text) <= lettering.LONGEST)
        return tuple(
            text
            for text in short[:_TRIES]
            if self._fonts and len(self._fonts.able(text)) == len(self._fonts.faces)
        )

    def _cut(
        self, row: Row, rng: np.random.Generator, *, with_mask: bool = True
    ) -> tuple[Image.Image, Mask | None]:
        picture = read_image(row.image, flag=row.origin)
        short = min(picture.size)
        if short < LEAST_SIDE:
            raise BadInput(
                f"{row.origin}: {picture.width}x{picture.height} is too small to be damaged "
                f"visibly; give pictures of at least {LEAST_SIDE} pixels a side"
            )
        size = min(self.size, short)
        if row.mask is None or not with_mask:
            box = draw_square(picture, size, rng)
            return Image.fromarray(cut_image(picture, box, size)), None
        whole = read_mask(row.mask, picture.size, flag=row.origin)
        box = draw_square(picture, size, rng, whole)
        return Image.fromarray(cut_image(picture, box, size)), cut_mask(whole, box, size)


def open_photographs(path: Path, part: Part, size: int, fonts: Fonts | None) -> Photographs:
    """Open a folder of pictures or a jsonl file as material.

    Raises:
        BadInput: see ``onefill.data.source.read_data``; or the part of it is empty.
    """
    rows = rows_of_part(read_data(path), part)
    if not rows:
        raise BadInput(
            f"--data {path}: too few pictures for --part {part}; add some, or leave --part out"
        )
    return Photographs(rows, path if path.is_dir() else path.parent, size, fonts)


def _plain(words: str | None) -> str:
    return " ".join((words or "").casefold().split())


def _name(image: Path, root: Path) -> str:
    return image.relative_to(root).as_posix() if image.is_relative_to(root) else image.name


def _short_words(caption: str, rng: np.random.Generator) -> str:
    """The caption, or of one too long to be written one word."""
    words = " ".join(caption.split())
    if len(words) <= lettering.LONGEST:
        return words
    short = [word for word in words.split() if len(word) <= lettering.LONGEST]
    return str(rng.choice(short))

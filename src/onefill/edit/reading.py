"""What an edit wrote into a picture, read back by an optical character reader.

The reader is RapidOCR, an extra: ``pip install 'onefill[ocr]'``. It reads Latin and Chinese, and
its weights are in its package.
"""

from __future__ import annotations

import importlib.util
import unicodedata
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from onefill.edit.crop import Box
from onefill.errors import BadInput
from onefill.images import read_image

_PACKAGES = ("rapidocr", "onnxruntime")
_MARGIN = 0.25  # of the box's shorter side: letters touch the mask's edge
_LEAST_SIDE = 96  # pixels; smaller boxes are enlarged for the reader

_LEAST_SCORE = 0.5  # the reader's own limit for lines; where nothing is written it gives up to 0.33


class Reader(Protocol):
    """Reads text in a picture."""

    def read(self, picture: Image.Image) -> str:
        """The lines found, from the top down, between spaces; empty if there are none."""


def missing_packages() -> list[str]:
    """The reader's packages that are not installed."""
    return [name for name in _PACKAGES if importlib.util.find_spec(name) is None]


def check_reader() -> None:
    """Refuse, before anything is painted, what could not be read back.

    Raises:
        BadInput: the extra is not installed.
    """
    if missing := missing_packages():
        raise BadInput(
            f"--check-text: needs {' and '.join(missing)}; install with pip install 'onefill[ocr]'"
        )


def open_reader() -> Reader:
    """RapidOCR with the models in its package.

    Raises:
        BadInput: the extra is not installed.
    """
    check_reader()
    from rapidocr import RapidOCR

    return _RapidReader(RapidOCR(params={"Global.log_level": "critical"}))


class _RapidReader:
    def __init__(self, engine: Any) -> None:
        self._engine = engine

    def read(self, picture: Image.Image) -> str:
        pixels = np.asarray(picture.convert("RGB"))[..., ::-1]
        # Both calls say what they want, as the reader remembers what the last one said.
        if lines := self._engine(pixels, use_det=True, use_cls=True).txts:
            return " ".join(lines)
        # A word as large as the picture is often not found as a line, and yet read as one.
        whole = self._engine(pixels, use_det=False, use_cls=False)
        words = zip(whole.txts or (), whole.scores or (), strict=True)
        return " ".join(word for word, score in words if score >= _LEAST_SCORE)


def read_back(path: Path, box: Box, reader: Reader) -> str:
    """What a result says where it was painted.

    Args:
        path: the result.
        box: where, in its pixels.
        reader: reads.
    """
    return read_box(read_image(path), box, reader)


def read_box(picture: Image.Image, box: Box, reader: Reader) -> str:
    """What a picture says in a box and a little round it; small boxes are enlarged first."""
    margin = round(_MARGIN * min(box.width, box.height))
    part = picture.crop(
        (
            max(0, box.x - margin),
            max(0, box.y - margin),
            min(picture.width, box.right + margin),
            min(picture.height, box.bottom + margin),
        )
    )
    enlarge = _LEAST_SIDE / min(part.size)
    if enlarge > 1:
        size = (round(part.width * enlarge), round(part.height * enlarge))
        part = part.resize(size, Image.Resampling.BICUBIC)
    return reader.read(part)


def says_the_same(read: str, wanted: str) -> bool:
    """Whether two texts have the same letters; spaces, case and forms of width do not count."""
    return _letters(read) == _letters(wanted)


def _letters(text: str) -> str:
    return "".join(unicodedata.normalize("NFKC", text).casefold().split())

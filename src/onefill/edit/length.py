"""Lengths as people type them: pixels, or percent of something."""

from __future__ import annotations

import re

from onefill.errors import BadInput

_LENGTH = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*(%|px)?")


def parse_length(text: str, whole: float, *, where: str) -> float:
    """Pixels that ``text`` stands for: ``128``, ``128px`` or ``12.5%``.

    Args:
        text: what was typed.
        whole: what 100 % are, in pixels.
        where: flag and value as typed, for the error line.

    Raises:
        BadInput: it is no length.
    """
    match = _LENGTH.fullmatch(text.strip())
    if match is None:
        raise BadInput(f"{where}: {text.strip()!r} is no length; write pixels as 128, or 20%")
    value = float(match[1])
    return value * whole / 100 if match[2] == "%" else value


def parse_lengths(text: str, wholes: tuple[float, ...], *, where: str, form: str) -> list[float]:
    """Lengths between commas, one for each of ``wholes``.

    Args:
        text: what was typed.
        wholes: what 100 % of each are, in pixels.
        where: flag and value as typed, for the error line.
        form: how it is written, for the error line: ``x,y,width,height``.

    Raises:
        BadInput: too many or too few, or one is no length.
    """
    parts = text.split(",")
    if len(parts) != len(wholes):
        raise BadInput(f"{where}: write it as {form}, in pixels or percent")
    pairs = zip(parts, wholes, strict=True)
    return [parse_length(part, whole, where=where) for part, whole in pairs]

"""The score table: what is measured, what it should reach, and how a figure is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onefill.judge.accuracy import wilson
from onefill.pocket.scoring.background_kinds import KINDS

SHARE, DECIBEL, TIMES, SECONDS, DISTANCE = "%", "dB", "×", "s", ""

_DIGITS = {SHARE: 1, DECIBEL: 1, TIMES: 2, SECONDS: 2, DISTANCE: 3}


@dataclass(frozen=True, kw_only=True)
class Goal:
    """One row before it is measured.

    Attributes:
        what: is measured.
        unit: of the figure; shares are in [0, 1] and written in per cent.
        floor: what it has to reach; None where nothing is asked.
        aim: what is wanted.
        lower: whether less is better.
    """

    what: str
    unit: str
    floor: float | None = None
    aim: float | None = None
    lower: bool = False


def _removal(kind: str) -> dict[str, Goal]:
    of = f"removal, {kind}"
    return {
        f"removal/{kind}/lpips": Goal(
            what=f"{of}: LPIPS over that of the best of Telea, Navier-Stokes and PatchMatch",
            unit=TIMES, floor=1.0, aim=0.75, lower=True,
        ),
        f"removal/{kind}/psnr": Goal(
            what=f"{of}: PSNR above that of the best of them", unit=DECIBEL, floor=-1.0, aim=0.0
        ),
    }  # fmt: skip


GOALS: dict[str, Goal] = {
    "vae/psnr": Goal(what="VAE: PSNR on photographs", unit=DECIBEL, floor=28.0),
    "vae/lpips": Goal(what="VAE: LPIPS on photographs", unit=DISTANCE, lower=True),
    "fill/named": Goal(
        what="fill: things named by the classifier", unit=SHARE, floor=0.65, aim=0.9
    ),
    "fill/classifier": Goal(
        what="the classifier itself, on true composites", unit=SHARE, floor=0.95
    ),
    "fill/seam": Goal(
        what="fill: seam error over that of true composites",
        unit=TIMES, floor=1.5, aim=1.1, lower=True,
    ),
    **{key: goal for kind in KINDS for key, goal in _removal(kind).items()},
    "extend/lpips": Goal(
        what="extend: LPIPS over that of the best of mirror, Telea and Navier-Stokes",
        unit=TIMES, floor=1.0, aim=0.75, lower=True,
    ),
    "text/read": Goal(what="text: words read exactly by OCR", unit=SHARE, floor=0.4, aim=0.85),
    "text/reader": Goal(what="the OCR itself, on true composites", unit=SHARE),
    "unseen/right": Goal(
        what="things in a colour never trained: named, and in that colour",
        unit=SHARE, floor=0.6, aim=0.85,
    ),
    "unseen/checks": Goal(what="the two checks themselves, on true composites", unit=SHARE),
    "speed/edit": Goal(what="one edit of 20 steps", unit=SECONDS, floor=2.0, lower=True),
    "speed/load": Goal(what="loading, imports done", unit=SECONDS, floor=1.0, lower=True),
}  # fmt: skip
"""The rows in their order."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """What was measured.

    Attributes:
        value: in the goal's unit.
        low: lower end of the 95 % interval; None where there is none.
        high: upper end.
        count: of how many scenes.
        note: what the value is made of.
    """

    value: float
    low: float | None = None
    high: float | None = None
    count: int | None = None
    note: str = ""


@dataclass(frozen=True)
class Unmeasured:
    """Why there is no figure, and what to do about it."""

    reason: str


NEEDS_PACKAGES = Unmeasured("pip install 'onefill[score]'")
"""A package is missing that nothing but scoring needs."""

Figures = Mapping[str, Figure | Unmeasured]
"""Key of ``GOALS`` to what was measured."""


def share_of(right: NDArray[np.bool_], note: str = "") -> Figure:
    """The share of answers that are right, with the 95 % interval of Wilson (1927)."""
    low, high = wilson(float(right.sum()), len(right))
    return Figure(value=float(right.mean()), low=low, high=high, count=len(right), note=note)


def rows_of(figures: Figures) -> list[dict[str, Any]]:
    """The whole table in the order of ``GOALS``, as it goes into JSON."""
    return [_row(key, goal, figures[key]) for key, goal in GOALS.items()]


def _row(key: str, goal: Goal, found: Figure | Unmeasured) -> dict[str, Any]:
    row: dict[str, Any] = {"key": key, "what": goal.what, "unit": goal.unit}
    if isinstance(found, Unmeasured):
        row |= {"measured": f"not measured: {found.reason}", "value": None, "reached": None}
    else:
        row |= {
            "measured": _measured(goal.unit, found),
            "value": found.value,
            "low": found.low,
            "high": found.high,
            "count": found.count,
            "note": found.note,
            "reached": _reached(goal, found.value),
        }
    for name, limit in (("floor", goal.floor), ("aim", goal.aim)):
        sign = "≤" if goal.lower else "≥"
        row[name] = "" if limit is None else f"{sign} {in_words(goal.unit, limit)}"
    return row


def _reached(goal: Goal, value: float) -> str | None:
    """The best of "aim" and "floor" that is reached, "none" of both; None where none is set."""
    if goal.floor is None:
        return None

    def within(limit: float) -> bool:
        return value <= limit if goal.lower else value >= limit

    if goal.aim is not None and within(goal.aim):
        return "aim"
    return "floor" if within(goal.floor) else "none"


def _measured(unit: str, figure: Figure) -> str:
    text = in_words(unit, figure.value)
    if figure.low is not None and figure.high is not None:
        text += f" ({_number(unit, figure.low)} to {_number(unit, figure.high)})"
    return text


def in_words(unit: str, value: float) -> str:
    """A figure as people read it: "97.6 %", "31.7 dB", "0.92 ×"."""
    return f"{_number(unit, value)} {unit}".strip()


def _number(unit: str, value: float) -> str:
    return f"{100 * value if unit == SHARE else value:.{_DIGITS[unit]}f}"

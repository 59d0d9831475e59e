"""The curves of a run, read from ``metrics.jsonl``: rewards, win rates, and how it kept its health.

This module is light: neither torch nor the models are needed to look at a run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

SMOOTHING = 0.1
"""Share of the way to the newest value that a smoothed curve goes at each of its points."""

_NO_HEALTH = ("kind", "step", "tasks", "reward", "gradient_step", "sigma")


@dataclass
class Curve:
    """Values over steps, in order."""

    steps: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def add(self, step: int, value: float) -> None:
        """One more point."""
        self.steps.append(step)
        self.values.append(value)

    def smoothed(self, share: float = SMOOTHING) -> list[float]:
        """An exponential moving average, of the first values a plain mean."""
        smooth: list[float] = []
        for number, value in enumerate(self.values, start=1):
            last = smooth[-1] if smooth else value
            smooth.append(last + max(share, 1 / number) * (value - last))
        return smooth

    @property
    def change(self) -> tuple[float, float]:
        """The mean of its first and of its last fifth."""
        count = max(1, len(self.values) // 5)
        return sum(self.values[:count]) / count, sum(self.values[-count:]) / count


Curves = dict[str, dict[str, Curve]]
"""By task, then dimension."""


def reward_curves(rows: Iterable[Mapping[str, Any]]) -> Curves:
    """Mean P(yes) of each dimension at the steps its task was drawn."""
    curves: Curves = {}
    for row in rows:
        if row["kind"] == "step":
            _add(curves, row["step"], row.get("reward", {}))
    return curves


def win_rate_curves(rows: Iterable[Mapping[str, Any]]) -> Curves:
    """The held-out win rate against the start model, before, during and after."""
    curves: Curves = {}
    for row in rows:
        _add(curves, row["step"], row.get("win_rate", {}))
    return curves


def health_curves(rows: Iterable[Mapping[str, Any]]) -> dict[str, Curve]:
    """Every other number of the steps by name; of one per dimension the mean."""
    curves: dict[str, Curve] = {}
    for row in rows:
        if row["kind"] != "step":
            continue
        for name, value in row.items():
            numbers = [] if name in _NO_HEALTH else _numbers(value)
            if numbers:
                whole = sum(numbers) if name == "seconds" else sum(numbers) / len(numbers)
                curves.setdefault(name, Curve()).add(row["step"], whole)
    return curves


def hacking_alarms(rows: Iterable[Mapping[str, Any]]) -> list[tuple[int, str]]:
    """What looked like a policy that fools its judge: the step, and the words of the alarm."""
    return [
        (row["step"], str(alarm))
        for row in rows
        if row["kind"] == "monitor"
        for alarm in row.get("alarms", ())
    ]


def _add(curves: Curves, step: int, values: Mapping[str, Mapping[str, float]]) -> None:
    for task, dimensions in values.items():
        for dimension, value in dimensions.items():
            curves.setdefault(task, {}).setdefault(dimension, Curve()).add(step, value)


def _numbers(value: Any) -> list[float]:
    """Those in a value of a line, however deep."""
    if isinstance(value, Mapping):
        return [number for inner in value.values() for number in _numbers(inner)]
    return [float(value)] if isinstance(value, int | float) else []

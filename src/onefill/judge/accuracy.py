"""How often a judge agrees with the winners of pairs, and how sure that figure is.

Laid out like the paper's Table 1: tasks by dimensions. Ties are left out of accuracy, as there is
nothing to be right about.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from onefill.judge.asking import PairLogits
from onefill.judge.calibration import (
    Bin,
    expected_calibration_error,
    fit_temperatures,
    reliability,
)
from onefill.judge.pair import PreferencePair

STRENGTHS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
"""Edges of the ranges of strength that accuracy is told by; a strength of 1 is in the last."""

_Z = 1.959963984540054  # of the normal distribution: 95 % of it lies within


@dataclass(frozen=True)
class Share:
    """A share with its interval.

    Attributes:
        rate: in [0, 1]; 0 of nothing.
        low: lower end of the 95 % interval of Wilson (1927).
        high: upper end.
        n: of how many.
    """

    rate: float
    low: float
    high: float
    n: int


@dataclass(frozen=True)
class Answer:
    """One dimension of one pair, answered and known.

    Attributes:
        logits: the judge's answers in both orders.
        winner: "first", "second" or "tie".
        temperature: the judge's for this task and dimension.
    """

    logits: PairLogits
    winner: str
    temperature: float

    @property
    def cell(self) -> str:
        """Where it counts, as task/dimension."""
        return f"{self.logits.pair.task}/{self.logits.dim}"

    @property
    def margin(self) -> float:
        """Calibrated logit that the first picture is better, both orders together."""
        return (self.logits.forward - self.logits.backward) / 2 / self.temperature

    @property
    def p_first(self) -> float:
        """The probability that a verdict shows."""
        return _sigmoid(self.margin)

    @property
    def order_gap(self) -> float:
        """How far apart the two orders' probabilities are, as in a verdict."""
        forward = _sigmoid(self.logits.forward / self.temperature)
        return abs(forward - _sigmoid(-self.logits.backward / self.temperature))

    @property
    def points(self) -> float:
        """1 where both orders' common verdict is right, 0 where wrong, 0.5 at exactly one half."""
        return _points(self.margin, self.winner)

    @property
    def points_alone(self) -> float:
        """The mean of the two orders, each counted alone."""
        forward = _points(self.logits.forward, self.winner)
        return (forward + _points(-self.logits.backward, self.winner)) / 2

    @property
    def first_place(self) -> float:
        """How often, of the two orders, the picture that is shown first was named."""
        return (float(self.logits.forward > 0) + float(self.logits.backward > 0)) / 2


@dataclass(frozen=True)
class Cell:
    """What is known of a judge on one task and dimension, or on all together.

    Attributes:
        accuracy: of both orders' common verdict, over decided pairs.
        one_order: accuracy of either order alone.
        order_gap: mean distance of the two orders' probabilities, in [0, 1].
        first_place: how often the picture shown first is named; one half without a bias.
        ece: expected calibration error of the probabilities as they are shown.
        ties: pairs left out because neither is better.
        bins: the reliability diagram.
        by_strength: (from, to, accuracy) for ranges of strength that have pairs.
    """

    accuracy: Share
    one_order: float
    order_gap: float
    first_place: float
    ece: float
    ties: int
    bins: Sequence[Bin]
    by_strength: Sequence[tuple[float, float, Share]]


@dataclass(frozen=True)
class AccuracyTable:
    """Every task and dimension that has pairs, by name, and all pairs together."""

    cells: Mapping[str, Cell]
    overall: Cell

    @property
    def mean(self) -> float:
        """The mean accuracy of the cells that have decided pairs, each counting alike."""
        rates = [cell.accuracy.rate for cell in self.cells.values() if cell.accuracy.n]
        return sum(rates) / max(1, len(rates))


def wilson(points: float, count: int) -> tuple[float, float]:
    """The 95 % interval of Wilson (1927) for a share of ``points`` in ``count``, within [0, 1]."""
    rate = points / count
    spread = _Z**2 / count
    centre = (rate + spread / 2) / (1 + spread)
    reach = math.sqrt(rate * (1 - rate) * spread + spread**2 / 4) / (1 + spread)
    return max(0.0, centre - reach), min(1.0, centre + reach)


def known(pairs: Iterable[PreferencePair]) -> list[PreferencePair]:
    """The pairs that have a winner, asked about exactly the dimensions that have one."""
    return [replace(pair, dims=tuple(pair.winner)) for pair in pairs if pair.winner]


def answers(
    logits: Iterable[PairLogits], calibration: Mapping[str, float] | None = None
) -> list[Answer]:
    """Logits of pairs from ``known`` with their winners; ``calibration`` as ``Judge`` has it."""
    heats = calibration or {}
    return [
        Answer(
            found,
            found.pair.winner[found.dim],
            heats.get(f"{found.pair.task}/{found.dim}", 1.0),
        )
        for found in logits
    ]


def accuracy_table(rows: Sequence[Answer]) -> AccuracyTable:
    """Accuracy, order bias and calibration for each task and dimension."""
    cells: dict[str, list[Answer]] = {}
    for row in rows:
        cells.setdefault(row.cell, []).append(row)
    return AccuracyTable({name: _cell(found) for name, found in sorted(cells.items())}, _cell(rows))


def temperatures(rows: Sequence[Answer]) -> dict[str, float]:
    """The temperatures that suit these answers best, by "task/dimension"; ties say nothing."""
    cells: dict[str, list[Answer]] = {}
    for row in rows:
        cells.setdefault(row.cell, [])
        if row.winner != "tie":
            cells[row.cell].append(row)
    return fit_temperatures({name: _columns(found) for name, found in cells.items()})


def cross_calibrated(rows: Sequence[Answer]) -> list[Answer]:
    """The same answers, each under temperatures fitted on the other half of the scenes.

    A temperature flatters the pairs that it was fitted on; the calibration error of these answers
    is an honest one, for half as many pairs.
    """
    scenes = sorted({row.logits.pair.scene for row in rows})
    side = {scene: index % 2 for index, scene in enumerate(scenes)}
    halves = [[row for row in rows if side[row.logits.pair.scene] == half] for half in (0, 1)]
    heats = [temperatures(half) for half in halves]
    return [
        replace(row, temperature=heats[1 - side[row.logits.pair.scene]].get(row.cell, 1.0))
        for row in rows
    ]


def _cell(rows: Sequence[Answer]) -> Cell:
    decided = [row for row in rows if row.winner != "tie"]
    bins = reliability([r.p_first for r in decided], [r.winner == "first" for r in decided])
    return Cell(
        accuracy=_share([row.points for row in decided]),
        one_order=_mean([row.points_alone for row in decided]),
        order_gap=_mean([row.order_gap for row in rows]),
        first_place=_mean([row.first_place for row in rows]),
        ece=expected_calibration_error(bins),
        ties=len(rows) - len(decided),
        bins=bins,
        by_strength=_by_strength(decided),
    )


def _by_strength(decided: Sequence[Answer]) -> list[tuple[float, float, Share]]:
    ranges: dict[int, list[float]] = {}
    for row in decided:
        strength = row.logits.pair.strength.get(row.logits.dim)
        if strength is not None:
            place = sum(strength >= edge for edge in STRENGTHS[1:-1])
            ranges.setdefault(place, []).append(row.points)
    return [
        (STRENGTHS[place], STRENGTHS[place + 1], _share(points))
        for place, points in sorted(ranges.items())
    ]


def _columns(rows: Sequence[Answer]) -> tuple[Tensor, Tensor, Tensor]:
    return (
        torch.tensor([row.logits.forward for row in rows]),
        torch.tensor([row.logits.backward for row in rows]),
        torch.tensor([float(row.winner == "first") for row in rows]),
    )


def _share(points: Sequence[float]) -> Share:
    if not points:
        return Share(0.0, 0.0, 1.0, 0)
    return Share(_mean(points), *wilson(sum(points), len(points)), len(points))


def _points(logit: float, winner: str) -> float:
    return 0.5 if logit == 0 else float((logit > 0) == (winner == "first"))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / max(1, len(values))


def _sigmoid(logit: float) -> float:
    if logit >= 0:
        return 1 / (1 + math.exp(-logit))
    return math.exp(logit) / (1 + math.exp(logit))

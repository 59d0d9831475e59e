"""Many pictures in one order: a Bradley-Terry model of the judge's answers to pairs of them.

Each picture has a score; sigmoid(score_i - score_j) is the probability that picture i is better
than picture j (Bradley and Terry, Biometrika 39, 1952). Scores are fitted on the judge's
symmetrised, calibrated probabilities by cross entropy. A small ridge keeps the optimum finite and
unique when one picture wins every pair, so that Newton's method always converges.

A judge that says the same of a pair each time is no crowd of voters; what is uncertain of a score
is how far its answers to different pairs contradict one another. So intervals come from the
residuals (a sandwich covariance, HC3: MacKinnon and White, J. Econometrics 29, 1985) with
Student's quantile for the answers that are left over, one for each closed loop of pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

MOST_PAIRS = 1000
"""Up to so many, every pair is asked: 45 pictures."""

_ROUNDS = 8  # pairs a picture is in are at least twice this, however many pictures there are
_RIDGE = 0.01  # a prior on scores of standard deviation 10: nothing but the runaway ones feel it
_NORMAL_975 = 1.959964
_STUDENT_975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)  # 1 to 9 left over
_ALIKE = 4  # decimals of a score; what differs less is a tie
_MOST_STEPS = 100
_CONVERGED = 1e-10

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Duel:
    """One pair that was asked.

    Attributes:
        first: index of a picture.
        second: index of the other one.
        p_first: probability that the first is better, both orders asked.
    """

    first: int
    second: int
    p_first: float


@dataclass(frozen=True)
class Place:
    """Where one picture came.

    Attributes:
        index: of the picture, in the order given.
        rank: 1 is best; pictures with the same score share it.
        score: logit against the average picture; 0 is average.
        low: lower end of the score's 95 % interval.
        high: upper end.
    """

    index: int
    rank: int
    score: float
    low: float
    high: float


def choose_pairs(count: int, seed: int, most: int = MOST_PAIRS) -> list[tuple[int, int]]:
    """Which pairs of ``count`` pictures to ask: all, or a well-connected part of them.

    The part is made of rings, each through all pictures in a random order: every picture is in
    about as many pairs, and any two are connected along many ways.

    Args:
        count: of pictures, at least 2.
        seed: of the rings.
        most: up to so many pairs, all are chosen; above, rings that come to about as many.

    Returns:
        Pairs (i, j) with i < j, sorted.
    """
    if count * (count - 1) // 2 <= most:
        return list(combinations(range(count), 2))
    rng = np.random.default_rng(seed)
    chosen: set[tuple[int, int]] = set()
    for _ in range(max(_ROUNDS, most // count)):
        ring = [int(index) for index in rng.permutation(count)]
        for one, other in zip(ring, [*ring[1:], ring[0]], strict=True):
            chosen.add((min(one, other), max(one, other)))
    return sorted(chosen)


def rank(count: int, duels: Sequence[Duel]) -> list[Place]:
    """The pictures, best first; those of the same score stay in the order given.

    Args:
        count: of pictures, at least 3.
        duels: the pairs asked; they connect all pictures, and are at least as many.
    """
    scores, covariance = _fit(count, duels)
    rounded = [round(float(score), _ALIKE) for score in scores]
    order = sorted(range(count), key=lambda index: (-rounded[index], index))
    quantile = _student_975(len(duels) - count + 1)
    widths = quantile * np.sqrt(np.maximum(np.diag(covariance), 0.0))
    places: list[Place] = []
    for position, index in enumerate(order, start=1):
        tied = bool(places) and rounded[places[-1].index] == rounded[index]
        score, width = float(scores[index]), float(widths[index])
        places.append(
            Place(
                index=index,
                rank=places[-1].rank if tied else position,
                score=score,
                low=score - width,
                high=score + width,
            )
        )
    return places


def _fit(count: int, duels: Sequence[Duel]) -> tuple[Vector, Vector]:
    """Scores (count,) with mean 0, and the covariance (count, count) of their distances to it."""
    first = np.array([duel.first for duel in duels], dtype=np.intp)
    second = np.array([duel.second for duel in duels], dtype=np.intp)
    wanted = np.array([duel.p_first for duel in duels], dtype=np.float64)
    scores = np.zeros(count)
    loss = _loss(scores, first, second, wanted)
    for _ in range(_MOST_STEPS):
        gradient, curvature = _derivatives(scores, first, second, wanted)
        step = np.linalg.solve(curvature, gradient)
        if float(gradient @ step) < _CONVERGED:
            break
        # A whole Newton step may overshoot where probabilities are near 0 or 1.
        size = 1.0
        while (tried := _loss(scores - size * step, first, second, wanted)) > loss:
            size /= 2
            if size < _CONVERGED:
                break
        scores, loss = scores - size * step, min(tried, loss)
    return scores - scores.mean(), _covariance(scores, first, second, wanted)


def _covariance(
    scores: Vector, first: NDArray[np.intp], second: NDArray[np.intp], wanted: Vector
) -> Vector:
    """Of the scores' distances to their mean, from how badly they fit the answers."""
    curvature = _derivatives(scores, first, second, wanted)[1]
    # Only differences were asked about; how far all of them lie from nowhere is not uncertainty.
    centred = np.eye(len(scores)) - 1.0 / len(scores)
    spread = centred @ np.linalg.inv(curvature) @ centred
    p = _sigmoid(scores[first] - scores[second])
    apart = spread[first, first] + spread[second, second] - 2.0 * spread[first, second]
    # An answer pulls the scores towards itself; its residual would be as much larger without it.
    residual = (wanted - p) / (1.0 - p * (1.0 - p) * apart)
    pull = np.zeros((len(wanted), len(scores)))
    rows = np.arange(len(wanted))
    pull[rows, first] = residual
    pull[rows, second] = -residual
    covariance: Vector = spread @ (pull.T @ pull) @ spread
    return covariance


def _student_975(left_over: int) -> float:
    """The quantile of Student's distribution; beyond the table by its expansion in 1 / n."""
    if left_over <= len(_STUDENT_975):
        return _STUDENT_975[left_over - 1]
    z = _NORMAL_975
    return z + (z**3 + z) / (4 * left_over) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * left_over**2)


def _sigmoid(margin: Vector) -> Vector:
    return 1.0 / (1.0 + np.exp(-margin))


def _loss(
    scores: Vector, first: NDArray[np.intp], second: NDArray[np.intp], wanted: Vector
) -> float:
    margin = scores[first] - scores[second]
    cross_entropy = np.logaddexp(0.0, margin) - wanted * margin
    return float(cross_entropy.sum() + _RIDGE / 2 * (scores @ scores))


def _derivatives(
    scores: Vector, first: NDArray[np.intp], second: NDArray[np.intp], wanted: Vector
) -> tuple[Vector, Vector]:
    """Gradient (count,) and Hessian (count, count) of ``_loss``."""
    p = _sigmoid(scores[first] - scores[second])
    gradient = _RIDGE * scores
    np.add.at(gradient, first, p - wanted)
    np.add.at(gradient, second, wanted - p)
    weight = p * (1.0 - p)
    hessian = _RIDGE * np.eye(len(scores))
    np.add.at(hessian, (first, first), weight)
    np.add.at(hessian, (second, second), weight)
    np.add.at(hessian, (first, second), -weight)
    np.add.at(hessian, (second, first), -weight)
    return gradient, hessian

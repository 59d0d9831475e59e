"""Makes a judge's probabilities mean what they say: a temperature for each task and dimension.

The opinion of both orders together (``swap_symmetric``) is divided by a temperature, which keeps
who wins and changes how sure it is. How far the probabilities are off is the expected calibration
error: over bins of confidence, the mean distance between how sure the judge was and how often it
was right.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from onefill.judge.verdict import swap_symmetric

COOLEST, HOTTEST = 0.2, 20.0
"""Temperatures that are tried; a perfect judge would ask for none."""

FEWEST = 20
"""A cell with fewer decided pairs takes the temperature of all cells together."""

BINS = 10
"""Of confidence, between one half and one."""


@dataclass(frozen=True)
class Bin:
    """The answers of one range of confidence.

    Attributes:
        low: confidence from which it reaches, in [0.5, 1].
        high: to which.
        n: decided pairs in it.
        confidence: their mean confidence; 0 if there are none.
        accuracy: the share of right ones; 0 if there are none.
    """

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float


def fit_temperature(forward: Tensor, backward: Tensor, first_better: Tensor) -> float:
    """The temperature, 0.2 to 20, under which the common verdicts are most probable.

    Args:
        forward: (n,) logits with the first picture shown first.
        backward: (n,) logits with the second picture shown first.
        first_better: (n,) 1 where the first is better, 0 where the second is.
    """
    margins = swap_symmetric(forward, backward)
    heats = torch.logspace(math.log10(COOLEST), math.log10(HOTTEST), 200)
    losses = [
        functional.binary_cross_entropy_with_logits(margins / heat, first_better) for heat in heats
    ]
    return round(float(heats[int(torch.stack(losses).argmin())]), 3)


def fit_temperatures(
    answers: Mapping[str, tuple[Tensor, Tensor, Tensor]],
) -> dict[str, float]:
    """A temperature for each "task/dimension"; see ``fit_temperature`` for the three tensors.

    A cell of fewer than ``FEWEST`` pairs takes that of all pairs together, if those are enough;
    otherwise 1.
    """
    if not answers:
        return {}
    pooled = [torch.cat(columns) for columns in zip(*answers.values(), strict=True)]
    common = fit_temperature(*pooled) if len(pooled[0]) >= FEWEST else 1.0
    return {
        cell: fit_temperature(*columns) if len(columns[0]) >= FEWEST else common
        for cell, columns in answers.items()
    }


def reliability(p_first: Sequence[float], first_better: Sequence[bool]) -> list[Bin]:
    """How often the judge is right where it is so sure; ``BINS`` equal bins from 0.5 to 1."""
    p = np.asarray(p_first, dtype=np.float64)
    confidence = np.maximum(p, 1 - p)
    right = (p > 0.5) == np.asarray(first_better, dtype=bool)
    place = np.minimum(((confidence - 0.5) * 2 * BINS).astype(int), BINS - 1)
    bins = []
    for index in range(BINS):
        within = place == index
        n = int(within.sum())
        bins.append(
            Bin(
                0.5 + index / (2 * BINS),
                0.5 + (index + 1) / (2 * BINS),
                n,
                float(confidence[within].mean()) if n else 0.0,
                float(right[within].mean()) if n else 0.0,
            )
        )
    return bins


def expected_calibration_error(bins: Sequence[Bin]) -> float:
    """The mean distance between confidence and accuracy over all pairs; 0 without pairs."""
    total = sum(found.n for found in bins)
    return sum(found.n * abs(found.confidence - found.accuracy) for found in bins) / max(1, total)

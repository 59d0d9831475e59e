"""Which tasks a step trains: drawn by weight (the paper's p_k), from a stream of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


class TaskMixer:
    """Draws tasks, each with probability its weight over the sum of the weights.

    Args:
        weights: positive weight of each task.
        seed: of the stream.
    """

    def __init__(self, weights: Mapping[str, float], seed: int) -> None:
        self._weights = dict(weights)
        self._probabilities = np.array(list(weights.values())) / sum(weights.values())
        self._rng = np.random.default_rng(seed)

    def draw(self, tasks: int, samples: int) -> dict[str, int]:
        """The tasks of the next step, and how many of its samples are of each.

        Args:
            tasks: how many different ones, drawn one after another without putting back.
            samples: to be split among them by their weights; each gets one at least.
        """
        names = list(self._weights)
        drawn = self._rng.choice(len(names), tasks, replace=False, p=self._probabilities)
        return split(samples, {names[n]: self._weights[names[n]] for n in drawn})

    def state(self) -> dict[str, Any]:
        """Where the stream stands, for JSON."""
        return dict(self._rng.bit_generator.state)

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where ``state`` was taken."""
        self._rng.bit_generator.state = state


def split(count: int, weights: Mapping[str, float]) -> dict[str, int]:
    """Whole numbers that add up to ``count``, near the weights' proportions and none nought.

    Each further one goes to whom it is owed most (the method of Sainte-Laguë).
    """
    parts = dict.fromkeys(weights, 1)
    for _ in range(count - len(parts)):
        parts[max(parts, key=lambda name: weights[name] / (2 * parts[name] + 1))] += 1
    return parts

"""Which task a step trains: drawn by weight (the paper's p_k), from a stream of its own."""

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
        self._names = list(weights)
        self._probabilities = np.array(list(weights.values())) / sum(weights.values())
        self._rng = np.random.default_rng(seed)

    def draw(self) -> str:
        """The next task."""
        return self._names[int(self._rng.choice(len(self._names), p=self._probabilities))]

    def state(self) -> dict[str, Any]:
        """Where the stream stands, for JSON."""
        return dict(self._rng.bit_generator.state)

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where ``state`` was taken."""
        self._rng.bit_generator.state = state

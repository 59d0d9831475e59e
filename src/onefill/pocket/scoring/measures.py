"""Arithmetic of the score table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

_DRAWS = 1000


def psnr(result: NDArray[Any], truth: NDArray[Any]) -> float:
    """PSNR in dB of grey levels in [0, 255], at most 68."""
    error = np.square(result.astype(np.float64) - truth).mean()
    return float(10 * np.log10(255**2 / max(error, 1e-2)))


def bootstrap(statistic: Callable[[NDArray[np.int_]], float], count: int) -> tuple[float, float]:
    """The 95 % interval of a statistic of ``count`` scenes (percentile bootstrap, Efron 1979).

    Args:
        statistic: of the scenes whose places it is given, some of them several times.
        count: how many scenes there are.
    """
    rng = np.random.default_rng(0)
    draws = [statistic(rng.integers(count, size=count)) for _ in range(_DRAWS)]
    low, high = np.quantile(draws, (0.025, 0.975))
    return float(low), float(high)

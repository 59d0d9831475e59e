"""Noise and choices that follow from the seed, the step and the place in the batch alone.

Nothing here has a state to lose: a resumed run draws what it would have drawn, and how many
samples share a batch does not change what each of them gets.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import torch


class Purpose(IntEnum):
    """What is drawn; two purposes never share a stream."""

    REFERENCE_NOISE = 1
    POLICY_NOISE = 2
    GRADIENT_STEP = 3
    HELD_OUT_REFERENCE_NOISE = 4
    HELD_OUT_NOISE = 5
    ADAPTER = 6
    JITTER = 7
    JITTER_NOISE = 8


def draw_seed(seed: int, purpose: Purpose, *numbers: int) -> int:
    """A seed in [0, 2**63) for one purpose and one place, well mixed."""
    sequence = np.random.SeedSequence([seed, int(purpose), *numbers])
    return int(sequence.generate_state(1, np.uint64)[0] >> np.uint64(1))


def noise_generators(
    seed: int, purpose: Purpose, number: int, places: range
) -> list[torch.Generator]:
    """One generator for each place of a batch; ``number`` is the step, or a task."""
    return [
        torch.Generator().manual_seed(draw_seed(seed, purpose, number, place)) for place in places
    ]


def draw_gradient_step(seed: int, step: int, choices: range) -> int:
    """The sampler step that update ``step`` takes its gradient at, each equally likely."""
    return choices[draw_seed(seed, Purpose.GRADIENT_STEP, step) % len(choices)]

"""Pictures of pairs in other light and a little moved: few pairs are a little less few."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from onefill.judge.pair import PreferencePair
from onefill.judge.training.examples import PictureShelf

_GAIN, _LIFT, _GRAIN = 0.15, 15.0, 4.0
_SHIFT = 16  # a picture moves by a sixteenth of its side at most


class VariedShelf:
    """Takes pictures from another shelf and varies them, both of a pair alike.

    What is done changes no winner: light, grain and place, and never left for right, which would
    make other letters of letters.

    Args:
        shelf: where the pictures are.
        seed: of the variation.
        place: of the pair that is taken first; each place of a seed has its own variation.
    """

    def __init__(self, shelf: PictureShelf, seed: Sequence[int], place: int) -> None:
        self._shelf = shelf
        self._seed = tuple(seed)
        self._place = place

    def levels(self, pair: PreferencePair) -> tuple[Tensor, Tensor]:
        """The pair's pictures, each float32 (3, H, W) in [0, 255].

        Raises:
            BadInput: one cannot be read; the message names the line.
        """
        rng = np.random.default_rng([*self._seed, self._place])
        self._place += 1
        gain = torch.from_numpy(rng.uniform(1 - _GAIN, 1 + _GAIN, (3, 1, 1))).float()
        lift, grain = rng.uniform(-_LIFT, _LIFT), rng.uniform(0, _GRAIN)
        place = rng.uniform(-1, 1, 2)
        first, second = (
            _moved(levels.float() * gain + lift + _noise(levels, rng) * grain, place)
            for levels in self._shelf.levels(pair)
        )
        return first, second


def _noise(levels: Tensor, rng: np.random.Generator) -> Tensor:
    return torch.from_numpy(rng.standard_normal(levels.shape, np.float32))


def _moved(levels: Tensor, place: np.ndarray) -> Tensor:
    """Shifted by a share ``place`` in [-1, 1] of the most in each direction, edges drawn out."""
    height, width = levels.shape[1:]
    most = (height // _SHIFT, width // _SHIFT)
    top, left = (m + round(float(share) * m) for share, m in zip(place, most, strict=True))
    wide = pad(levels[None], (most[1], most[1], most[0], most[0]), mode="replicate")[0]
    return wide[:, top : top + height, left : left + width].clamp(0, 255)

"""Pictures that are optimised against the judge in training, as negatives of its own.

A judge that never saw them takes them for improvements: a few steps up the gradient of P(yes)
turn a damaged picture into a preferred one that looks no better. Here a stock of attacked pairs
is kept; the backward pass that trains the judge also says how every attacked picture should
change to fool it further ("free" adversarial training, Shafahi et al. 2019, algorithm 1), and
the label says that it must not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from onefill.pocket.judge_training_language import Reader
from onefill.pocket.judge_training_reading import PairBatch, PairSource
from onefill.pocket.judge_training_vision import Tower

SIZE = 20
"""Attacked pairs in a batch."""

_ITSELF = 0.4
"""Share of the attacked pictures that are compared with what they were before the attack."""

_LONGEST = 60
"""Steps after which an attacked pair is replaced; the test ascends 50."""

_COARSE = 8
"""Pixels of a cell that changes as one in a smooth attack, as a policy's colours would."""


@dataclass
class _Attack:
    """The state of ``SIZE`` attacks; every tensor's first axis is the attack."""

    pictures: Tensor  # (S, 2, 3, H, W), grey levels; the attacked one stands at ``place``
    place: Tensor  # (S,) 0 or 1
    change: Tensor  # (S, 3, H, W), grey levels, added to the attacked picture
    queries: list[str]
    age: Tensor  # (S,) steps so far
    life: Tensor  # (S,) steps in all
    pace: Tensor  # (S, 1, 1, 1) grey levels a step
    bound: Tensor  # (S, 1, 1, 1) largest change, grey levels
    smooth: Tensor  # (S,) whether the change is smooth
    window: Tensor  # (S, 1, H, W) where the picture may change, 0 or 1


class Hardening:
    """Keeps the attacks and turns them into one loss.

    Args:
        tower: the judge's eyes in training.
        reader: its language model.

    """

    def __init__(self, tower: Tower, reader: Reader) -> None:
        self.tower, self.reader = tower, reader
        self._attack: _Attack | None = None

    def loss(self, pictures: Tensor, source: PairSource, rng: np.random.Generator) -> Tensor:
        """Loss of this step's attacked pairs: the attacked picture must lose.

        Args:
            pictures: (B, V, 3, H, W), grey levels of the contests that ``source`` draws from.
            source: of new pairs, whose contests are the rows of ``pictures``.
            rng: of everything drawn.
        """
        if self._attack is None:
            everything = np.arange(SIZE)
            self._attack = _begin(pictures, source.draw(SIZE, rng), rng)
            # Started together, they must not all end together.
            self._attack.age[everything] = torch.from_numpy(rng.integers(0, 20, SIZE))
        else:
            _ascend(self._attack)
            over = torch.nonzero(self._attack.age >= self._attack.life)[:, 0]
            if len(over):
                new = _begin(pictures, source.draw(len(over), rng), rng)
                _replace(self._attack, over, new)
        attack = self._attack
        attack.change = attack.change.detach().requires_grad_()
        rows = torch.arange(SIZE)
        shown = attack.pictures.clone()
        shown[rows, attack.place] = shown[rows, attack.place] + attack.change
        tokens = self.tower(shown.flatten(0, 1).clamp(0, 255))
        answer, _ = self.reader(attack.queries, tokens.view(SIZE, 2, *tokens.shape[1:]))
        first_better = (attack.place == 1).float()
        return functional.binary_cross_entropy_with_logits(answer, first_better)


def _begin(pictures: Tensor, pairs: PairBatch, rng: np.random.Generator) -> _Attack:
    count = len(pairs.queries)
    chosen = pictures[pairs.contests, pairs.places].clone()
    place = pairs.first_better.long()  # the loser's place: 1 if the first is better
    itself = torch.from_numpy(rng.random(count) < _ITSELF)
    rows = torch.arange(count)
    chosen[rows[itself], 1 - place[itself]] = chosen[rows[itself], place[itself]]
    height, width = pictures.shape[-2:]
    column = (count, 1, 1, 1)
    # Noise at the start: an unchanged picture would lose against itself.
    noise = torch.from_numpy(rng.normal(0, 4, (count, 3, height, width)).astype(np.float32))
    window = torch.ones(count, 1, height, width)
    for row in np.flatnonzero(rng.random(count) < 0.5):
        top, left = rng.integers(0, height // 2), rng.integers(0, width // 2)
        tall, wide = rng.integers(height // 4, height // 2), rng.integers(width // 4, width // 2)
        window[row] = 0
        window[row, :, top : top + tall, left : left + wide] = 1
    return _Attack(
        pictures=chosen,
        place=place,
        change=noise * window,
        queries=pairs.queries,
        age=torch.zeros(count, dtype=torch.long),
        life=torch.from_numpy(rng.integers(6, _LONGEST, count)),
        pace=torch.from_numpy(rng.uniform(1, 5, column).astype(np.float32)),
        bound=torch.from_numpy(rng.uniform(12, 90, column).astype(np.float32)),
        smooth=torch.from_numpy(rng.random(count) < 0.4),
        window=window,
    )


def _ascend(attack: _Attack) -> None:
    """One step of every attack up the loss, by the gradient of the last backward pass."""
    gradient = attack.change.grad
    if gradient is None:
        raise RuntimeError("the loss was not differentiated before the next step")
    coarse = functional.interpolate(
        functional.avg_pool2d(gradient, _COARSE), gradient.shape[-2:], mode="bilinear"
    )
    gradient = torch.where(attack.smooth[:, None, None, None], coarse, gradient)
    size = gradient.abs().mean((1, 2, 3), keepdim=True) + 1e-12
    step = (gradient / size).clamp(-2, 2) * attack.pace * attack.window
    change = attack.change.detach() + step
    attack.change = change.clamp(-attack.bound, attack.bound)
    attack.age += 1


def _replace(attack: _Attack, over: Tensor, new: _Attack) -> None:
    attack.change = attack.change.detach()
    for name in ("pictures", "place", "change", "age", "life", "pace", "bound", "smooth", "window"):
        getattr(attack, name)[over] = getattr(new, name)
    for row, query in zip(over.tolist(), new.queries, strict=True):
        attack.queries[row] = query

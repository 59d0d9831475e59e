"""Answers to learn from, the order they come in, and the pictures they are about."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from onefill.errors import BadInput
from onefill.judge.asking import load_picture
from onefill.judge.model import Judge
from onefill.judge.pair import PreferencePair
from onefill.judge.preprocess import resize_picture
from onefill.judge.query import build_query
from onefill.tasks.registry import TaskRegistry

_KEPT_BYTES = 1 << 29  # of decoded pictures; beyond it the oldest are read again

TARGETS = {"first": 1.0, "second": 0.0, "tie": 0.5}
"""What the probability that the first picture is better should be."""


@dataclass(frozen=True)
class Example:
    """One dimension of one pair, as the judge is asked about it.

    Attributes:
        pair: where the pictures come from.
        dim: the dimension.
        query: what the judge reads.
        target: the probability that the first picture is better, 1, 0, or 0.5 for a tie.
        words: the user's, where the dimension is judged with them; else None.
    """

    pair: PreferencePair
    dim: str
    query: str
    target: float
    words: str | None = None

    @property
    def cell(self) -> str:
        """Where it counts, as task/dimension."""
        return f"{self.pair.task}/{self.dim}"


def make_examples(pairs: Iterable[PreferencePair], registry: TaskRegistry) -> list[Example]:
    """One example for each winner of each pair, in order.

    Raises:
        BadInput: a dimension is judged with words and the pair has none.
    """
    examples = []
    for pair in pairs:
        task = registry.get(pair.task)
        for dim, winner in pair.winner.items():
            dimension = task.dimension(dim)
            query = build_query(task, dimension, pair.prompt)
            words = pair.prompt if dimension.uses_prompt else None
            examples.append(Example(pair, dim, query, TARGETS[winner], words))
    return examples


def draw_batch(examples: Sequence[Example], step: int, batch: int, seed: int) -> list[Example]:
    """The examples of update ``step`` (from 0): every epoch takes each once, in another order.

    Nothing has to be remembered between steps, so a resumed training draws what it would have.
    """
    chosen = []
    orders: dict[int, np.ndarray] = {}
    for place in range(step * batch, (step + 1) * batch):
        epoch, index = divmod(place, len(examples))
        if epoch not in orders:
            orders[epoch] = np.random.default_rng([seed, epoch]).permutation(len(examples))
        chosen.append(examples[int(orders[epoch][index])])
    return chosen


class Shelf(Protocol):
    """Where the pictures of pairs are taken from."""

    def levels(self, pair: PreferencePair) -> tuple[Tensor, Tensor]:
        """The pair's pictures, grey levels (3, H, W) at the size the judge looks at."""
        ...


class PictureShelf:
    """The pictures of pairs at the size the judge looks at; those used last stay in memory."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._kept: OrderedDict[tuple[str, ...], Tensor] = OrderedDict()
        self._bytes = 0

    def levels(self, pair: PreferencePair) -> tuple[Tensor, Tensor]:
        """The pair's pictures, each uint8 (3, H, W).

        Raises:
            BadInput: one cannot be read; the message names the line.
        """
        return self._look(pair, "first"), self._look(pair, "second")

    def _look(self, pair: PreferencePair, side: str) -> Tensor:
        sees = self._judge.sees
        path = pair.first if side == "first" else pair.second
        beside = [str(getattr(pair, sight)) for sight in sees]
        key = (str(path), *beside)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        try:
            levels = resize_picture(load_picture(path, pair, sees), self._judge.recipe)
        except BadInput as error:
            raise BadInput(f"line {pair.line}: {error}" if pair.line else str(error)) from error
        self._kept[key] = levels[0].to(torch.uint8)
        self._bytes += self._kept[key].numel()
        while self._bytes > _KEPT_BYTES and len(self._kept) > 1:
            self._bytes -= self._kept.popitem(last=False)[1].numel()
        return self._kept[key]

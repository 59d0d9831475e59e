"""What the language model is taught with: pairs cut out of contests, and the losses on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from onefill.judge.query import build_query
from onefill.pocket.contests.cache import TASKS, Contests
from onefill.pocket.contests.pairs import (
    AESTHETICS,
    ALIGNMENT,
    CELLS,
    CONSISTENCY,
    DIMENSIONS,
    GAP,
    LABELS,
    NOTHING,
    REMOVAL,
    STRUCTURE,
    draw_words,
)
from onefill.pocket.judge.vision import VisionHeads
from onefill.tasks.types import Task

_WEIGHTS = {
    ("text", ALIGNMENT): 5.0,
    ("fill", ALIGNMENT): 2.5,
    ("extend", ALIGNMENT): 2.5,
    ("fill", STRUCTURE): 4.0,
    ("removal", REMOVAL): 4.0,
    ("extend", CONSISTENCY): 2.0,
    ("extend", STRUCTURE): 2.0,
    ("extend", AESTHETICS): 2.0,
}
"""Pairs of a cell for one pair of any other: there are many words to learn, and letters are the
smallest thing to tell apart; the structure of things, what is beyond a border and what is left of
a removal are what a judge of equal parts was least sure of."""

_STRANGERS = 0.4
"""Share of the pairs about words whose pictures come from two scenes."""

_DOUBT = -6.0
"""Log-probability of a name below which the teacher's opinion is cut off."""


@dataclass(frozen=True)
class PairBatch:
    """B pairs that point into contests.

    Attributes:
        cells: B names, "task/dimension".
        queries: B query texts.
        contests: (B, 2) rows of the first and second picture's contest.
        places: (B, 2) of the pictures in their contests.
        columns: (B,) dimension, index in ``DIMENSIONS``.
        words: (B,) index in ``LABELS`` of what is asked for.
        first_better: float (B,), 1 or 0.
    """

    cells: list[str]
    queries: list[str]
    contests: Tensor
    places: Tensor
    columns: Tensor
    words: Tensor
    first_better: Tensor

    def in_both_orders(self) -> PairBatch:
        """Every pair, and then every pair the other way round: 2 B of them."""
        return PairBatch(
            cells=self.cells * 2,
            queries=self.queries * 2,
            contests=torch.cat([self.contests, self.contests.flip(1)]),
            places=torch.cat([self.places, self.places.flip(1)]),
            columns=self.columns.repeat(2),
            words=self.words.repeat(2),
            first_better=torch.cat([self.first_better, 1 - self.first_better]),
        )


class PairSource:
    """Draws pairs with a clear winner from contests, hard cells more often than others.

    Args:
        contests: to draw from.
        tasks: the tasks whose queries are asked, by name.
    """

    def __init__(self, contests: Contests, tasks: Mapping[str, Task]) -> None:
        self.contests = contests
        self.tasks = tasks
        gaps = contests.levels[:, None] - contests.levels[:, :, None]  # (N, better, worse, 5)
        self._duels: dict[tuple[str, str], NDArray[np.intp]] = {}
        for task, dimension in CELLS:
            clear = gaps[..., DIMENSIONS.index(dimension)] >= GAP - 1e-4
            clear[contests.tasks != TASKS.index(task)] = False
            self._duels[task, dimension] = np.argwhere(clear)
        self._shown = {
            task: np.argwhere(
                (contests.tasks == TASKS.index(task))[:, None]
                & (contests.shown >= 0)
                & (contests.shown != NOTHING)
            )
            for task in TASKS
        }
        self._many = {
            task: len(np.unique(contests.shown[tuple(places.T)])) > 1
            for task, places in self._shown.items()
        }
        # A handful of contests may hold no pair of some cell; strangers need two things shown.
        weights = np.array(
            [_WEIGHTS.get(cell, 1.0) * bool(len(self._duels[cell])) for cell in CELLS]
        )
        self._weights = weights / weights.sum()

    def draw(self, count: int, rng: np.random.Generator) -> PairBatch:
        """Draw ``count`` pairs; the better picture stands first in half of them."""
        cells, queries, rows, places, columns, words = [], [], [], [], [], []
        for cell in rng.choice(len(CELLS), count, p=self._weights):
            task, dimension = CELLS[cell]
            if dimension == ALIGNMENT and self._many[task] and rng.random() < _STRANGERS:
                better, worse, word = self._strangers(task, rng)
            else:
                duels = self._duels[task, dimension]
                row, first, second = duels[rng.integers(len(duels))]
                better, worse = (row, first), (row, second)
                word = int(self.contests.words[row])
                shown = int(self.contests.shown[worse])
                right = int(self.contests.shown[better])
                told_apart = 0 <= shown < NOTHING and right >= 0 and shown != right
                if dimension == ALIGNMENT and told_apart and rng.random() < 0.3:
                    # Asked for what the other one shows, the other one wins.
                    better, worse, word = worse, better, shown
            typed = draw_words(LABELS[word], rng) if dimension == ALIGNMENT else None
            described = self.tasks[task]
            cells.append(f"{task}/{dimension}")
            queries.append(build_query(described, described.dimension(dimension), typed))
            rows.append((better[0], worse[0]))
            places.append((better[1], worse[1]))
            columns.append(DIMENSIONS.index(dimension))
            words.append(word)
        first_better = torch.from_numpy(rng.random(count) < 0.5)
        order = torch.where(first_better[:, None], torch.tensor([[0, 1]]), torch.tensor([[1, 0]]))
        return PairBatch(
            cells=cells,
            queries=queries,
            contests=torch.from_numpy(np.array(rows)).gather(1, order),
            places=torch.from_numpy(np.array(places)).gather(1, order),
            columns=torch.tensor(columns),
            words=torch.tensor(words),
            first_better=first_better.float(),
        )

    def _strangers(
        self, task: str, rng: np.random.Generator
    ) -> tuple[tuple[int, int], tuple[int, int], int]:
        """Pictures of two scenes, and a word that only the first shows."""
        candidates = self._shown[task]
        while True:
            better, worse = (
                tuple(candidates[rng.integers(len(candidates))].tolist()) for _ in range(2)
            )
            word = int(self.contests.shown[better])
            if word != self.contests.shown[worse]:
                return (better[0], better[1]), (worse[0], worse[1]), word


class ReadingHeads(nn.Module):
    """A score read off the language model at the end of each picture; thrown away afterwards."""

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.scores = nn.ModuleList(nn.Linear(width, 1) for _ in range(layers))
        self.scale = nn.Parameter(torch.ones(layers))

    def forward(self, ends: list[Tensor]) -> Tensor:
        """Hidden states (B, 2, width) of each layer to scores (layers, B, 2)."""
        return torch.stack(
            [
                head(functional.rms_norm(end, end.shape[-1:]))[..., 0]
                for head, end in zip(self.scores, ends, strict=True)
            ]
        )


def teacher_scores(heads: VisionHeads, tokens: Tensor, pairs: PairBatch) -> Tensor:
    """What the vision heads think of every picture of a batch, about [-2, 2].

    Args:
        heads: of the first stage.
        tokens: (B, 2, N, width).
        pairs: says which dimension and word are asked about.

    Returns:
        (B, 2), higher is better.
    """
    scores, labels = heads(tokens.flatten(0, 1))
    scores = scores.view(*tokens.shape[:2], -1)
    labels = functional.log_softmax(labels, -1).view(*tokens.shape[:2], -1)
    column = pairs.columns[:, None, None].expand(-1, 2, 1)
    score = scores.gather(-1, column)[..., 0] / 3
    said = labels.gather(-1, pairs.words[:, None, None].expand(-1, 2, 1))[..., 0]
    aligned = said.clamp(min=_DOUBT) * (-2 / _DOUBT) + 1
    return torch.where(column[..., 0] == DIMENSIONS.index(ALIGNMENT), aligned, score).clamp(-2, 2)


def reading_loss(
    answer: Tensor, ends: list[Tensor], heads: ReadingHeads, pairs: PairBatch, teacher: Tensor
) -> dict[str, Tensor]:
    """The answer's loss (paper, Eq. 3), those of the scores at the pictures' ends, and of order.

    Args:
        answer: logits (2 B,) of pairs in both orders.
        ends: of the same.
        heads: scores of the ends.
        pairs: from ``PairBatch.in_both_orders``.
        teacher: scores (2 B, 2).
    """
    scores = heads(ends)
    margins = (scores[..., 0] - scores[..., 1]) * heads.scale[:, None]
    target = pairs.first_better.expand_as(margins)
    return {
        "answer": functional.binary_cross_entropy_with_logits(answer, pairs.first_better),
        "ends": functional.binary_cross_entropy_with_logits(margins, target),
        "taught": functional.smooth_l1_loss(scores, teacher.expand_as(scores)),
        "orders": functional.smooth_l1_loss(*_both_orders(answer)),
    }


def _both_orders(answer: Tensor) -> tuple[Tensor, Tensor]:
    """What was said in one order, and the other turned round: alike if order does not matter."""
    one, other = answer.chunk(2)
    return one, -other


def cell_names() -> list[str]:
    """Every cell as it is written in a judge's card: "task/dimension"."""
    return [f"{task}/{dimension}" for task, dimension in CELLS]


__all__ = [
    "PairBatch", "PairSource", "ReadingHeads", "cell_names", "reading_loss", "teacher_scores",
]  # fmt: skip

"""The loss of OneReward (Eq. 5), averaged over the dimensions of what was drawn."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from onefill.rl.reward import ByDimension, Questions


def hinge(logits: Tensor, lam: float) -> Tensor:
    """Eq. 5: max(0, lambda - P(yes | x_theta, x_ref, q)), elementwise.

    lambda bounds the reward: a result the judge already prefers that surely gives no gradient,
    which leaves nothing to gain from fooling it further. P(yes) is the sigmoid of the logit.
    """
    return torch.relu(lam - torch.sigmoid(logits))


def logistic(logits: Tensor, lam: float) -> Tensor:
    """max(0, log lambda - log P(yes)): does not fade where the judge surely says no."""
    return torch.relu(F.softplus(-logits) + math.log(lam))


def relu(logits: Tensor, lam: float) -> Tensor:
    """max(0, logit(lambda) - logit): the same gradient wherever lambda is not reached."""
    return torch.relu(math.log(lam / (1 - lam)) - logits)


LOSSES: dict[str, Callable[[Tensor, float], Tensor]] = {
    "hinge": hinge,
    "logistic": logistic,
    "relu": relu,
}
"""By the name they have in a configuration; all are zero where P(yes) is at least lambda."""


@dataclass(frozen=True)
class Shares:
    """What each answer about one task counts in a whole batch.

    Attributes:
        of_batch: share of the batch's samples that are of this task.
        weights: of each dimension that they are asked about.
        counts: how many of them are asked about that dimension.
    """

    of_batch: float
    weights: Mapping[str, float]
    counts: Mapping[str, int]


def answer_shares(questions: Questions, weights: ByDimension[float]) -> dict[str, Shares]:
    """The shares of each task in a whole batch, asked ``questions``, by the dimensions' weights."""
    samples = {
        task: {questions.samples[row] for rows in of_task.values() for row in rows}
        for task, of_task in questions.rows.items()
    }
    count = sum(len(of_task) for of_task in samples.values())
    return {
        task: Shares(
            len(samples[task]) / count,
            {name: weights[task][name] for name in of_task},
            {name: len(rows) for name, rows in of_task.items()},
        )
        for task, of_task in questions.rows.items()
    }


def onereward_loss(
    logits: ByDimension[Tensor], shares: Mapping[str, Shares], lam: float, kind: str = "hinge"
) -> Tensor:
    """The weighted mean over a task's dimensions of the batch mean of Eq. 5; a scalar.

    Of a batch of several tasks the mean over its samples: each task's loss by its share.

    Args:
        logits: for each task and dimension the judge's answers, on the whole batch or a part of
            it; the losses of parts add up to that of the whole.
        shares: of each task in the whole batch.
        lam: the bound lambda, in (0, 1].
        kind: a name of ``LOSSES``.
    """
    losses = []
    for task, of_task in logits.items():
        share = shares[task]
        terms = [
            LOSSES[kind](answers, lam).sum() / share.counts[name] * share.weights[name]
            for name, answers in of_task.items()
        ]
        mean = torch.stack(terms).sum() / sum(share.weights.values())
        losses.append(share.of_batch * mean)
    return torch.stack(losses).sum()

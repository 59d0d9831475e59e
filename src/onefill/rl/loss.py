"""The loss of OneReward (Eq. 5), averaged over the dimensions of the drawn task."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from onefill.rl.reward import Questions


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
    """What each answer of a whole batch counts.

    Attributes:
        weights: of each dimension that the batch is asked about.
        counts: how many of its samples are asked about that dimension.
    """

    weights: Mapping[str, float]
    counts: Mapping[str, int]


def answer_shares(questions: Questions, weights: Mapping[str, float]) -> Shares:
    """The shares of a whole batch, asked ``questions``, by the weight of each dimension."""
    return Shares(
        {name: weights[name] for name in questions.rows},
        {name: len(rows) for name, rows in questions.rows.items()},
    )


def onereward_loss(
    logits: Mapping[str, Tensor], shares: Shares, lam: float, kind: str = "hinge"
) -> Tensor:
    """The weighted mean over dimensions of the batch mean of Eq. 5; a scalar.

    Args:
        logits: for each dimension the judge's answers, on the whole batch or a part of it; the
            losses of parts add up to that of the whole.
        shares: of the whole batch.
        lam: the bound lambda, in (0, 1].
        kind: a name of ``LOSSES``.
    """
    terms = [
        LOSSES[kind](answers, lam).sum() / shares.counts[name] * shares.weights[name]
        for name, answers in logits.items()
    ]
    return torch.stack(terms).sum() / sum(shares.weights.values())

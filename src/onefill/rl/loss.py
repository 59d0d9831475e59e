"""The loss of OneReward (Eq. 5), averaged over the dimensions of the drawn task."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def hinge(p_yes: Tensor, lam: float) -> Tensor:
    """Eq. 5: max(0, lambda - P(yes | x_theta, x_ref, q)), elementwise.

    lambda bounds the reward: a result the judge already prefers that surely gives no gradient,
    which leaves nothing to gain from fooling it further.
    """
    return torch.relu(lam - p_yes)


def onereward_loss(p_yes: Mapping[str, Tensor], lam: float) -> Tensor:
    """The mean over dimensions of the batch mean of Eq. 5; a scalar.

    Args:
        p_yes: for each dimension the judge's P(yes) of the samples asked about it.
        lam: the bound lambda, in (0, 1].
    """
    return torch.stack([hinge(p, lam).mean() for p in p_yes.values()]).mean()

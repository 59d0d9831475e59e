"""Last part of the judge's training: pictures changed so as to fool it, with their old labels.

A judge trained on pictures alone takes a few steps up its own gradient for an improvement where
nobody else sees one, and a policy in training climbs exactly there. So every batch is seen twice:
as it is, and moved one step up the gradient of its own loss (Goodfellow et al. 2015, equation
in section 4; begun from noise as by Wong et al. 2020, or the judge learns to expect the step
and not to withstand it).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from onefill.pocket.training_stage import Losses, weighted

RADIUS = 8.0
"""Most that a grey level of a picture is moved; each contest draws its own bound up to it. A
removal that the policy paints lies only 23 from the true one, in the mean of what changes: at 14 a
judge learned to look past that."""


def in_both_lights(
    pictures: Tensor,
    losses_of: Callable[[Tensor], Losses],
    weights: Mapping[str, float],
    rng: np.random.Generator,
) -> Losses:
    """The losses of a batch moved against the model; those of the batch itself are taken back.

    The gradient of the batch as it is stays in the weights' ``grad``: the caller's backward pass
    over what is returned adds the other half.

    Args:
        pictures: grey levels (B, V, 3, H, W) in [0, 255].
        losses_of: pictures to losses.
        weights: of the losses; one that is not named weighs 1.
        rng: of the bounds and of the noise that the steps begin from.
    """
    shape = (len(pictures), *[1] * (pictures.ndim - 1))
    bound = torch.from_numpy(rng.uniform(0, RADIUS, shape)).float().to(pictures.device)
    uniform = torch.from_numpy(rng.uniform(-1, 1, pictures.shape).astype(np.float32))
    noise = uniform.to(pictures.device) * bound
    begun = (pictures + noise).requires_grad_()
    weighted(losses_of(begun), weights).backward()
    if begun.grad is None:
        raise ValueError("the losses do not depend on the pictures")
    moved = noise + 1.25 * bound * begun.grad.sign()
    moved = torch.minimum(torch.maximum(moved, -bound), bound)
    return losses_of((pictures + moved).clamp(0, 255))

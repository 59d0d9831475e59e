"""The reward's gradient without what it asks of every painted token alike.

A few hundred updates hardly teach a policy what to paint where, but they easily teach it to add the
same to every token: a fine pattern that pleases the judge and that no picture needs. Of all ways to
raise a reward this is the one that all samples agree on, so it outgrows the others, and a judge
trained on single pictures has never been led along it. What is left when the mean over the tokens
of a batch is taken away depends on place and content: one object may still become redder, but not
all of them.
"""

from __future__ import annotations

from torch import Tensor

from onefill.policy.conditions import Conditions


def centred(latents: Tensor, conditions: Conditions) -> Tensor:
    """``latents`` as they are, [B, N, 4C]; their gradient is centred on its way back.

    From the gradient of every token that is painted, wholly or in part, the mean over all of them
    is taken away, so that it adds up to zero over the B pictures.
    """
    painted = conditions.mask.amax(2, keepdim=True)  # [B, N, 1], 1 where anything is painted

    def centre(gradient: Tensor) -> Tensor:
        mean = (gradient * painted).sum((0, 1)) / painted.sum()
        return gradient - mean * painted

    seen = latents.view_as(latents)  # what others do with the latents keeps its gradient
    if seen.requires_grad:
        seen.register_hook(centre)
    return seen

"""What is done to a painting before it is put into its picture."""

from __future__ import annotations

from onefill.policy.detail import give_detail
from onefill.policy.surroundings import Planes, match_colours
from onefill.tasks.types import Mask


def finish(painted: Planes, known: Planes, mask: Mask, *, detail: bool) -> Planes:
    """The painting (3, H, W) in [0, 1] with colours and, if wanted, detail of its surroundings.

    Args:
        painted: what the model made of the crop, inside the mask and outside.
        known: the picture; its pixels inside the mask do not matter.
        mask: (H, W), True where the model paints.
        detail: see ``give_detail``.
    """
    matched = match_colours(painted, known, mask)
    return give_detail(matched, painted, known, mask) if detail else matched

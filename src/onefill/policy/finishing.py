"""What is done to a painting before it is put into its picture."""

from __future__ import annotations

from dataclasses import dataclass

from onefill.policy.detail import give_detail
from onefill.policy.pieces import Laid, lay_pieces
from onefill.policy.surroundings import Planes, match_colours
from onefill.tasks.types import Mask


@dataclass(frozen=True)
class Finished:
    """A painting as it is put into its picture.

    Attributes:
        picture: (3, H, W) in [0, 1].
        laid: how it was laid with pieces; None if it was not.
    """

    picture: Planes
    laid: Laid | None = None


def finish(painted: Planes, known: Planes, mask: Mask, *, detail: bool, pieces: bool) -> Finished:
    """The painting with the colours and, if wanted, more of its surroundings.

    Args:
        painted: what the model made of the crop, inside the mask and outside.
        known: the picture; its pixels inside the mask do not matter.
        mask: (H, W), True where the model paints.
        detail: see ``give_detail``.
        pieces: see ``lay_pieces``; they bring their own detail.
    """
    matched = match_colours(painted, known, mask)
    laid = lay_pieces(matched, known, mask) if pieces else None
    if laid is not None:
        return Finished(laid.picture, laid)
    return Finished(give_detail(matched, painted, known, mask) if detail else matched)

"""Verdicts: both orders asked, averaged on the logit scale, calibrated.

A judge asked "is image 1 better?" may favour a place. Asked both ways, its favour for a place
enters the two logits with the same sign and its opinion of the images with opposite signs, so
half the difference is the opinion alone, and p(a, b) + p(b, a) = 1 exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from onefill.judge.model import ImageFeatures, Judge
from onefill.judge.query import build_query
from onefill.tasks.types import Dimension, Task

TIE_BAND = 0.05
"""A probability nearer to one half than this is called a tie."""


@dataclass(frozen=True)
class Verdict:
    """The judge's answer on one dimension.

    Attributes:
        task: name of the task.
        dim: name of the dimension.
        p_first: probability that the first image is better, both orders asked.
        order_gap: how far apart the two orders' probabilities for the first image are, 0 to 1.
        winner: "first", "second", or "tie" within ``TIE_BAND`` of one half.
    """

    task: str
    dim: str
    p_first: float
    order_gap: float
    winner: str


def both_orders(
    judge: Judge, first: ImageFeatures, second: ImageFeatures, queries: Sequence[str]
) -> tuple[Tensor, Tensor]:
    """Ask every pair both ways.

    Returns:
        Two (B,) logits of "Yes": with ``first`` shown first, and with ``second`` shown first.
    """
    return (
        judge.logits_from_features(first, second, queries),
        judge.logits_from_features(second, first, queries),
    )


def swap_symmetric(forward: Tensor, backward: Tensor) -> Tensor:
    """Logit that the first image is better, free of any favour for a place.

    Args:
        forward: logits with the first image shown first.
        backward: logits with the second image shown first.
    """
    return (forward - backward) / 2


def order_gaps(forward: Tensor, backward: Tensor) -> Tensor:
    """How far apart the two orders' probabilities for the first image are, 0 to 1.

    Args:
        forward: logits with the first image shown first, divided by the temperature if any.
        backward: likewise, with the second image shown first.
    """
    return (torch.sigmoid(forward) - torch.sigmoid(-backward)).abs()


@torch.no_grad()
def ask(
    judge: Judge,
    first: Image.Image | Tensor,
    second: Image.Image | Tensor,
    task: Task,
    dimensions: Sequence[Dimension],
    words: str | None,
) -> list[Verdict]:
    """Compare two results of an edit on some dimensions; each image is looked at once.

    Args:
        judge: who is asked.
        first: a picture, or a tensor (1, 3, H, W) in [0, 1].
        second: the other one, of any size.
        task: the edit that both are results of.
        dimensions: what they are compared on.
        words: what the user typed, needed by dimensions that are judged with it.

    Raises:
        BadInput: a dimension needs words and there are none, or they are too many.
        OnefillError: an answer is not a number.
    """
    queries = [build_query(task, dimension, words) for dimension in dimensions]
    features = [_look(judge, image).tile(len(queries)) for image in (first, second)]
    forward, backward = both_orders(judge, features[0], features[1], queries)
    return verdicts_from_logits(judge, task, [d.name for d in dimensions], forward, backward)


def verdicts_from_logits(
    judge: Judge, task: Task, dims: Sequence[str], forward: Tensor, backward: Tensor
) -> list[Verdict]:
    """What the two orders' answers on the dimensions of one pair come to.

    Args:
        judge: who answered; its temperatures count.
        task: the edit.
        dims: names of the D dimensions.
        forward: (D,) logits with the first image shown first.
        backward: (D,) logits with the second image shown first.
    """
    heat = forward.new_tensor([judge.calibration.get(f"{task.name}/{dim}", 1.0) for dim in dims])
    p_first = torch.sigmoid(swap_symmetric(forward, backward) / heat).tolist()
    gaps = order_gaps(forward / heat, backward / heat)
    return [
        Verdict(task.name, dim, p, gap, _winner(p))
        for dim, p, gap in zip(dims, p_first, gaps.tolist(), strict=True)
    ]


def _look(judge: Judge, image: Image.Image | Tensor) -> ImageFeatures:
    if isinstance(image, Tensor):
        return judge.encode_images(image)
    return judge.encode_picture(image)


def _winner(p_first: float) -> str:
    if abs(p_first - 0.5) < TIE_BAND:
        return "tie"
    return "first" if p_first > 0.5 else "second"

"""The paper's Eq. 3: of a winner and a loser, "Yes" in one order and "No" in the other."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from onefill.judge.model import ImageFeatures, Judge
from onefill.judge.training.examples import Example, PictureShelf


def eq3(forward: Tensor, backward: Tensor, target: Tensor) -> Tensor:
    """-1/2 (log P("Yes" | winner, loser, q) + log P("No" | loser, winner, q)), section 3.1.

    A tie, which the paper drops, asks for one half in both orders.

    Args:
        forward: (B,) logits with the first picture shown first.
        backward: (B,) logits with the second picture shown first.
        target: (B,) 1 where the first is better, 0 where the second is, 0.5 for a tie.

    Returns:
        (B,), 0 or more.
    """
    ahead = binary_cross_entropy_with_logits(forward, target, reduction="none")
    behind = binary_cross_entropy_with_logits(backward, 1 - target, reduction="none")
    return (ahead + behind) / 2


def both_orders(
    judge: Judge, examples: Sequence[Example], shelf: PictureShelf
) -> tuple[Tensor, Tensor]:
    """The judge's answers to examples in both orders, with gradient to its weights.

    Each picture is looked at once, however many examples are about it; pictures of one size
    together.

    Returns:
        Two (B,) logits of "Yes": the first picture shown first, and the second.

    Raises:
        BadInput: a picture cannot be read, or a question is too long.
        OnefillError: an answer is no number.
    """
    sizes: dict[torch.Size, dict[int, tuple[int, Tensor]]] = {}
    places: list[tuple[tuple[torch.Size, int], tuple[torch.Size, int]]] = []
    for example in examples:
        sides = []
        for levels in shelf.levels(example.pair):
            same = sizes.setdefault(levels.shape, {})
            index, _ = same.setdefault(id(levels), (len(same), levels))
            sides.append((levels.shape, index))
        places.append((sides[0], sides[1]))
    features = {
        size: judge.encode_levels(
            torch.stack([levels for _, levels in same.values()]).to(judge.device).float()
        )
        for size, same in sizes.items()
    }
    questions = [(index, *sides, False) for index, sides in enumerate(places)]
    questions += [(index, two, one, True) for index, (one, two) in enumerate(places)]
    layouts: dict[object, list[tuple[int, tuple[torch.Size, int], tuple[torch.Size, int], bool]]]
    layouts = {}
    for question in questions:
        layouts.setdefault((question[1][0], question[2][0]), []).append(question)
    found: dict[tuple[int, bool], Tensor] = {}
    for group in layouts.values():
        first = _select(features, [question[1] for question in group])
        second = _select(features, [question[2] for question in group])
        queries = [examples[question[0]].query for question in group]
        logits = judge.logits_from_features(first, second, queries)
        found.update(
            ((index, swapped), logit)
            for (index, _, _, swapped), logit in zip(group, logits.unbind(), strict=True)
        )
    forward, backward = (
        torch.stack([found[index, swapped] for index in range(len(examples))])
        for swapped in (False, True)
    )
    return forward, backward


def _select(
    features: dict[torch.Size, ImageFeatures], sides: Sequence[tuple[torch.Size, int]]
) -> ImageFeatures:
    """The features of pictures of one size."""
    return features[sides[0][0]].select([index for _, index in sides])

"""The paper's Eq. 3: of a winner and a loser, "Yes" in one order and "No" in the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from onefill.judge.model import ImageFeatures, Judge
from onefill.judge.training.examples import Example, Shelf


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


Place = tuple[torch.Size, int]
"""Where a picture's features are: the size it is looked at, and its row among those."""


@dataclass(frozen=True)
class Looks:
    """The pictures of B examples, each looked at once.

    Attributes:
        features: by the size in which they are looked at.
        places: B pairs of the first and the second picture's place.
    """

    features: dict[torch.Size, ImageFeatures]
    places: list[tuple[Place, Place]]


@dataclass(frozen=True)
class Reading:
    """Answers to B examples in both orders.

    Attributes:
        forward: (B,) logits of "Yes", the first picture shown first.
        backward: (B,) logits of "Yes", the second picture shown first.
        ends: (2, layers - 1, B, 2, width), ``Judge.logits_and_ends`` in both orders; or None.
    """

    forward: Tensor
    backward: Tensor
    ends: Tensor | None


def look(judge: Judge, examples: Sequence[Example], shelf: Shelf) -> Looks:
    """Look at the pictures of examples, those of one size together.

    Raises:
        BadInput: a picture cannot be read.
    """
    sizes: dict[torch.Size, dict[int, tuple[int, Tensor]]] = {}
    places: list[tuple[Place, Place]] = []
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
    return Looks(features, places)


def read(judge: Judge, examples: Sequence[Example], looks: Looks, *, ends: bool = False) -> Reading:
    """The judge's answers to examples in both orders, with gradient.

    Args:
        judge: who is asked.
        examples: B of them.
        looks: what it made of their pictures.
        ends: also return what the language model made of each picture on its way.

    Raises:
        BadInput: a question is too long.
        OnefillError: an answer is no number.
    """
    questions = [(index, *sides, False) for index, sides in enumerate(looks.places)]
    questions += [(index, two, one, True) for index, (one, two) in enumerate(looks.places)]
    layouts: dict[object, list[tuple[int, Place, Place, bool]]] = {}
    for question in questions:
        layouts.setdefault((question[1][0], question[2][0]), []).append(question)
    logits: dict[tuple[int, bool], Tensor] = {}
    states: dict[tuple[int, bool], Tensor] = {}
    for group in layouts.values():
        first = _select(looks.features, [question[1] for question in group])
        second = _select(looks.features, [question[2] for question in group])
        queries = [examples[question[0]].query for question in group]
        places = [(question[0], question[3]) for question in group]
        if ends:
            found, behind = judge.logits_and_ends(first, second, queries)
            states.update(zip(places, behind.unbind(1), strict=True))
        else:
            found = judge.logits_from_features(first, second, queries)
        logits.update(zip(places, found.unbind(), strict=True))
    rows = range(len(examples))
    forward, backward = (torch.stack([logits[row, back] for row in rows]) for back in (False, True))
    orders = [torch.stack([states[row, back] for row in rows], 1) for back in (False, True) if ends]
    return Reading(forward, backward, torch.stack(orders) if ends else None)


def _select(features: dict[torch.Size, ImageFeatures], sides: Sequence[Place]) -> ImageFeatures:
    """The features of pictures of one size."""
    return features[sides[0][0]].select([index for _, index in sides])

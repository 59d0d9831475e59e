"""A judge's word on candidates: the best and the worst of them, where it is sure enough."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from PIL import Image

from onefill.judge.model import Judge
from onefill.judge.presentation import present
from onefill.judge.query import answerable, build_query
from onefill.judge.verdict import both_orders, swap_symmetric
from onefill.pairs.subject import Picture
from onefill.tasks.types import Mask, Task


@dataclass(frozen=True)
class Labelled:
    """Two candidates and what is said of them.

    Attributes:
        places: of the two among the candidates, in rising order.
        winner: dimension to the place of the better one.
        strength: dimension to how sure that is, |2p - 1|.
    """

    places: tuple[int, int]
    winner: Mapping[str, int]
    strength: Mapping[str, float]


def all_pairs(count: int) -> list[Labelled]:
    """Every two of ``count`` candidates, unlabelled: for people."""
    return [Labelled(places, {}, {}) for places in combinations(range(count), 2)]


@torch.no_grad()
def label(
    judge: Judge,
    candidates: Sequence[Picture],
    source: Picture,
    mask: Mask,
    task: Task,
    words: str | None,
    margin: float,
) -> list[Labelled]:
    """Best against worst in each dimension, as the paper labels its pairs (section 3.1).

    All candidates are compared with each other in both orders; the best has the highest mean
    logit against the rest. Dimensions whose best and worst are the same two share a pair.

    Args:
        judge: who is asked.
        candidates: at least two results.
        source: the picture before the edit, for a judge that sees it.
        mask: where it was painted, for a judge that sees it.
        task: the edit.
        words: what the user typed, or None.
        margin: how far from one half the probability must be; below it the pair is dropped.

    Raises:
        BadInput: the words are longer than the judge reads.
        OnefillError: an answer is no number.
    """
    dimensions = answerable(task, words)
    shown = [
        present(Image.fromarray(c), Image.fromarray(source), mask, judge.sees) for c in candidates
    ]
    features = judge.encode_pictures(shown)
    duels = list(combinations(range(len(candidates)), 2))
    queries = [build_query(task, d, words) for d in dimensions for _ in duels]
    forward, backward = both_orders(
        judge,
        features.select([one for one, _ in duels] * len(dimensions)),
        features.select([two for _, two in duels] * len(dimensions)),
        queries,
    )
    logits = swap_symmetric(forward, backward).view(len(dimensions), len(duels)).cpu().numpy()
    found: dict[tuple[int, int], tuple[dict[str, int], dict[str, float]]] = {}
    for dimension, row in zip(dimensions, logits, strict=True):
        heat = judge.calibration.get(f"{task.name}/{dimension.name}", 1.0)
        beats = np.zeros((len(candidates), len(candidates)))
        for (one, two), logit in zip(duels, row, strict=True):
            beats[one, two], beats[two, one] = logit / heat, -logit / heat
        score = beats.sum(1)
        best, worst = int(score.argmax()), int(score.argmin())
        p = 1 / (1 + np.exp(-beats[best, worst]))
        if best == worst or p - 0.5 < margin:
            continue
        winner, strength = found.setdefault((min(best, worst), max(best, worst)), ({}, {}))
        winner[dimension.name] = best
        strength[dimension.name] = round(float(2 * p - 1), 3)
    return [Labelled(places, *said) for places, said in sorted(found.items())]

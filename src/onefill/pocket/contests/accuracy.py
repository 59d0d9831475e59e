"""How often a judge is right on held-out pairs, and how sure it may be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from onefill.judge.calibration import expected_calibration_error, reliability
from onefill.judge.loading import load_judge
from onefill.judge.model import ImageFeatures, Judge
from onefill.judge.query import build_query
from onefill.judge.verdict import both_orders, order_gaps, swap_symmetric
from onefill.pocket.contests.pairs import CELLS, Pair, draw_pair
from onefill.pocket.material.pictures import Pictures, load_pictures
from onefill.pocket.material.sources import HELD_OUT
from onefill.tasks.registry import load_tasks

_BATCH = 50


def judge_accuracy(
    folder: Path | str, cache: Path, n: int, seed: int
) -> dict[str, dict[str, float]]:
    """Ask a judge about ``n`` held-out pairs of every task and dimension.

    Drawings, photographs and fonts of these pairs are in no training pair.

    Args:
        folder: a judge's folder.
        cache: of fetched pictures.
        n: pairs of each task and dimension.
        seed: of the pairs.

    Returns:
        "task/dimension" to what ``accuracy_of`` returns.

    Raises:
        BadInput: no judge can be loaded from the folder.
        OnefillError: pictures could not be fetched.
    """
    judge = load_judge(str(folder), device="cpu", dtype="float32", offline=True)
    pictures = load_pictures(HELD_OUT, cache)
    return {
        cell: accuracy_of(
            *ask_pairs(judge, pairs), winners(pairs), judge.calibration.get(cell, 1.0)
        )
        for task, dimension in CELLS
        for cell, pairs in (
            (f"{task}/{dimension}", held_out_pairs(pictures, task, dimension, n, seed)),
        )
    }


def held_out_pairs(pictures: Pictures, task: str, dimension: str, n: int, seed: int) -> list[Pair]:
    """``n`` pairs of one cell; the same arguments give the same pairs."""
    rng = np.random.default_rng([seed, CELLS.index((task, dimension))])
    return [draw_pair(pictures, rng, task, dimension) for _ in range(n)]


def winners(pairs: list[Pair]) -> Tensor:
    """1 where the first picture is better, 0 elsewhere: float (n,)."""
    return torch.tensor([float(pair.winner == "first") for pair in pairs])


@torch.no_grad()
def ask_pairs(judge: Judge, pairs: list[Pair]) -> tuple[Tensor, Tensor]:
    """Logits of "Yes" with the pair's first picture shown first, and shown second: (n,) each."""
    tasks = load_tasks()
    forward, backward = [], []
    for start in range(0, len(pairs), _BATCH):
        part = pairs[start : start + _BATCH]
        queries = []
        for pair in part:
            task = tasks.get(pair.task)
            queries.append(build_query(task, task.dimension(pair.dimension), pair.words))
        first = _look(judge, [pair.first for pair in part])
        second = _look(judge, [pair.second for pair in part])
        ahead, behind = both_orders(judge, first, second, queries)
        forward.append(ahead)
        backward.append(behind)
    return torch.cat(forward), torch.cat(backward)


def _look(judge: Judge, pictures: list[np.ndarray]) -> ImageFeatures:
    levels = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float()
    return judge.encode_images(levels / 255)


def accuracy_of(
    forward: Tensor, backward: Tensor, first_better: Tensor, temperature: float
) -> dict[str, float]:
    """Share of right answers from the logits of both orders and the truth, (n,) each.

    Returns:
        ``accuracy`` (either order alone), ``both_orders`` (their common verdict), ``order_gap``
        (mean distance of the two orders' probabilities), ``ece`` (expected calibration error of
        the verdicts' probabilities) and ``n``.
    """
    right = first_better > 0.5
    alone = ((forward > 0) == right).float().mean() + ((backward < 0) == right).float().mean()
    common = swap_symmetric(forward, backward)
    gaps = order_gaps(forward / temperature, backward / temperature)
    sure = torch.sigmoid(common / temperature).tolist()
    return {
        "accuracy": round(float(alone) / 2, 4),
        "both_orders": round(float(((common > 0) == right).float().mean()), 4),
        "order_gap": round(float(gaps.mean()), 4),
        "ece": round(expected_calibration_error(reliability(sure, right.tolist())), 4),
        "n": len(right),
    }

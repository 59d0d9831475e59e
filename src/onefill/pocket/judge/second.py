"""A second opinion: a small convolutional network that scores pictures, beside the judge.

It shares neither architecture nor weights nor training pairs with the judge, and no policy is
ever trained against it, so a reward that only fools the judge does not fool it. It sees one
picture at a time, knows no language, and answers for the built-in dimensions only. The drawings
and photographs behind its pairs are those of the same sources. It has seen what the embedded
policy paints beside the truth, or it could not tell which of two paintings is nearer to that; of
what any run of ``onefill train`` paints it has seen nothing.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from onefill.errors import OnefillError
from onefill.files import replace_bytes
from onefill.pocket.contests.cache import join, load_contests
from onefill.pocket.contests.painted import load_painted
from onefill.pocket.contests.pairs import GRID
from onefill.pocket.judge.vision import (
    VISION_WEIGHTS,
    CellHead,
    VisionHeads,
    contest_batch,
    quality,
    vary,
    vision_accuracy,
    vision_loss,
)
from onefill.pocket.material.sources import HELD_OUT, TRAIN
from onefill.pocket.scoring.perceptual import load_perceptual
from onefill.pocket.training_plan import Plan
from onefill.pocket.training_stage import Losses, run_stage

WIDTH = 160
CONTESTS, HELD_OUT_CONTESTS = 20_000, 300
PAINTED, _SHOWN_AGAIN = 1_920, 3
_BATCH, _PEAK, _PEAK_BEGUN = 16, 2e-3, 1e-3


class SecondJudge(nn.Module):
    """Strided convolutions to an 8 x 8 grid, and the heads of ``VisionHeads`` on their mean."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 32, 64, WIDTH)
        blocks: list[nn.Module] = []
        for before, after in pairwise(widths):
            blocks += [_block(before, after, 2), _block(after, after, 1)]
        self.eyes = nn.Sequential(*blocks)
        self.heads = VisionHeads(WIDTH)

    def tokens(self, pictures: Tensor) -> Tensor:
        """Grey levels (B, 3, 64, 64) to (B, 64, WIDTH)."""
        grid: Tensor = self.eyes(pictures / 127.5 - 1)
        return grid.flatten(2).transpose(1, 2)

    def prob_first_better(
        self, first: Tensor, second: Tensor, columns: Tensor, words: Tensor
    ) -> Tensor:
        """Probability (B,) that the first picture is better.

        Args:
            first: (B, 3, 64, 64), grey levels in [0, 255].
            second: the same.
            columns: (B,) dimensions, index in ``onefill.pocket.contests.pairs.DIMENSIONS``.
            words: (B,) what was asked for, index in ``onefill.pocket.contests.pairs.LABELS``.
        """
        scores, labels = self.heads(self.tokens(torch.cat([first, second])))
        count = len(first)
        both = quality(
            torch.stack([scores[:count], scores[count:]], 1),
            torch.stack([labels[:count], labels[count:]], 1),
            words,
        )
        margin = (both[:, 0] - both[:, 1]).gather(1, columns[:, None])[:, 0]
        return torch.sigmoid(margin)


def _block(before: int, after: int, stride: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, stride, padding=1), nn.GroupNorm(8, after), nn.GELU()
    )


def train_second_judge(weights: Path, plan: Plan, begin: Path | None = None) -> None:
    """Train on contests of another seed than the judge's, and write the weights.

    A training that was stopped goes on from its state in the cache.

    Args:
        weights: file to write.
        plan: length, seed, device, cache and log.
        begin: file of weights to begin from; None for random ones.

    Raises:
        BadInput: the package that LPIPS comes with is not installed.
        OnefillError: pictures could not be fetched, or there are no weights to begin from.
    """
    load_perceptual(plan.device)  # what is missing is said before any scene is drawn
    if begin is not None and not begin.is_file():
        raise OnefillError(f"--begin {begin.parent}: holds no second judge ({begin.name})")
    seed = plan.seed + 2
    drawn = load_contests(TRAIN, CONTESTS, seed, plan.cache, plan.log)
    painted = load_painted(TRAIN, PAINTED, seed, plan.cache, plan.log, device=plan.device)
    contests = join([drawn, *[painted] * _SHOWN_AGAIN])
    held_out = load_contests(HELD_OUT, HELD_OUT_CONTESTS, plan.seed, plan.cache, plan.log)
    torch.manual_seed(plan.seed)
    model, peak = SecondJudge(), _PEAK
    if begin is not None:
        model.load_state_dict(load_second_judge(begin).state_dict())
        peak = _PEAK_BEGUN
    cells = CellHead(WIDTH, GRID**2).to(plan.device)
    model.to(plan.device)
    modules = {"model": model, "cells": cells}
    parameters = [p for module in modules.values() for p in module.parameters()]

    def draw(rng: np.random.Generator) -> dict[str, Tensor]:
        chosen = rng.integers(len(contests), size=_BATCH * plan.batches)
        batch = contest_batch(contests, chosen, rng)
        return {**batch, "pictures": vary(batch["pictures"], rng)}

    def losses_of(batch: dict[str, Tensor], _: object) -> Losses:
        pictures = batch["pictures"]
        with plan.quick():
            tokens = model.tokens(pictures.flatten(0, 1))
        seen = tokens.float().view(*pictures.shape[:2], *tokens.shape[1:])
        return vision_loss(seen, model.heads, cells, batch)

    run_stage(
        "second judge", "second-judge-state", modules,
        [torch.optim.AdamW(parameters, lr=peak, weight_decay=0.02)],
        draw, losses_of, partial(vision_accuracy, model.tokens, model.heads, held_out), plan,
        weights=VISION_WEIGHTS,
    )  # fmt: skip
    weights.parent.mkdir(parents=True, exist_ok=True)
    halves = {name: value.half().cpu().contiguous() for name, value in model.state_dict().items()}
    replace_bytes(weights, save(halves))


def load_second_judge(weights: Path) -> SecondJudge:
    """The second judge, frozen."""
    model = SecondJudge()
    model.load_state_dict({name: value.float() for name, value in load_file(weights).items()})
    return model.requires_grad_(False).eval()

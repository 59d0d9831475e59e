"""Pictures that are led up the judge's own gradient for many steps, and what they are worth.

A policy in training does not stop after one step, so neither does what the judge is taught to
withstand. A chain begins at a picture of a contest and takes some steps each time it is drawn,
against the judge as it is by then (after the persistent chains of Du and Mordatch 2019, "Implicit
generation and modeling with energy-based models", section 3); the last of them comes with the
backward pass that trains the judge (Shafahi et al. 2019, "Adversarial training for free!"). The
label is no opinion: it is how much nearer to the undamaged picture the chain has come, or further
from it, both by squared error and by how it looks. Squared error alone would call a blur better
than detail in the wrong place, and a judge taught so leads a policy to paint softly.

There are three kinds of chains. One moves pixels. One moves the latents of the policy's VAE, whose
patterns are those that a policy can paint. The third moves all tokens of a part of the picture
alike: what a few hundred updates teach a policy is the same in every place, and a pattern that
comes back with every token is how a run of 240 steps fooled a judge that knew only the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from diffusers import AutoencoderTiny
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from onefill.judge.query import build_query
from onefill.pocket.contests.cache import TASKS, Contests
from onefill.pocket.contests.pairs import ALIGNMENT, CELLS, DIMENSIONS, GAP, LABELS, draw_words
from onefill.pocket.scoring.perceptual import Perceptual, decibels_apart
from onefill.tasks.types import Task

CHAINS, DRAWN = 64, 8
"""Chains of each kind that are alive; how many are drawn together."""

AT_ONCE, LONGEST = 4, 12
"""Steps of a chain when it is drawn, of which the judge is trained on the last; and how often it
is drawn at most: each draws its own number up to it."""

Kind = Literal["pixels", "latents", "tokens"]

STEPS: Mapping[Kind, float] = {"pixels": 3.0, "latents": 0.04, "tokens": 0.04}
"""Of one step: grey levels; units of the VAE's latents, whose standard deviation is about 0.5."""

TOKEN = 2
"""Latents a side of one token of the policy."""

_PER_DECIBEL = 1.5
_SURE = 0.97

Answers = Callable[[list[str], Tensor, Tensor], Tensor]
"""(queries, first, second), pictures (B, 3, H, W) in grey levels, to logits (B,)."""


@dataclass
class _Chain:
    start: Tensor
    clean: Tensor
    change: Tensor
    where: Tensor
    apart: Tensor
    query: str
    left: int


class Chains:
    """Chains of one kind.

    Args:
        contests: what they begin from; those with an undamaged picture are used.
        tasks: whose queries are asked, by name.
        kind: what is moved: all pixels, all latents, or the tokens of a part alike.
        vae: whose latents are moved.
        perceptual: the distance that labels them beside squared error.
        seed: of the chains that are alive at first.
    """

    def __init__(
        self,
        contests: Contests,
        tasks: Mapping[str, Task],
        kind: Kind,
        vae: AutoencoderTiny,
        perceptual: Perceptual,
        seed: int,
    ) -> None:
        self._contests, self._tasks, self._kind, self._vae = contests, tasks, kind, vae
        self._perceptual, self._device = perceptual, vae.device
        clean = contests.levels.sum(2) == 0
        self._clean = clean.argmax(1)
        gaps = contests.levels >= GAP
        self._rows: dict[tuple[str, str], NDArray[np.intp]] = {
            (task, dimension): np.flatnonzero(
                clean.any(1)
                & (contests.tasks == TASKS.index(task))
                & gaps[:, :, DIMENSIONS.index(dimension)].any(1)
            )
            for task, dimension in CELLS
        }
        self._size = STEPS[kind]
        self._cells = [cell for cell in CELLS if len(self._rows[cell])]
        rng = np.random.default_rng(seed)
        self._alive = [self._begin(rng) for _ in range(CHAINS)] if self._cells else []
        self.parted = 0.0
        """By how much the judge has lately thought better of the chains than they are."""

    def loss(self, answers: Answers, rng: np.random.Generator) -> Tensor:
        """The answer's loss on some chains, which take their last step on the backward pass.

        Args:
            answers: asks the judge, with gradient.
            rng: of what is drawn.
        """
        if not self._alive:
            return torch.zeros((), device=self._device)
        places = rng.choice(len(self._alive), DRAWN, replace=False)
        for place in places:
            if self._alive[place].left == 0:
                self._alive[place] = self._begin(rng)
        drawn = [self._alive[place] for place in places]
        change = torch.stack([chain.change for chain in drawn]).requires_grad_()
        start, clean, where = (
            torch.stack([getattr(c, k) for c in drawn]) for k in ("start", "clean", "where")
        )
        swapped = torch.from_numpy(rng.random(DRAWN) < 0.5).to(self._device)
        upright = ~swapped[:, None, None, None]

        def favoured(shown: Tensor, before: Tensor) -> Tensor:
            logits = answers(
                [chain.query for chain in drawn],
                torch.where(upright, shown, before),
                torch.where(upright, before, shown),
            )
            return torch.where(swapped, -logits, logits)

        for _ in range(AT_ONCE - 1):
            favour = favoured(*self._pictures(start, change, where))
            (gradient,) = torch.autograd.grad(favour.sum(), change)
            change = (change.detach() + gradient.sign() * self._size).requires_grad_()
        shown, before = self._pictures(start, change, where)
        nearer = torch.stack([c.apart for c in drawn]) - self._apart(shown.detach(), clean)
        worth = torch.sigmoid(_PER_DECIBEL * nearer).clamp(1 - _SURE, _SURE)
        favour = favoured(shown, before)
        excess = torch.sigmoid(favour.detach()) - worth
        self.parted = 0.98 * self.parted + 0.02 * float(excess.mean())

        def step(gradient: Tensor) -> None:
            # The loss falls where the chain is underrated; the chain climbs all the same.
            up = gradient.sign() * excess.sign()[:, None, None, None] * self._size
            for chain, moved in zip(drawn, change.detach() + up, strict=True):
                chain.change, chain.left = moved, chain.left - 1

        change.register_hook(step)
        return functional.binary_cross_entropy_with_logits(favour, worth)

    def _begin(self, rng: np.random.Generator) -> _Chain:
        task, dimension = self._cells[rng.integers(len(self._cells))]
        rows = self._rows[task, dimension]
        row = int(rows[rng.integers(len(rows))])
        pictures = self._contests.pictures[row]
        start = _grey_levels(pictures[rng.integers(len(pictures))]).to(self._device)
        clean = _grey_levels(pictures[self._clean[row]]).to(self._device)
        described = self._tasks[task]
        word = LABELS[int(self._contests.words[row])]
        typed = draw_words(word, rng) if dimension == ALIGNMENT else None
        if self._kind != "pixels":
            with torch.no_grad():
                start = self._vae.encode(start[None] / 127.5 - 1).latents[0]
        shape: tuple[int, ...] = start.shape
        where = torch.ones(1, *shape[1:], device=self._device)
        if self._kind == "tokens":
            where = _part(shape[1], shape[2], rng).to(self._device)
            shape = (shape[0], TOKEN, TOKEN)
        # Two equal pictures have no gradient.
        change = torch.from_numpy(rng.uniform(-1, 1, shape))
        return _Chain(
            start=start,
            clean=clean,
            change=self._size * change.float().to(self._device),
            where=where,
            apart=self._apart(self._beginning(start[None]), clean[None])[0],
            query=build_query(described, described.dimension(dimension), typed),
            left=int(rng.integers(2, LONGEST + 1)),
        )

    def _pictures(self, start: Tensor, change: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures of the chains now, and of their beginnings."""
        before = self._beginning(start)
        if self._kind == "pixels":
            return (start + change).clamp(0, 255), before
        times = (1, 1, *(s // c for s, c in zip(start.shape[2:], change.shape[2:], strict=True)))
        return self._decoded(start + change.repeat(times) * where), before

    @torch.no_grad()
    def _beginning(self, start: Tensor) -> Tensor:
        return start if self._kind == "pixels" else self._decoded(start)

    def _decoded(self, latents: Tensor) -> Tensor:
        pictures: Tensor = self._vae.decode(latents).sample
        return ((pictures + 1) * 127.5).clamp(0, 255)

    def _apart(self, shown: Tensor, clean: Tensor) -> Tensor:
        """How far pictures (B, 3, H, W) in grey levels are from the clean ones, in decibels."""
        return decibels_apart(self._perceptual, shown / 255, clean / 255)


def _part(height: int, width: int, rng: np.random.Generator) -> Tensor:
    """A rectangle of tokens, at least half the picture long and wide: 1 inside, (1, H, W)."""
    where = torch.zeros(1, height, width)
    spans = []
    for side in (height, width):
        tokens = side // TOKEN
        length = int(rng.integers(tokens // 2, tokens + 1))
        first = int(rng.integers(0, tokens - length + 1))
        spans.append(slice(first * TOKEN, (first + length) * TOKEN))
    where[:, spans[0], spans[1]] = 1
    return where


def _grey_levels(picture: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(picture).permute(2, 0, 1).float()

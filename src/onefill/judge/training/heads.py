"""Heads that teach a judge of random weights to see and to read; thrown away afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import rms_norm

from onefill.judge.training.examples import Example
from onefill.judge.training.loss import Looks


class TeachingHeads(nn.Module):
    """Scores of single pictures, read off the vision tower and off the language model.

    The tower's: a linear score of the mean of a picture's tokens, the very tokens that the
    language model reads, for each task and dimension, plus one for the user's words. Two pictures
    share the tower and the head, and the difference of their scores is the logit of
    Bradley and Terry (1952): what pairs with winners can teach without a word of language.

    The language model's: a linear score of what each layer has made of a picture where it ends.

    Args:
        cells: every "task/dimension" that is asked.
        tokenizer: the judge's.
        width: of the language model.
        layers: of the language model.
        seed: of the weights; torch's global generator is left as it was.
    """

    def __init__(
        self, cells: Iterable[str], tokenizer: Any, width: int, layers: int, seed: int
    ) -> None:
        super().__init__()
        self._tokenizer = tokenizer
        self._rows = {cell: row for row, cell in enumerate(sorted(set(cells)))}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.cells = nn.Embedding(len(self._rows), width)
            self.words = nn.EmbeddingBag(len(tokenizer), width, mode="mean")
            self.ends = nn.ModuleList(nn.Linear(width, 1) for _ in range(layers - 1))
            nn.init.normal_(self.cells.weight, std=width**-0.5)
            nn.init.normal_(self.words.weight, std=0.1 * width**-0.5)

    def seen(self, examples: Sequence[Example], looks: Looks) -> Tensor:
        """By how much the first picture of each of B examples scores higher: (B,) logits."""
        means = {
            size: rms_norm(features.tokens, features.tokens.shape[-1:]).mean(1)
            for size, features in looks.features.items()
        }
        first, second = (
            torch.stack([means[size][row] for size, row in side])
            for side in zip(*looks.places, strict=True)
        )
        return ((first - second) * self._asked(examples, first.device)).sum(-1)

    def read(self, ends: Tensor) -> Tensor:
        """By how much the picture shown first scores higher, behind each layer.

        Args:
            ends: (..., layers - 1, B, 2, width), see ``Judge.logits_and_ends``.

        Returns:
            (..., layers - 1, B) logits.
        """
        states = rms_norm(ends, ends.shape[-1:])
        scores = [head(state) for head, state in zip(self.ends, states.unbind(-4), strict=True)]
        behind = torch.stack(scores, -4)[..., 0]
        return behind[..., 0] - behind[..., 1]

    def _asked(self, examples: Sequence[Example], device: torch.device) -> Tensor:
        """What is looked for in the pictures of each example: (B, width)."""
        rows = torch.tensor([self._rows[example.cell] for example in examples], device=device)
        ids: list[int] = []
        begins = []
        for example in examples:
            begins.append(len(ids))
            if example.words:
                # As in the query, where they stand behind a blank and before a full stop.
                ids += self._tokenizer.encode(f" {example.words}.")
        bag = torch.tensor(ids, dtype=torch.long, device=device)
        words: Tensor = self.words(bag, torch.tensor(begins, device=device))
        found: Tensor = self.cells(rows)
        return found + words

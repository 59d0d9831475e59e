"""What the parts of a step's batch add up to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from onefill.rl.penalty import Distance


@dataclass
class Tally:
    """Of one step, over the parts counted so far.

    Attributes:
        loss: the sum of the parts' losses, which is that of the batch.
        answers: P(yes) for each dimension, on the samples that were asked about it.
        drift: see ``Distance``; None where it was not measured.
        kl: likewise.
    """

    loss: float = 0.0
    answers: dict[str, list[Tensor]] = field(default_factory=dict)
    drift: float | None = None
    kl: float | None = None

    def count(
        self, loss: Tensor, logits: Mapping[str, Tensor], gone: Distance | None, share: float
    ) -> None:
        """Add a part that is ``share`` of the batch."""
        self.loss += loss.item()
        for dimension, answers in logits.items():
            p_yes = torch.sigmoid(answers.detach()).cpu()
            self.answers.setdefault(dimension, []).append(p_yes)
        if gone is not None:
            self.drift = (self.drift or 0.0) + share * gone.drift.item()
            self.kl = (self.kl or 0.0) + share * gone.kl.item()

    @classmethod
    def of_all(cls, tallies: Sequence[Tally]) -> Tally:
        """What several processes counted of one step, in the order of their samples."""
        if len(tallies) == 1:
            return tallies[0]
        whole = cls(loss=sum(tally.loss for tally in tallies))
        for tally in tallies:
            for dimension, answers in tally.answers.items():
                whole.answers.setdefault(dimension, []).extend(answers)
        if all(tally.drift is not None for tally in tallies):
            whole.drift = sum(tally.drift or 0.0 for tally in tallies)
            whole.kl = sum(tally.kl or 0.0 for tally in tallies)
        return whole

    def rewards(self) -> dict[str, float]:
        """Mean P(yes) of each dimension."""
        return {name: torch.cat(parts).mean().item() for name, parts in self.answers.items()}

    def values(self, lam: float) -> dict[str, Any]:
        """For ``metrics.jsonl``: loss, rewards, and the share that earns nothing more."""
        saturated = {
            name: (torch.cat(parts) >= lam).float().mean().item()
            for name, parts in self.answers.items()
        }
        values = {"loss": self.loss, "reward": self.rewards(), "saturated": saturated}
        return values if self.drift is None else values | {"drift": self.drift, "kl": self.kl}

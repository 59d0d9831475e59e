"""What the parts of a step's batch add up to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from onefill.rl.penalty import Distance
from onefill.rl.reward import ByDimension


@dataclass
class Tally:
    """Of one step, over the parts counted so far.

    Attributes:
        loss: the sum of the parts' losses, which is that of the batch.
        answers: P(yes) for each task and dimension, on the samples that were asked about it.
        drift: see ``Distance``; None where it was not measured.
        kl: likewise.
    """

    loss: float = 0.0
    answers: ByDimension[list[Tensor]] = field(default_factory=dict)
    drift: float | None = None
    kl: float | None = None

    def count(
        self, loss: Tensor, logits: ByDimension[Tensor], gone: Distance | None, share: float
    ) -> None:
        """Add a part that is ``share`` of the batch."""
        self.loss += loss.item()
        for task, of_task in logits.items():
            for dimension, answers in of_task.items():
                self._note(task, dimension, [torch.sigmoid(answers.detach()).cpu()])
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
            for task, of_task in tally.answers.items():
                for dimension, answers in of_task.items():
                    whole._note(task, dimension, answers)
        if all(tally.drift is not None for tally in tallies):
            whole.drift = sum(tally.drift or 0.0 for tally in tallies)
            whole.kl = sum(tally.kl or 0.0 for tally in tallies)
        return whole

    def rewards(self) -> ByDimension[float]:
        """Mean P(yes) of each dimension."""
        return self._means(lambda p_yes: p_yes)

    def values(self, lam: float) -> dict[str, Any]:
        """For ``metrics.jsonl``: loss, rewards, and the share that earns nothing more."""
        saturated = self._means(lambda p_yes: (p_yes >= lam).float())
        values = {"loss": self.loss, "reward": self.rewards(), "saturated": saturated}
        return values if self.drift is None else values | {"drift": self.drift, "kl": self.kl}

    def _note(self, task: str, dimension: str, answers: Sequence[Tensor]) -> None:
        self.answers.setdefault(task, {}).setdefault(dimension, []).extend(answers)

    def _means(self, what: Callable[[Tensor], Tensor]) -> ByDimension[float]:
        return {
            task: {name: what(torch.cat(parts)).mean().item() for name, parts in of_task.items()}
            for task, of_task in self.answers.items()
        }

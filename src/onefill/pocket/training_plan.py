"""How a training of the recipe runs: for how long, on which device, from which seed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

Log = Callable[[str], None]
Drawn = TypeVar("Drawn")

_GPU_BATCHES = 8
"""Batches of a CPU in one of a GPU, which a batch of a CPU would leave idle."""

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Length:
    """How long a training is: one of the two.

    Attributes:
        minutes: of wall time.
        steps: updates of the weights; the same machine then makes the same weights every time.
    """

    minutes: float | None = None
    steps: int | None = None

    def __post_init__(self) -> None:
        if (self.minutes is None) == (self.steps is None):
            raise ValueError("a length is a number of minutes or of steps")

    def done(self, seconds: float, steps: int) -> float:
        """Share of the training, in [0, 1], that is over after so much time and so many steps."""
        if self.steps is not None:
            return min(1.0, steps / self.steps)
        assert self.minutes is not None
        return min(1.0, seconds / (60 * self.minutes))

    def part(self, share: float) -> Length:
        """So much of this length, at least one step."""
        if self.steps is not None:
            return Length(steps=max(1, round(self.steps * share)))
        assert self.minutes is not None
        return Length(minutes=self.minutes * share)

    def __str__(self) -> str:
        return f"{self.minutes:g} minutes" if self.steps is None else f"{self.steps} steps"


@dataclass(frozen=True)
class Plan:
    """What every training of the recipe is given.

    Attributes:
        cache: fetched pictures, drawn scenes and the states of unfinished trainings.
        length: of the training, earlier runs counted.
        seed: of weights and draws.
        log: told one line now and then.
        device: where networks are trained. What they are shown is drawn on the CPU.
    """

    cache: Path
    length: Length
    seed: int
    log: Log
    device: torch.device = CPU

    def part(self, share: float) -> Plan:
        """The same with so much of the length."""
        return replace(self, length=self.length.part(share))

    def command(self, stage: str) -> str:
        """What a user types for this training."""
        length = self.length
        long = (
            f"--minutes {length.minutes:g}" if length.steps is None else f"--steps {length.steps}"
        )
        return f"onefill pocket build --stage {stage} {long} --seed {self.seed}"

    @property
    def on_gpu(self) -> bool:
        """Whether networks are trained on a GPU."""
        return self.device.type == "cuda"

    @property
    def batches(self) -> int:
        """How many times the batch of a CPU one step takes."""
        return _GPU_BATCHES if self.on_gpu else 1

    def quick(self) -> AbstractContextManager[Any]:
        """Networks compute in bfloat16 on a GPU and in float32 on a CPU, which emulates the other.

        Losses are computed outside of it: callers make float32 of what networks return.
        """
        return torch.autocast("cuda", torch.bfloat16) if self.on_gpu else nullcontext()

    def put(self, drawn: Drawn) -> Drawn:
        """Tensors where networks are trained, also inside tuples, dictionaries and dataclasses."""
        return _put(drawn, self.device)


def _put(drawn: Any, device: torch.device) -> Any:
    if isinstance(drawn, Tensor):
        return drawn.to(device)
    if isinstance(drawn, tuple):
        return tuple(_put(part, device) for part in drawn)
    if isinstance(drawn, dict):
        return {key: _put(part, device) for key, part in drawn.items()}
    if is_dataclass(drawn) and not isinstance(drawn, type):
        parts = {f.name: _put(getattr(drawn, f.name), device) for f in fields(drawn)}
        return replace(drawn, **parts)
    return drawn

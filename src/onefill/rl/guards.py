"""A value that is no number is caught where it appears, and told with step, phase and sample."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from onefill.errors import BadInput, OnefillError


class Guard:
    """Looks over the tensors of one part of a step.

    Args:
        step: number of the update.
        names: of the samples, in the order of the tensors' rows.
    """

    def __init__(self, step: int, names: Sequence[str]) -> None:
        self._step = step
        self._names = names

    def check(self, phase: str, values: Tensor) -> Tensor:
        """``values`` (B, ...) as they are.

        Raises:
            OnefillError: one of them is NaN or infinite.
        """
        good = torch.isfinite(values.detach()).flatten(1).all(dim=1).tolist()
        if not all(good):
            self._stop(
                phase, [n for n, is_good in zip(self._names, good, strict=True) if not is_good]
            )
        return values

    def watch(self, phase: str, values: Tensor) -> Tensor:
        """``check`` them, and their gradient too when it comes back.

        Raises:
            OnefillError: one is NaN or infinite; of the gradient, in the backward pass.
        """
        self.check(phase, values)
        if values.requires_grad:
            values.register_hook(lambda gradient: self.check("backward", gradient))
        return values

    @contextmanager
    def naming(self, phase: str) -> Iterator[None]:
        """Tell step, phase and samples with whatever goes wrong inside."""
        try:
            yield
        except BadInput:
            raise
        except OnefillError as error:
            raise OnefillError(
                f"step {self._step}, {phase}, {', '.join(self._names)}: {error}"
            ) from error

    def _stop(self, phase: str, names: Sequence[str]) -> None:
        raise OnefillError(
            f"step {self._step}, {phase}: not a number (NaN or infinity) for {', '.join(names)}; "
            "the last checkpoint is whole: leave that sample out, lower the learning rate, or try "
            "dtype float32"
        )


def check_weights(step: int, weights: dict[str, torch.nn.Parameter]) -> None:
    """Refuse to keep weights that are no numbers.

    Raises:
        OnefillError: one is NaN or infinite.
    """
    for name, weight in weights.items():
        if not torch.isfinite(weight).all():
            raise OnefillError(
                f"step {step}, update: {name} is not a number (NaN or infinity) any more; go on "
                "from the last checkpoint with a lower learning rate"
            )

"""AdamW with a rate that follows from the step, and a state that goes into a checkpoint."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from onefill.errors import OnefillError
from onefill.judge.training.settings import JudgeTrainingSettings

_STATES = ("step", "exp_avg", "exp_avg_sq")
_FLOOR = 0.1  # of the peak rate, at the end


def rate_at(step: int, steps: int, settings: JudgeTrainingSettings) -> float:
    """The learning rate of update ``step`` (from 0) of ``steps``: up a line, down a cosine."""
    warm = settings.warmup * steps
    if step < warm:
        return settings.rate * (step + 1) / (math.floor(warm) + 1)
    done = (step - warm) / max(1.0, steps - warm)
    return settings.rate * (_FLOOR + (1 - _FLOOR) * (1 + math.cos(math.pi * done)) / 2)


class JudgeOptimizer:
    """AdamW over named weights.

    Args:
        parameters: what is trained.
        settings: rate, decay and clipping.
        steps: of the whole training.
    """

    def __init__(
        self, parameters: Mapping[str, nn.Parameter], settings: JudgeTrainingSettings, steps: int
    ) -> None:
        self._parameters = dict(parameters)
        self._settings = settings
        self._steps = steps
        self._adamw = torch.optim.AdamW(
            list(self._parameters.values()),
            lr=settings.rate,
            betas=(0.9, 0.99),
            weight_decay=settings.weight_decay,
        )

    def update(self, step: int) -> float:
        """Clip the gradient that has been gathered, and step; returns its norm before.

        Raises:
            OnefillError: it is not finite; nothing was changed.
        """
        norm = float(torch.nn.utils.clip_grad_norm_(self._parameters.values(), self._settings.clip))
        if not math.isfinite(norm):
            raise OnefillError(
                f"step {step + 1}: the gradient is no number; start again with a lower --rate"
            )
        for group in self._adamw.param_groups:
            group["lr"] = rate_at(step, self._steps, self._settings)
        self._adamw.step()
        self._adamw.zero_grad(set_to_none=True)
        return norm

    def tensors(self) -> dict[str, Tensor]:
        """The moments and counters of every weight that was ever updated, on the CPU."""
        return {
            f"{name}/{key}": self._adamw.state[parameter][key].to("cpu", copy=True)
            for name, parameter in self._parameters.items()
            if parameter in self._adamw.state
            for key in _STATES
        }

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take on a state that ``tensors`` gave."""
        for name, parameter in self._parameters.items():
            if f"{name}/step" in tensors:
                moments = {key: tensors[f"{name}/{key}"].to(parameter.device) for key in _STATES}
                # AdamW counts on the CPU.
                self._adamw.state[parameter] = {**moments, "step": tensors[f"{name}/step"]}

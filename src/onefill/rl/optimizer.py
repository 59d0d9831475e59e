"""One update of the trainable weights: warm-up, clipping, AdamW."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from onefill.errors import OnefillError
from onefill.rl.config import OptimizerConfig

_STATES = ("step", "exp_avg", "exp_avg_sq")


class Optimizer:
    """AdamW over named parameters, with a state that can be written to safetensors.

    Args:
        parameters: what is trained, by name.
        config: rates; the learning rate of update n (from 0) is
            ``learning_rate * min(1, (n + 1) / warmup)``.
    """

    def __init__(
        self, parameters: Mapping[str, torch.nn.Parameter], config: OptimizerConfig
    ) -> None:
        self._parameters = dict(parameters)
        self._config = config
        self._adamw = torch.optim.AdamW(
            list(self._parameters.values()),
            lr=config.learning_rate,
            betas=(config.betas[0], config.betas[1]),
            weight_decay=config.weight_decay,
        )

    def rate(self, step: int) -> float:
        """The learning rate of update ``step``."""
        share = (step + 1) / self._config.warmup if self._config.warmup else 1.0
        return self._config.learning_rate * min(1.0, share)

    def update(self, loss: Tensor, step: int) -> float:
        """Backpropagate, clip and update; returns the norm of the gradient before clipping.

        Raises:
            OnefillError: loss or gradient is not finite; nothing was changed.
        """
        if not torch.isfinite(loss):
            raise OnefillError(f"step {step}: the loss is {loss.item()}; lower the learning rate")
        self._adamw.zero_grad(set_to_none=True)
        loss.backward()
        norm = float(
            torch.nn.utils.clip_grad_norm_(self._parameters.values(), self._config.clip_norm)
        )
        if not torch.isfinite(torch.tensor(norm)):
            raise OnefillError(
                f"step {step}: the norm of the gradient is {norm}; lower the learning rate"
            )
        for group in self._adamw.param_groups:
            group["lr"] = self.rate(step)
        self._adamw.step()
        self._adamw.zero_grad(set_to_none=True)
        return norm

    def tensors(self) -> dict[str, Tensor]:
        """The moments and counters of every parameter that was ever updated."""
        return {
            f"{name}/{key}": self._adamw.state[parameter][key]
            for name, parameter in self._parameters.items()
            if parameter in self._adamw.state
            for key in _STATES
        }

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take on a state that ``tensors`` gave."""
        for name, parameter in self._parameters.items():
            if f"{name}/step" not in tensors:
                continue
            state = {key: tensors[f"{name}/{key}"].clone() for key in _STATES}
            # AdamW counts on the CPU; the moments live where the weights do.
            moments = {key: state[key].to(parameter.device) for key in _STATES[1:]}
            self._adamw.state[parameter] = {"step": state["step"], **moments}

"""One update of the trainable weights: warm-up, accumulation, clipping, the step itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from onefill.errors import OnefillError
from onefill.rl.config import OptimizerConfig
from onefill.rl.optimizer_kinds import build_optimizer, schedule_free_average
from onefill.rl.reference import swapped

_OF_ALL = "all"
"""In the names of saved values: what belongs to no single parameter."""


class Optimizer:
    """An optimizer over named parameters, with a state that can be written to safetensors.

    Args:
        parameters: what is trained, by name.
        config: its kind and rates; the learning rate of update n (from 0) is
            ``learning_rate * min(1, (n + 1) / warmup)``.

    Raises:
        BadInput: the package of this kind is not installed.
    """

    def __init__(
        self, parameters: Mapping[str, torch.nn.Parameter], config: OptimizerConfig
    ) -> None:
        self._parameters = dict(parameters)
        self._config = config
        self._optimizer = build_optimizer(self._parameters.values(), config)

    def rate(self, step: int) -> float:
        """The learning rate of update ``step``."""
        share = (step + 1) / self._config.warmup if self._config.warmup else 1.0
        return self._config.learning_rate * min(1.0, share)

    def accumulate(self, loss: Tensor, step: int) -> None:
        """Backpropagate the loss of a part of the batch; gradients add up until ``update``.

        Raises:
            OnefillError: the loss is not finite.
        """
        if not torch.isfinite(loss):
            self._optimizer.zero_grad(set_to_none=True)
            raise OnefillError(f"step {step}: the loss is {loss.item()}; lower the learning rate")
        loss.backward()

    def update(self, step: int) -> float:
        """Clip and update; returns the norm of the gradient before clipping.

        Raises:
            OnefillError: the gradient is not finite; nothing was changed.
        """
        norm = float(
            torch.nn.utils.clip_grad_norm_(self._parameters.values(), self._config.clip_norm)
        )
        if not torch.isfinite(torch.tensor(norm)):
            self._optimizer.zero_grad(set_to_none=True)
            raise OnefillError(
                f"step {step}, backward: the norm of the gradient is {norm}; lower the learning "
                "rate"
            )
        for group in self._optimizer.param_groups:
            group["lr"] = self.rate(step)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return norm

    @contextmanager
    def settled(self) -> Iterator[None]:
        """While this lasts the policy has the weights that the optimizer has arrived at.

        Those of schedule-free are its average, not the point where its gradient is taken; for
        other kinds they are the weights themselves.
        """
        if self._config.kind != "schedule-free":
            yield
            return
        with torch.no_grad():
            weights = {
                name: schedule_free_average(parameter, state["z"], self._config)
                if (state := self._optimizer.state.get(parameter))
                else parameter.detach().clone()
                for name, parameter in self._parameters.items()
            }
        with swapped(self._parameters, weights):
            yield

    def tensors(self) -> dict[str, Tensor]:
        """The state of every parameter that was ever updated, and the counters of all."""
        found: dict[str, Tensor] = {}
        for name, parameter in self._parameters.items():
            for key, value in self._optimizer.state.get(parameter, {}).items():
                found[f"{name}/{key}"] = _tensor(value)
        for key, value in self._counters().items():
            found[f"{_OF_ALL}/{key}"] = _tensor(value)
        return found

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take on a state that ``tensors`` gave."""
        group = self._optimizer.param_groups[0]
        for key, value in self._counters().items():
            group[key] = type(value)(tensors[f"{_OF_ALL}/{key}"].item())
        for name, parameter in self._parameters.items():
            prefix = f"{name}/"
            state = {k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)}
            if state:
                self._optimizer.state[parameter] = {
                    key: _restored(key, tensor, parameter) for key, tensor in state.items()
                }

    def _counters(self) -> dict[str, float]:
        """What schedule-free counts for all parameters together."""
        group = self._optimizer.param_groups[0]
        return {key: group[key] for key in ("k", "weight_sum", "lr_max") if key in group}


def _tensor(value: Any) -> Tensor:
    if isinstance(value, Tensor):
        return value.clone() if value.dim() == 1 else value  # 8-bit shares its tables
    return torch.tensor(value, dtype=torch.int64 if isinstance(value, int) else torch.float64)


def _restored(key: str, tensor: Tensor, parameter: torch.nn.Parameter) -> Any:
    if key != "step":
        return tensor.clone().to(parameter.device)
    # AdamW counts in a tensor on the CPU, its kin of 8 bits in a number.
    return tensor.clone() if tensor.is_floating_point() else int(tensor)

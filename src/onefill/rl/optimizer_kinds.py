"""The optimizers a run can choose from; the packages of two of them come with an extra."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from onefill.errors import BadInput
from onefill.rl.config import OptimizerConfig

_Parameters = list[torch.nn.Parameter]


def build_optimizer(
    parameters: Iterable[torch.nn.Parameter], config: OptimizerConfig
) -> torch.optim.Optimizer:
    """The optimizer ``config.kind``, with its learning rate before any warm-up.

    Raises:
        BadInput: its package is not installed, or cannot work with these settings.
    """
    return _KINDS[config.kind](list(parameters), config)


def schedule_free_average(trained: Tensor, z: Tensor, config: OptimizerConfig) -> Tensor:
    """The weights that schedule-free hands out: x of its paper (Defazio et al. 2024, Eq. 5).

    Args:
        trained: y, the weights at which it takes the gradient, of any shape.
        z: its state of that name, of the same shape.
        config: whose first beta the optimizer has.
    """
    # y = (1 - beta) z + beta x, solved for x. In a copy: going there and back in place, as the
    # package's own eval() does, would round, and measuring would change the run.
    return torch.lerp(trained, z, 1 - 1 / config.betas[0])


def _common(config: OptimizerConfig) -> dict[str, Any]:
    return {
        "lr": config.learning_rate,
        "betas": (config.betas[0], config.betas[1]),
        "weight_decay": config.weight_decay,
    }


def _adamw(parameters: _Parameters, config: OptimizerConfig) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, **_common(config))


def _schedule_free(parameters: _Parameters, config: OptimizerConfig) -> torch.optim.Optimizer:
    _need("schedulefree", config.kind)
    if config.betas[0] == 0:
        raise BadInput("optimizer.betas: schedule-free needs a first one above 0, as 0.9")
    from schedulefree import AdamWScheduleFree

    # Warm-up is ours: the rate is set at every step.
    optimizer = AdamWScheduleFree(parameters, **_common(config), warmup_steps=0)
    optimizer.train()
    return optimizer


def _adamw_8bit(parameters: _Parameters, config: OptimizerConfig) -> torch.optim.Optimizer:
    _need("bitsandbytes", config.kind)
    from bitsandbytes.optim import AdamW8bit

    return AdamW8bit(parameters, **_common(config))


def _need(package: str, kind: str) -> None:
    if find_spec(package) is None:
        raise BadInput(
            f"optimizer.kind {kind}: needs the package {package}; run "
            "`pip install 'onefill[optimizers]'`, or choose adamw"
        )


_KINDS: dict[str, Callable[[_Parameters, OptimizerConfig], torch.optim.Optimizer]] = {
    "adamw": _adamw,
    "schedule-free": _schedule_free,
    "adamw-8bit": _adamw_8bit,
}

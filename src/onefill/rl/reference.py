"""Whom the policy is compared with: its own weights at the start, or a moving average of them.

Both are the one model in memory with other weights put in for a while, never a second code
path. Under LoRA the start costs nothing (the adapter switched off) and the average is the
size of an adapter.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Literal, Protocol

import torch
from torch import Tensor

from onefill.policy.flux_fill import FluxFillPolicy


class Reference(Protocol):
    """Weights that the policy can take on for a while."""

    def active(self) -> AbstractContextManager[None]:
        """While this lasts the policy has the reference's weights."""
        ...


class StartWeights:
    """The policy before training: pi_ref of Algorithm 1, and what progress is measured against.

    Make it before any update, and before a checkpoint is restored.
    """

    def __init__(self, policy: FluxFillPolicy, train: Literal["lora", "full"]) -> None:
        self._policy = policy
        self._weights = None if train == "lora" else _copies(policy.trainable_parameters())

    @contextmanager
    def active(self) -> Iterator[None]:
        """While this lasts the policy is the start model."""
        if self._weights is None:
            with self._policy.adapter_off():
                yield
        else:
            with swapped(self._policy.trainable_parameters(), self._weights):
                yield


class MovingAverage:
    """tau * average + (1 - tau) * theta: pi_ema of Algorithm 1, pi_ref of Algorithm 2.

    Under LoRA it is the average of the two factors, not of their product.

    Args:
        policy: whose trainable weights are followed.
        tau: share of itself that the average keeps at each update, in [0, 1].
    """

    def __init__(self, policy: FluxFillPolicy, tau: float) -> None:
        self._policy = policy
        self._tau = tau
        self._weights = _copies(policy.trainable_parameters())

    @contextmanager
    def active(self) -> Iterator[None]:
        """While this lasts the policy has the averaged weights."""
        with swapped(self._policy.trainable_parameters(), self._weights):
            yield

    @torch.no_grad()
    def update(self) -> None:
        """One step towards the policy's weights."""
        for name, parameter in self._policy.trainable_parameters().items():
            self._weights[name].mul_(self._tau).add_(parameter, alpha=1 - self._tau)

    def tensors(self) -> dict[str, Tensor]:
        """The averaged weights by name; the caller must not change them."""
        return self._weights

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take on averaged weights that ``tensors`` gave."""
        for name, weight in self._weights.items():
            weight.copy_(tensors[name])


def _copies(parameters: Mapping[str, torch.nn.Parameter]) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in parameters.items()}


@contextmanager
def swapped(
    parameters: Mapping[str, torch.nn.Parameter], weights: dict[str, Tensor]
) -> Iterator[None]:
    """While this lasts the parameters hold ``weights``, and ``weights`` what they held.

    Storage is exchanged, not values: nothing is copied, whatever the size of the model.
    """

    def exchange() -> None:
        for name, parameter in parameters.items():
            parameter.data, weights[name] = weights[name], parameter.data

    exchange()
    try:
        yield
    finally:
        exchange()

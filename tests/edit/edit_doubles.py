"""A policy whose paintings are known, to test everything around the painting."""

from __future__ import annotations

import torch
from torch import Tensor

from onefill.policy.settings import PolicySettings


class NoiseConditions:
    def __init__(self, images: Tensor) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def select(self, index: list[int]) -> NoiseConditions:
        return NoiseConditions(self.images[index])


class NoisePolicy:
    """Paints the whole crop with noise of the seed: whatever leaks out of the mask is seen."""

    def __init__(self, size: int = 32, multiple: int = 8) -> None:
        self.settings = PolicySettings(size=size, multiple=multiple, steps=1, negative_prompt="")
        self.seen: list[Tensor] = []
        self.masks: list[Tensor] = []
        self.started: list[tuple[Tensor | None, float]] = []

    def encode(
        self, images: Tensor, masks: Tensor, prompts: list[str], negative: str | None = None
    ) -> NoiseConditions:
        assert images.shape[-2] % self.settings.multiple == 0
        assert images.shape[-1] % self.settings.multiple == 0
        assert set(masks.unique().tolist()) <= {0.0, 1.0}
        self.seen.append(images)
        self.masks.append(masks)
        return NoiseConditions(images)

    def noise(self, conditions: NoiseConditions, generators: list[torch.Generator]) -> Tensor:
        return torch.stack(
            [
                torch.rand(conditions.images.shape[1:], generator=generator)
                for generator in generators
            ]
        )

    def sample(
        self,
        conditions: object,
        noise: Tensor,
        *,
        steps: int,
        guidance: float,
        start: Tensor | None,
        strength: float,
    ) -> Tensor:
        self.started.append((start, strength))
        return noise

    def decode(self, latents: Tensor, conditions: object) -> Tensor:
        return latents

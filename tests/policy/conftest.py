from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import FluxFillPipeline
from torch import Tensor

from onefill.pocket.policy.architecture import write_random_policy
from onefill.policy.flux_fill import FluxFillPolicy
from onefill.policy.loading import load_policy

HEIGHT, WIDTH = 24, 40
PROMPTS = ["a cat", "straw hat"]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_policy(tmp_path_factory.mktemp("policy"), seed=0)


@pytest.fixture
def policy(folder: Path) -> FluxFillPolicy:
    return load_policy(str(folder))


@pytest.fixture
def images() -> Tensor:
    return torch.rand(2, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def masks() -> Tensor:
    masks = torch.zeros(2, 1, HEIGHT, WIDTH)
    masks[0, :, 5:17, 3:30] = 1
    masks[1, :, 0:9, 20:] = 1
    return masks


def generators() -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in (5, 6)]


@pytest.fixture
def paint_stock(images: Tensor, masks: Tensor) -> Callable[..., Tensor]:
    """Paints with the untouched pipeline class, from the same noise as ``paint``."""

    def paint(pipeline: FluxFillPipeline, **options: object) -> Tensor:
        pipeline.set_progress_bar_config(disable=True)
        return pipeline(
            prompt=PROMPTS,
            image=images,
            mask_image=masks,
            height=HEIGHT,
            width=WIDTH,
            num_inference_steps=3,
            max_sequence_length=8,
            output_type="pt",
            generator=generators(),
            **options,
        ).images

    return paint


@pytest.fixture
def paint(images: Tensor, masks: Tensor) -> Callable[..., Tensor]:
    """Paints with a policy: images [2, 3, H, W]."""

    def paint(policy: FluxFillPolicy, guidance: float = 1.0) -> Tensor:
        conditions = policy.encode(images, masks, PROMPTS)
        noise = policy.noise(conditions, generators())
        return policy.decode(
            policy.sample(conditions, noise, steps=3, guidance=guidance), conditions
        )

    return paint


def disturb(parameters: dict[str, torch.nn.Parameter]) -> None:
    """Move weights as training would: a fresh adapter alone changes nothing."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in parameters.values():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))

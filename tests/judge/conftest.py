from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from onefill.judge.loading import load_judge
from onefill.judge.model import Judge
from onefill.pocket.judge_architecture import write_random_judge
from onefill.tasks.types import Dimension, PromptTemplate, Task


@pytest.fixture(scope="session")
def judge_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("judges") / "random"
    write_random_judge(folder, seed=7)
    return folder


@pytest.fixture(scope="session")
def judge(judge_folder: Path) -> Judge:
    return load_judge(str(judge_folder), device="cpu")


@pytest.fixture(scope="session")
def task() -> Task:
    return Task(
        name="paint",
        summary="Paint something.",
        masks=lambda image, rng, options: np.ones((image.height, image.width), bool),
        prompt=PromptTemplate(),
        dimensions=(
            Dimension(name="fit", question="Does it fit in?"),
            Dimension(name="word-match", question="Is it what was asked?", uses_prompt=True),
            Dimension(name="looks", question="Which one looks better, all in all?"),
        ),
    )


@pytest.fixture
def picture() -> Callable[..., Image.Image]:
    """Draws pictures of any size with flat areas, edges and noise; one seed, one picture."""

    def draw(seed: int, width: int = 64, height: int = 64) -> Image.Image:
        rng = np.random.default_rng(seed)
        coarse = Image.fromarray(rng.integers(0, 256, (5, 7, 3), dtype=np.uint8))
        pixels = np.array(coarse.resize((width, height), Image.Resampling.NEAREST), np.int16)
        noise = rng.integers(-20, 21, pixels.shape, dtype=np.int16)
        return Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8))

    return draw


def to_tensor(*pictures: Image.Image) -> torch.Tensor:
    levels = np.stack([np.array(picture, dtype=np.float32) for picture in pictures])
    return torch.from_numpy(levels).permute(0, 3, 1, 2) / 255

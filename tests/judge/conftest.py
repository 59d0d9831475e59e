from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from onefill.judge.loading import load_judge
from onefill.judge.model import Judge
from onefill.pocket.judge.architecture import write_random_judge
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


@pytest.fixture
def write_pairs(tmp_path: Path) -> Callable[..., Path]:
    """Writes a file of pairs that can be learnt: of two plain squares, the brighter one wins.

    Four scenes a dozen pairs; strength tells how far apart they are; every sixth pair is a tie.
    """

    def write(name: str = "pairs.jsonl", count: int = 24, seed: int = 0, **more: Any) -> Path:
        rng = np.random.default_rng(seed)
        folder = tmp_path / "pictures"
        folder.mkdir(exist_ok=True)
        rows = []
        for index in range(count):
            dark, gap = int(rng.integers(20, 120)), int(rng.integers(60, 130))
            bright = dark if index % 6 == 5 else dark + gap
            swap = bool(rng.integers(2))
            files = []
            for side, level in (("a", bright), ("b", dark)):
                path = folder / f"{Path(name).stem}-{seed}-{index}{side}.png"
                Image.new("RGB", (64, 64), (level,) * 3).save(path)
                files.append(f"pictures/{path.name}")
            won = "tie" if bright == dark else "second" if swap else "first"
            rows.append(
                {
                    "first": files[swap],
                    "second": files[not swap],
                    "task": "extend",
                    "winner": {"aesthetics": won, "structure": won},
                    "strength": {"aesthetics": gap / 130},
                    "scene": f"{name}-{index // 3}",
                    **more,
                }
            )
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
        return path

    return write

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from onefill.data.source import open_source
from onefill.pocket.judge.architecture import write_random_judge
from onefill.pocket.policy.architecture import write_random_policy
from onefill.policy.choice import ADAPTER_FILE
from onefill.rl.config_file import build_config
from onefill.rl.ingredients import Ingredients
from onefill.rl.run_folder import open_run_folder
from onefill.rl.training import Training, open_training
from onefill.tasks.registry import load_tasks

WORDS = ("straw hat", "red ball", "a cat", None)


@pytest.fixture(scope="session")
def random_policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_policy(tmp_path_factory.mktemp("models") / "policy", seed=1)


@pytest.fixture(scope="session")
def removing_policy(random_policy: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, with steps and a beginning of its own for removal, as the embedded one has."""
    folder = shutil.copytree(random_policy, tmp_path_factory.mktemp("models") / "removing")
    card = folder / "onefill.json"
    own = {"steps": 6, "task_steps": {"removal": 3}, "strength": {"removal": 0.8}}
    card.write_text(json.dumps(json.loads(card.read_text()) | own), encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def random_judge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "judge"
    write_random_judge(folder, seed=2)
    return folder


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve pictures, nine of them with a caption."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for number in range(12):
        coarse = Image.fromarray(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8))
        coarse.resize((48, 40), Image.Resampling.BICUBIC).save(folder / f"{number}.png")
        words = WORDS[number % len(WORDS)]
        if words:
            (folder / f"{number}.txt").write_text(words, encoding="utf-8")
    return folder


OpenRun = Callable[..., Training]


@pytest.fixture
def open_run(random_policy: Path, random_judge: Path, pictures: Path, tmp_path: Path) -> OpenRun:
    """Put a tiny run together; ``resume`` goes on with the one in the same folder."""

    def call(
        *,
        name: str = "run",
        policy: Path = random_policy,
        resume: bool = False,
        forced: Collection[str] = (),
        warn: Callable[[str], None] | None = None,
        **settings: Any,
    ) -> Training:
        torch.set_num_threads(1)
        quick = {
            "steps": 4,
            "batch_size": 2,
            "sampler_steps": 4,
            "evaluation": {"scenes": 2},
            "samples": {"every": 0, "rows": 1},
            "optimizer": {"learning_rate": 1e-2, "warmup": 2},
            "lora": {"rank": 2, "alpha": 2.0},
            "device": "cpu",
        }
        folder = tmp_path / name
        if resume:
            run_folder, config = open_run_folder(folder, settings, forced)
        else:
            from onefill.rl.run_folder import new_run_folder

            run_folder, config = new_run_folder(folder), build_config(None, quick | settings)
        tasks = {task: load_tasks().get(task) for task in config.tasks}
        ingredients = Ingredients(
            str(policy),
            str(random_judge),
            tasks,
            open_source(pictures, list(tasks.values()), config.seed, "train"),
            open_source(pictures, list(tasks.values()), 0, "heldout"),
            tuple(config.reward.judges),
        )
        return open_training(
            config, ingredients, run_folder, resume=resume, forced=forced, warn=warn
        )

    return call


def weights_of(run: Training) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in run.policy.trainable_parameters().items()}


def written_weights(adapter: Path, names: Collection[str]) -> dict[str, torch.Tensor]:
    """What an adapter's folder holds, by the policy's names."""
    found = load_file(adapter / ADAPTER_FILE)
    return {name: found[f"transformer.{name.replace('.default', '')}"] for name in names}


@torch.no_grad()
def shake(run: Training) -> None:
    """Move every trained weight, so that neither factor of an adapter is zero."""
    generator = torch.Generator().manual_seed(7)
    for parameter in run.policy.trainable_parameters().values():
        parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))

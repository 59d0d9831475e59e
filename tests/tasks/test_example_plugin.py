"""The third-party distribution in examples/, installed by pip as a user would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from onefill.tasks.registry import discover

EXAMPLE = Path(__file__).parents[2] / "examples" / "onefill-restore"
RUN = "import sys; from onefill.cli.app import main; main()"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("target")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, *offline, "--target", str(target), str(EXAMPLE)], check=True)
    return target


def onefill(installed: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(installed), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-c", RUN, *arguments],
        env={**os.environ, "PYTHONPATH": path, "COLUMNS": "200"},
        cwd=installed,
        capture_output=True,
        text=True,
        check=False,
    )


def test_its_task_is_listed_with_where_it_comes_from(installed: Path) -> None:
    result = onefill(installed, "tasks", "--json")
    assert (result.returncode, result.stderr) == (0, "")
    document = json.loads(result.stdout)
    listed = {task["name"]: task for task in document["tasks"]}
    assert set(listed) == {"extend", "fill", "removal", "restore", "text"}
    assert listed["restore"]["distribution"] == "onefill-restore"
    assert listed["restore"]["plugin"] == "onefill_restore"
    assert document["failures"] == []


def test_its_masks_can_be_drawn(installed: Path) -> None:
    result = onefill(installed, "tasks", "show", "restore", "-o", "sheet.png")
    assert result.returncode == 0, result.stderr
    assert Image.open(installed / "sheet.png").width > 500


@pytest.fixture
def restore(installed: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., np.ndarray]:
    from importlib.metadata import distributions

    monkeypatch.syspath_prepend(str(installed))
    task = discover(distributions()).get("restore")
    return lambda image, seed=0: task.draw_mask(image, np.random.default_rng(seed))


def test_it_finds_the_scratch_of_a_scan(restore: Callable[..., np.ndarray]) -> None:
    scan = Image.linear_gradient("L").convert("RGB").resize((160, 120))
    ImageDraw.Draw(scan).line([(20, 5), (120, 60)], fill="white", width=1)
    mask = restore(scan)
    white = (np.asarray(scan) == 255).all(axis=-1)
    assert mask[white].mean() > 0.95
    assert mask.mean() < 0.1


def test_it_invents_damage_on_a_clean_picture(restore: Callable[..., np.ndarray]) -> None:
    clean = Image.linear_gradient("L").convert("RGB").resize((64, 64))
    shares = [restore(clean, seed).mean() for seed in range(50)]
    assert min(shares) > 0.01
    assert max(shares) < 0.5
    assert len(set(shares)) > 25

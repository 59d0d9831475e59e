"""The obvious loop that the benchmark compares with learns what ours learns."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from onefill.rl.config_file import build_config


@pytest.fixture(scope="session")
def bench() -> ModuleType:
    file = Path(__file__).parents[2] / "bench" / "rl_speed.py"
    spec = importlib.util.spec_from_file_location("rl_speed", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("guidance", "policy", "tasks_per_step"),
    [(1.0, "random_policy", 2), (2.5, "removing_policy", 1), (2.5, "removing_policy", 2)],
)
def test_the_loss_curves_of_both_ways_agree(
    bench, guidance, policy, tasks_per_step, random_judge, pictures, monkeypatch, request
):
    monkeypatch.setattr(bench, "resolve", lambda kind, name: name)
    settings = {
        "tasks": {"fill": 1.0, "removal": 1.0},
        "batch_size": 2,
        "tasks_per_step": tasks_per_step,
        "sampler_steps": 3,
        "guidance": guidance,
        "optimizer": {"learning_rate": 1e-3},
        "model": str(request.getfixturevalue(policy)),
        "judge": str(random_judge),
        "device": "cpu",
        "image": "predicted",
        "reward": {"shift": 0, "resize": 0.0},
    }
    found = bench.measure(build_config(None, settings), 3, pictures)
    assert len(found["losses"]["ours"]) == len(found["losses"]["obvious"]) == 4
    assert len(set(found["losses"]["ours"])) == 4
    assert found["losses"]["obvious"] == pytest.approx(found["losses"]["ours"], abs=1e-4)
    assert found["ratio"] > 0
    assert sum(found["phases"].values()) == pytest.approx(1, abs=0.01)

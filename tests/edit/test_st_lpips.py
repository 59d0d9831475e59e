"""The learned distance of the benchmarks; with random weights, so that no package is needed."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

LAYERS = {"1.0": (64, 3, 11), "2.5": (192, 64, 5), "3.9": (384, 192, 3)}
LAYERS |= {"4.11": (256, 384, 3), "5.13": (256, 256, 3)}


@pytest.fixture(scope="module")
def st_lpips() -> ModuleType:
    path = Path(__file__).parents[2] / "bench" / "st_lpips.py"
    spec = importlib.util.spec_from_file_location("st_lpips", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    """As the package's file has them: names, shapes, and heads that are never negative."""
    chance = torch.Generator().manual_seed(0)
    found = {
        "scaling_layer.shift": torch.tensor([-0.030, -0.088, -0.188]).reshape(1, 3, 1, 1),
        "scaling_layer.scale": torch.tensor([0.458, 0.448, 0.450]).reshape(1, 3, 1, 1),
    }
    for number, (name, (wide, deep, side)) in enumerate(LAYERS.items()):
        scale = (deep * side**2) ** -0.5
        found[f"net.slice{name}.weight"] = scale * torch.randn(
            wide, deep, side, side, generator=chance
        )
        found[f"net.slice{name}.bias"] = torch.zeros(wide)
        found[f"lin{number}.model.1.weight"] = torch.rand(1, wide, 1, 1, generator=chance)
    blur = torch.tensor([1.0, 2.0, 1.0])
    for name, wide in (("1.1", 64), ("2.4", 64), ("3.8", 192)):
        found[f"net.slice{name}.filt"] = (torch.outer(blur, blur) / 16).expand(wide, 1, 3, 3)
    return found


def test_equal_pictures_are_at_no_distance_and_order_does_not_matter(
    st_lpips: ModuleType, weights: dict[str, torch.Tensor]
) -> None:
    distance = st_lpips.StLpips(weights)
    one, other = np.random.default_rng(1).integers(0, 256, (2, 64, 80, 3), dtype=np.uint8)
    assert distance(one, one) == 0
    assert distance(one, other) == distance(other, one) > 0


def test_a_picture_is_farther_the_more_of_it_is_changed(
    st_lpips: ModuleType, weights: dict[str, torch.Tensor]
) -> None:
    distance = st_lpips.StLpips(weights)
    rng = np.random.default_rng(2)
    picture, noise = rng.integers(0, 256, (2, 96, 96, 3), dtype=np.uint8)
    changed = []
    for side in (4, 16, 48, 96):
        other = picture.copy()
        other[:side, :side] = noise[:side, :side]
        changed.append(distance(picture, other))
    assert changed == sorted(changed)
    assert changed[0] < changed[-1] / 10


def test_without_the_package_there_are_no_weights(
    st_lpips: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(st_lpips, "_PACKAGE", "no_such_package_is_installed")
    assert st_lpips.find_weights() is None


def test_weights_are_read_from_a_file(
    st_lpips: ModuleType, weights: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    torch.save(weights, tmp_path / "weights.pth")
    one, other = np.random.default_rng(3).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    found = st_lpips.StLpips.from_file(tmp_path / "weights.pth")
    assert found(one, other) == st_lpips.StLpips(weights)(one, other)

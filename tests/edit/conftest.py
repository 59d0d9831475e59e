from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from edit_doubles import NoisePolicy
from PIL import Image

FIXTURES = Path(__file__).parents[1] / "fixtures"


@pytest.fixture
def noise_policy() -> NoisePolicy:
    return NoisePolicy()


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from onefill.pocket.policy.architecture import write_random_policy

    return write_random_policy(tmp_path_factory.mktemp("models") / "tiny", seed=3)


@pytest.fixture
def photo() -> Path:
    return FIXTURES / "coffee.jpg"


@pytest.fixture
def mask(tmp_path: Path) -> Path:
    """An ellipse over the cup of ``photo``."""
    y, x = np.mgrid[:400, :600]
    inside = ((x - 300) / 80) ** 2 + ((y - 210) / 60) ** 2 < 1
    path = tmp_path / "mask.png"
    Image.fromarray(inside).save(path)
    return path

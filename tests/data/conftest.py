from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def draw_picture(tmp_path: Path) -> Callable[..., Path]:
    """Save a picture of noise under a name, each name its own noise."""

    def draw(name: str, size: tuple[int, int] = (48, 40)) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(list(name.encode()))
        pixels = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        return path

    return draw


@pytest.fixture
def write_rows(tmp_path: Path) -> Callable[..., Path]:
    """Write a jsonl file; rows that are text go in as they are."""

    def write(*rows: dict[str, Any] | str, name: str = "rows.jsonl") -> Path:
        path = tmp_path / name
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return write

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image


def draw_picture(seed: int, width: int = 72, height: int = 64) -> Image.Image:
    """Flat areas, edges and noise; another seed is another picture."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (5, 7, 3), dtype=np.uint8))
    pixels = np.array(coarse.resize((width, height), Image.Resampling.BICUBIC), np.int16)
    noise = rng.integers(-15, 16, pixels.shape, dtype=np.int16)
    return Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of pictures of several sizes with captions."""
    folder = tmp_path / "photos"
    folder.mkdir()
    sizes = ((72, 64), (40, 90), (130, 100))
    words = ("red hat", "green frog", "OPEN")
    for number, (size, caption) in enumerate(zip(sizes, words, strict=True)):
        draw_picture(number, *size).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(caption)
    return folder


@pytest.fixture
def silent(photos: Path) -> Path:
    """The same pictures without captions."""
    for caption in photos.glob("*.txt"):
        caption.unlink()
    return photos


def read_rows(folder: Path) -> list[dict[str, Any]]:
    text = (folder / "pairs.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, by its path."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB")).astype(np.int16)

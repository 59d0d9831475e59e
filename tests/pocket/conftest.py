from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from onefill.pocket.material import vocabulary
from onefill.pocket.material.pictures import DRAWING_SIZE, Pictures


def drawn_shape(index: int) -> Image.Image:
    """A drawing per word that needs no download: polygons of its own colours and corners."""
    rng = np.random.default_rng(index)
    drawing = Image.new("RGBA", (DRAWING_SIZE, DRAWING_SIZE))
    draw = ImageDraw.Draw(drawing)
    for reach in (44, 26):
        turns = np.sort(rng.uniform(0, 2 * np.pi, 5 + index % 4))
        corners = [(48 + reach * np.cos(t), 48 + reach * np.sin(t)) for t in turns]
        draw.polygon(corners, fill=(*rng.integers(0, 256, 3).tolist(), 255))
    return drawing


@pytest.fixture(scope="module")
def pictures() -> Pictures:
    rng = np.random.default_rng(0)
    photographs = []
    for _ in range(3):
        coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
        photographs.append(coarse.resize((160, 120), Image.Resampling.BICUBIC))
    font = ImageFont.load_default(64)
    assert isinstance(font, ImageFont.FreeTypeFont)
    drawings = {word: [drawn_shape(i)] for i, word in enumerate(vocabulary.WORDS)}
    return Pictures(drawings=drawings, photographs=photographs, fonts=[font])

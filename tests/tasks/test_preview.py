from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from onefill.tasks.preview import draw_sheet, sample_picture
from onefill.tasks.registry import load_tasks


def test_a_sheet_shows_as_much_red_as_it_says() -> None:
    grey = Image.new("RGB", (240, 180), (128, 128, 128))
    sheet, shares = draw_sheet(load_tasks().get("fill"), grey, seed=5, count=8)
    pixels = np.asarray(sheet).astype(int)
    red = (pixels[..., 0] > pixels[..., 1] + 60).sum()
    assert red == pytest.approx(sum(shares) * grey.width * grey.height, rel=0.001)


def test_the_same_seed_draws_the_same_sheet() -> None:
    task = load_tasks().get("removal")
    first, _ = draw_sheet(task, sample_picture(), seed=3)
    again, _ = draw_sheet(task, sample_picture(), seed=3)
    other, _ = draw_sheet(task, sample_picture(), seed=4)
    assert first.tobytes() == again.tobytes()
    assert first.tobytes() != other.tobytes()


@pytest.mark.parametrize("size", [(2000, 40), (40, 2000), (3, 5)])
def test_pictures_of_any_form_fit(size: tuple[int, int]) -> None:
    sheet, shares = draw_sheet(load_tasks().get("extend"), Image.new("RGB", size), seed=0)
    assert len(shares) == 12
    assert max(sheet.size) < 1400

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from onefill.data.sample import cut_image, cut_mask, draw_square

sides = st.integers(8, 300)


@given(sides, sides, st.integers(8, 128), st.integers(0, 2**32), st.data())
def test_the_square_lies_in_the_picture_and_holds_the_mask(width, height, size, seed, data):
    short = min(width, height)
    across, down = data.draw(st.integers(1, short)), data.draw(st.integers(1, short))
    x = data.draw(st.integers(0, width - across))
    y = data.draw(st.integers(0, height - down))
    mask = np.zeros((height, width), dtype=bool)
    mask[y : y + down, x : x + across] = True
    picture = Image.new("RGB", (width, height))
    left, top, right, bottom = draw_square(picture, size, np.random.default_rng(seed), mask)
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    assert right - left == bottom - top >= min(size, short)
    assert left <= x and top <= y and x + across <= right and y + down <= bottom
    cut = cut_mask(mask, (left, top, right, bottom), size)
    assert cut.shape == (size, size)
    assert cut.any()
    assert cut_image(picture, (left, top, right, bottom), size).shape == (size, size, 3)


def test_a_square_of_the_right_size_is_taken_whole():
    picture = Image.new("RGB", (64, 64))
    assert draw_square(picture, 64, np.random.default_rng(0)) == (0, 0, 64, 64)


def test_a_mask_longer_than_any_square_is_shown_with_context():
    mask = np.zeros((50, 200), dtype=bool)
    mask[:, :70] = True
    mask[:, 190:] = True
    box = draw_square(Image.new("RGB", (200, 50)), 32, np.random.default_rng(0), mask)
    shown = mask[box[1] : box[3], box[0] : box[2]]
    assert shown.shape == (50, 50)
    assert 0.7 <= shown.mean() <= 0.75
    upright = draw_square(Image.new("RGB", (50, 200)), 32, np.random.default_rng(0), mask.T)
    assert upright == (box[1], box[0], box[3], box[2])


def test_a_picture_all_masked_is_still_cut():
    mask = np.ones((50, 80), dtype=bool)
    box = draw_square(Image.new("RGB", (80, 50)), 32, np.random.default_rng(0), mask)
    assert cut_mask(mask, box, 32).all()


def test_a_mask_of_one_pixel_survives_a_large_picture():
    mask = np.zeros((900, 900), dtype=bool)
    mask[450, 450] = True
    assert cut_mask(mask, (0, 0, 900, 900), 32).sum() == 1

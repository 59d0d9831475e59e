"""Carrying the surroundings of a mask into it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onefill.policy.surroundings import fill_smoothly, match_colours


def _ramp(height: int, width: int) -> np.ndarray:
    row = np.linspace(0.2, 0.8, width, dtype=np.float32)
    return np.broadcast_to(row, (3, height, width)).copy()


def _box(height: int, width: int) -> np.ndarray:
    mask = np.zeros((height, width), bool)
    mask[height // 4 : 3 * height // 4, width // 4 : 3 * width // 4] = True
    return mask


@pytest.mark.parametrize("size", [(64, 64), (48, 96), (160, 120)])
def test_a_gradient_goes_on_under_the_mask(size: tuple[int, int]) -> None:
    picture, mask = _ramp(*size), _box(*size)
    hidden = np.where(mask, 0, picture).astype(np.float32)
    filled = fill_smoothly(hidden, mask)
    assert np.array_equal(filled[:, ~mask], picture[:, ~mask])
    assert np.abs(filled - picture)[:, mask].max() < 0.03


def test_a_shade_that_is_off_everywhere_is_taken_away_and_shapes_stay() -> None:
    mask = _box(64, 64)
    truth = _ramp(64, 64)
    truth[:, 28:34, 28:34] = 0.9  # an object inside the mask
    painted = np.clip(truth + np.array([0.05, -0.03, 0.02])[:, None, None], 0, 1)
    known = np.where(mask, 0.5, truth).astype(np.float32)
    matched = match_colours(painted.astype(np.float32), known, mask)
    assert np.abs(matched - truth)[:, mask].max() < 0.01


def test_nothing_is_changed_where_nothing_is_known() -> None:
    painted = _ramp(32, 32)
    everything = np.ones((32, 32), bool)
    assert np.array_equal(match_colours(painted, np.zeros_like(painted), everything), painted)
    assert np.all(fill_smoothly(painted, everything) == 0.5)


@given(
    height=st.integers(8, 150),
    width=st.integers(8, 150),
    seed=st.integers(0, 2**32 - 1),
    share=st.floats(0.02, 0.98),
)
def test_the_surface_stays_between_the_values_it_meets(
    height: int, width: int, seed: int, share: float
) -> None:
    rng = np.random.default_rng(seed)
    picture = rng.uniform(0.3, 0.6, (3, height, width)).astype(np.float32)
    mask = rng.random((height, width)) < share
    filled = fill_smoothly(picture, mask)
    assert filled.shape == picture.shape
    assert np.isfinite(filled).all()
    if not mask.all():
        assert filled.min() > 0.299
        assert filled.max() < 0.601

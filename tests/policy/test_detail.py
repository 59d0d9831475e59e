"""Fine detail taken from the surroundings of a mask."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onefill.policy.detail import give_detail

from .holes import holes

_SIDE = 48


def _hole() -> np.ndarray:
    mask = np.zeros((_SIDE, _SIDE), bool)
    mask[16:32, 16:32] = True
    return mask


def _stripes(period: int) -> np.ndarray:
    wave = 0.5 + 0.2 * np.sign(np.sin(2 * np.pi * (np.arange(_SIDE) + 0.5) / period))
    return np.broadcast_to(wave, (3, _SIDE, _SIDE)).astype(np.float32).copy()


def _smoothed(picture: np.ndarray) -> np.ndarray:
    """As a VAE would leave it: every pixel the mean of three across."""
    padded = np.pad(picture, ((0, 0), (0, 0), (1, 1)), mode="edge")
    return ((padded[..., :-2] + padded[..., 1:-1] + padded[..., 2:]) / 3).astype(np.float32)


def test_stripes_that_were_smoothed_are_sharp_again_inside_the_mask() -> None:
    truth, mask = _stripes(8), _hole()
    painted = _smoothed(truth)
    known = np.where(mask, 0, truth).astype(np.float32)
    given_back = give_detail(painted, painted, known, mask)
    before, after = (np.abs(p - truth)[:, mask].mean() for p in (painted, given_back))
    assert before > 0.02
    assert after < 0.25 * before
    assert np.array_equal(given_back[:, ~mask], painted[:, ~mask])


def test_a_painting_that_equals_its_surroundings_is_left_as_it_is() -> None:
    picture = np.random.default_rng(0).random((3, _SIDE, _SIDE), np.float32)
    assert np.allclose(give_detail(picture, picture, picture, _hole()), picture)


def test_each_half_is_given_its_own_grain() -> None:
    """Left is calm and dark, right is grainy and light; the model painted both flat."""
    rng = np.random.default_rng(0)
    flat = np.full((3, _SIDE, _SIDE), 0.2, np.float32)
    flat[..., _SIDE // 2 :] = 0.7
    grain = rng.normal(0, 0.08, (_SIDE, _SIDE)).astype(np.float32)
    grain[:, : _SIDE // 2] = 0
    mask = _hole()
    known = np.where(mask, 0, np.clip(flat + grain, 0, 1)).astype(np.float32)
    result = give_detail(flat, flat, known, mask) - flat
    left, right = mask.copy(), mask.copy()
    left[:, _SIDE // 2 - 3 :] = False
    right[:, : _SIDE // 2 + 3] = False
    assert result[:, right].std() > 0.05
    assert result[:, left].std() < 0.005


@pytest.mark.parametrize("known", [0, 20])
def test_too_few_known_pixels_change_nothing(known: int) -> None:
    painted = np.random.default_rng(0).random((3, _SIDE, _SIDE), np.float32)
    mask = np.ones((_SIDE, _SIDE), bool)
    mask[0, :known] = False
    assert np.array_equal(give_detail(painted, painted, np.zeros_like(painted), mask), painted)


@settings(max_examples=25, deadline=None)
@given(mask=holes(), seed=st.integers(0, 99))
def test_only_the_mask_changes_and_values_stay_in_range(mask: np.ndarray, seed: int) -> None:
    rng = np.random.default_rng(seed)
    painted, known = (rng.random((3, *mask.shape), np.float32) for _ in range(2))
    result = give_detail(painted, painted, known, mask)
    assert result.shape == painted.shape
    assert result.dtype == np.float32
    assert result.min() >= 0
    assert result.max() <= 1
    assert np.array_equal(result[:, ~mask], painted[:, ~mask])

"""A hole laid with pieces of its surroundings, led by a painting."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onefill.policy.pieces import lay_pieces

from .holes import holes

_SIDE = 48


def _hole() -> np.ndarray:
    mask = np.zeros((_SIDE, _SIDE), bool)
    mask[16:32, 16:32] = True
    return mask


def _hidden(truth: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return np.where(mask, 0, truth).astype(np.float32)


def _laid(painted: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> np.ndarray:
    laid = lay_pieces(painted, _hidden(truth, mask), mask)
    assert laid is not None
    return laid.picture


def test_a_texture_goes_on_where_the_painting_is_a_blur() -> None:
    rows = np.arange(_SIDE)
    weave = 0.5 + 0.2 * np.sign(np.sin(2 * np.pi * (rows[:, None] + rows) / 6 + 0.1))
    truth = np.broadcast_to(weave, (3, _SIDE, _SIDE)).astype(np.float32)
    mask = _hole()
    laid = _laid(np.full_like(truth, 0.5), truth, mask)
    assert np.abs(laid - truth)[:, mask].mean() < 0.02


@pytest.mark.parametrize(("edge", "shade"), [(20, 0.8), (28, 0.2)])
def test_the_painting_decides_what_the_rim_leaves_open(edge: int, shade: float) -> None:
    """Dark to the left of the hole, light to its right: where one ends only the painting says."""
    truth = np.full((3, _SIDE, _SIDE), 0.2, np.float32)
    truth[..., 5:9] = truth[..., edge:] = 0.8
    mask = np.zeros((_SIDE, _SIDE), bool)
    mask[:, 16:32] = True
    laid = _laid(truth, truth, mask)
    assert np.median(laid[..., 24]) == pytest.approx(shade, abs=0.1)


def test_a_slope_of_light_goes_on_without_a_step() -> None:
    """No known piece has the tones of the middle: they have to be lightened or darkened."""
    slope = np.linspace(0.2, 0.8, _SIDE, dtype=np.float32)
    truth = np.broadcast_to(slope, (3, _SIDE, _SIDE)).copy()
    mask = np.zeros((_SIDE, _SIDE), bool)
    mask[:, 18:30] = True
    laid = _laid(truth, truth, mask)
    assert np.abs(laid - truth).max() < 0.02


@pytest.mark.parametrize("known", [0, 9])
def test_too_little_known_changes_nothing(known: int) -> None:
    painted = np.random.default_rng(0).random((3, _SIDE, _SIDE), np.float32)
    mask = np.ones((_SIDE, _SIDE), bool)
    mask[:known, :known] = False
    assert lay_pieces(painted, np.zeros_like(painted), mask) is None


@settings(max_examples=25, deadline=None)
@given(mask=holes(), seed=st.integers(0, 99))
def test_only_the_mask_changes_and_what_it_hid_does_not_matter(mask: np.ndarray, seed: int) -> None:
    rng = np.random.default_rng(seed)
    painted, known, other = (rng.random((3, *mask.shape), np.float32) for _ in range(3))
    laid = lay_pieces(painted, known, mask)
    again = lay_pieces(painted, np.where(mask, other, known), mask)
    assert (laid is None) == (again is None)
    if laid is None or again is None:
        return
    assert laid.picture.shape == painted.shape
    assert laid.picture.dtype == np.float32
    assert laid.picture.min() >= 0
    assert laid.picture.max() <= 1
    assert np.array_equal(laid.picture[:, ~mask], painted[:, ~mask])
    assert np.array_equal(laid.picture, again.picture)
    assert not mask.flat[laid.sources[mask]].any()
    copied = known.reshape(3, -1)[:, laid.sources[mask]] + laid.lighter[:, mask]
    np.testing.assert_allclose(np.clip(copied, 0, 1), laid.picture[:, mask], atol=1e-6)

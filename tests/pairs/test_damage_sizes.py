"""The damages of the embedded judge's pairs, on pictures of any size."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from onefill.pairs.subject import WholeRegion
from onefill.pocket.contests import damage
from onefill.pocket.contests.damage_canvas import Canvas
from onefill.tasks import shapes

from .conftest import draw_picture

IN_REGION = (
    *damage.CONSISTENCY,
    *damage.OBJECT_STRUCTURE,
    *damage.BORDER_STRUCTURE,
    *damage.REMOVAL,
    *damage.PAINTING,
)
EVERYWHERE = damage.AESTHETICS


def numbers(seed: int, width: int, height: int) -> np.ndarray:
    return np.asarray(draw_picture(seed, width, height), np.float32) / 255


@given(
    st.sampled_from((*IN_REGION, *EVERYWHERE)),
    st.integers(2, 150),
    st.integers(2, 150),
    st.floats(0.05, 1),
    st.integers(0, 999),
    st.booleans(),
)
def test_any_size_any_mask(kind, width, height, strength, seed, known):
    rng = np.random.default_rng(seed)
    picture = numbers(seed, width, height)
    mask = rng.random((height, width)) < rng.random()
    mask[rng.integers(height), rng.integers(width)] = True
    canvas = (
        Canvas(picture, numbers(seed + 1, width, height), mask)
        if known
        else WholeRegion(picture, picture, mask)
    )
    before = picture.copy()
    damaged, again = (kind(canvas, strength, np.random.default_rng(seed)) for _ in range(2))
    assert damaged.shape == picture.shape
    assert np.isfinite(damaged).all() and damaged.min() >= 0 and damaged.max() <= 1
    assert np.array_equal(damaged, again)
    assert np.array_equal(canvas.picture, before)
    if kind not in EVERYWHERE:
        assert np.array_equal(damaged[~mask], picture[~mask])


def test_a_layer_of_any_size_is_left_behind():
    rng = np.random.default_rng(0)
    picture, layer = numbers(0, 90, 50), rng.random((50, 90, 4)).astype(np.float32)
    mask = shapes.box((90, 50), rng)
    for kind in (damage.remnant(layer), damage.outline(layer)):
        damaged = kind(WholeRegion(picture, picture, mask), 0.8, np.random.default_rng(1))
        assert np.array_equal(damaged[~mask], picture[~mask])
        assert not np.array_equal(damaged, picture)


def shrunk(picture: np.ndarray) -> np.ndarray:
    planes = [Image.fromarray(np.ascontiguousarray(picture[..., c])) for c in range(3)]
    return np.stack([np.asarray(p.resize((64, 64), Image.Resampling.BOX)) for p in planes], -1)


@pytest.mark.parametrize(
    "kind", [pytest.param(k, id=k.__name__) for k in (*IN_REGION, *EVERYWHERE)]
)
def test_a_fault_shows_as_much_in_a_large_picture(kind):
    """Seen as large as the small one, it is no other fault; grain and blocks may be finer."""
    small = numbers(3, 64, 64)
    mask = np.zeros((64, 64), bool)
    mask[10:50, 14:60] = True
    if kind in damage.BORDER_STRUCTURE:  # these are of a picture that was extended
        mask = ~mask
    change = {}
    for times in (1, 3):
        side = 64 * times
        picture = np.asarray(
            Image.fromarray((small * 255).astype(np.uint8)).resize((side, side)), np.float32
        )
        picture = picture / 255
        region = mask.repeat(times, 0).repeat(times, 1)
        canvas = WholeRegion(picture, picture, region)
        drawn = [kind(canvas, 0.7, np.random.default_rng(seed)) for seed in range(3)]
        change[times] = np.mean([np.abs(shrunk(d) - shrunk(picture)).mean() for d in drawn])
    fine = kind in (damage.noise, damage.grain_region, damage.compression)
    assert (0.2 if fine else 0.6) < change[3] / change[1] < 1.6

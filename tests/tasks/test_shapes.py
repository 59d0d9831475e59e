from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onefill.tasks import shapes
from onefill.tasks.types import Mask

ANYWHERE = {
    "box": shapes.box,
    "wide_box": shapes.wide_box,
    "ellipse": shapes.ellipse,
    "blob": shapes.blob,
    "brush": shapes.brush,
    "border": shapes.border,
}
every_shape = pytest.mark.parametrize("shape", ANYWHERE.values(), ids=ANYWHERE.keys())
seeds = st.integers(0, 2**32 - 1)
sizes = st.tuples(st.integers(4, 200), st.integers(4, 200))
roomy_sizes = st.tuples(st.integers(48, 160), st.integers(48, 160))

Shape = Callable[..., Mask]


@every_shape
@given(size=sizes, seed=seeds)
def test_a_mask_has_the_pictures_shape_and_paints_something_but_not_everything(
    shape: Shape, size: tuple[int, int], seed: int
) -> None:
    mask = shape(size, np.random.default_rng(seed))
    assert mask.shape == (size[1], size[0])
    assert mask.dtype == np.bool_
    assert 0 < mask.sum() < mask.size


@every_shape
@given(size=sizes, seed=seeds)
def test_a_seed_gives_the_same_mask_again(shape: Shape, size: tuple[int, int], seed: int) -> None:
    first = shape(size, np.random.default_rng(seed))
    again = shape(size, np.random.default_rng(seed))
    assert np.array_equal(first, again)


@every_shape
def test_seeds_give_different_masks(shape: Shape) -> None:
    masks = {shape((64, 64), np.random.default_rng(seed)).tobytes() for seed in range(20)}
    assert len(masks) > 15


@pytest.mark.parametrize("name", ["box", "ellipse", "blob", "brush", "border"])
@given(size=roomy_sizes, seed=seeds, low=st.floats(0.1, 0.3), spread=st.floats(0.1, 0.2))
def test_the_painted_share_lies_in_the_wanted_range(
    name: str, size: tuple[int, int], seed: int, low: float, spread: float
) -> None:
    share = ANYWHERE[name](size, np.random.default_rng(seed), (low, low + spread)).mean()
    rounding = 1.5 / min(size)
    assert low - rounding <= share <= low + spread + rounding


@given(size=sizes, seed=seeds)
def test_a_wide_box_is_wider_than_high_even_in_a_tall_picture(
    size: tuple[int, int], seed: int
) -> None:
    mask = shapes.wide_box(size, np.random.default_rng(seed))
    height, width = int(mask.any(axis=1).sum()), int(mask.any(axis=0).sum())
    assert width >= height
    assert mask.sum() == width * height


@given(size=roomy_sizes, seed=seeds)
def test_a_border_leaves_one_rectangle_untouched(size: tuple[int, int], seed: int) -> None:
    kept = ~shapes.border(size, np.random.default_rng(seed))
    height, width = int(kept.any(axis=1).sum()), int(kept.any(axis=0).sum())
    assert kept.sum() == height * width


def test_borders_come_on_one_side_on_two_and_all_round() -> None:
    sides = set()
    for seed in range(60):
        mask = shapes.border((64, 64), np.random.default_rng(seed))
        edges = (mask[0].all(), mask[-1].all(), mask[:, 0].all(), mask[:, -1].all())
        sides.add(sum(map(bool, edges)))
    assert sides == {1, 2, 4}


@given(size=sizes, data=st.data())
def test_outside_paints_exactly_what_is_not_kept(
    size: tuple[int, int], data: st.DataObject
) -> None:
    x = data.draw(st.integers(0, size[0] - 1))
    y = data.draw(st.integers(0, size[1] - 1))
    width = data.draw(st.integers(1, size[0] - x))
    height = data.draw(st.integers(1, size[1] - y))
    mask = shapes.outside(size, (x, y, width, height))
    assert not mask[y : y + height, x : x + width].any()
    assert mask.sum() == size[0] * size[1] - width * height


@pytest.mark.parametrize("keep", [(0, 0, 65, 10), (-1, 0, 10, 10), (0, 0, 0, 10), (60, 60, 10, 2)])
def test_outside_refuses_what_is_not_in_the_picture(keep: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="does not lie inside 64x64"):
        shapes.outside((64, 64), keep)


def test_an_outline_keeps_its_form() -> None:
    diamond = np.array([[0.0, 1.0], [1.0, 0.0], [0.0, -1.0], [-1.0, 0.0]])
    mask = shapes.polygon((80, 80), np.random.default_rng(3), diamond, (0.2, 0.21))
    rows = mask.sum(axis=1)
    assert rows.argmax() == pytest.approx(np.flatnonzero(rows).mean(), abs=2)
    assert mask.mean() == pytest.approx(0.205, abs=0.02)

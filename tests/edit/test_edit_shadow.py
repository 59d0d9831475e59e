"""A removal takes a shadow on even ground along, and nothing that may be something else."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from onefill.edit.canvas import Canvas
from onefill.edit.grow import dilate, grow_mask
from onefill.edit.request import EditPlan, EditRequest, plan_edit
from onefill.edit.shadow import MOST, REACH, find_shadow
from onefill.images import read_image
from onefill.tasks.registry import load_tasks
from onefill.tasks.types import Mask

WIDTH, HEIGHT = 200, 160
MIDDLE = np.array([100.0, 80.0])


def ground(seed: int = 0, texture: float = 0.02) -> NDArray[np.float64]:
    """Linear light of one colour, a little brighter to one side, with grain."""
    rng = np.random.default_rng(seed)
    colour = rng.uniform(0.2, 0.6, 3)
    slope = np.linspace(0.95, 1.05, WIDTH)[None, :, None]
    return colour * slope * (1 + texture * rng.standard_normal((HEIGHT, WIDTH, 1)))


def ellipse(x: float, y: float, across: float, down: float) -> Mask:
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return ((columns - x) / across) ** 2 + ((rows - y) / down) ** 2 <= 1


def cast(angle: float, length: float) -> Mask:
    """What the ellipse in the middle covers on its way along the angle."""
    tip = length * np.array([math.cos(angle), math.sin(angle)])
    return np.logical_or.reduce(
        [ellipse(*(MIDDLE + share * tip), 18, 14) for share in np.linspace(0, 1, 20)]
    )


def picture(light: NDArray[np.float64]) -> Canvas:
    return Canvas(np.rint(255 * np.clip(light, 0, 1) ** (1 / 2.2)).astype(np.uint8))


def shade(light: NDArray[np.float64], shadow: Mask, left: float) -> NDArray[np.float64]:
    soft = Image.fromarray(shadow).convert("L").filter(ImageFilter.GaussianBlur(1.5))
    return light * (1 - np.asarray(soft) / 255 * (1 - left))[..., None]


THING = ellipse(*MIDDLE, 18, 14)


@given(st.floats(0, 2 * math.pi), st.floats(14, 28), st.floats(0.1, 0.6), st.integers(0, 99))
def test_a_shadow_goes_too_with_all_its_edge(
    angle: float, length: float, left: float, seed: int
) -> None:
    shadow = cast(angle, length) & ~THING
    light = shade(ground(seed), shadow | THING, left)
    light[THING] = (0.5, 0.1, 0.1)
    found = find_shadow(picture(light), THING)
    assert grow_mask(THING | found, "8%")[shadow].mean() > 0.97
    assert not (found & ~dilate(shadow | THING, 5)).any()


@given(
    st.integers(0, 999),
    st.floats(0.01, 0.4),
    st.tuples(st.floats(0, WIDTH), st.floats(0, HEIGHT)),
    st.tuples(st.floats(1, 90), st.floats(1, 70)),
    st.lists(st.tuples(st.floats(0, 6.3), st.floats(5, 90), st.floats(0.02, 0.9)), max_size=3),
)
def test_what_is_found_is_near_bounded_and_no_part_of_the_mask(
    seed: int,
    texture: float,
    place: tuple[float, float],
    radii: tuple[float, float],
    shadows: list[tuple[float, float, float]],
) -> None:
    light = ground(seed, texture)
    for angle, length, left in shadows:
        light = shade(light, cast(angle, length), left)
    mask = ellipse(*place, *radii)
    mask[int(min(place[1], HEIGHT - 1)), int(min(place[0], WIDTH - 1))] = True
    found = find_shadow(picture(light), mask)
    area = np.count_nonzero(mask)
    assert found.shape == mask.shape and found.dtype == np.bool_
    assert not (found & mask).any()
    assert np.count_nonzero(found) <= MOST * area
    assert not (found & ~dilate(mask, math.floor(REACH * math.sqrt(area)))).any()


@given(
    hnp.arrays(
        np.uint8,
        st.tuples(st.integers(1, 24), st.integers(1, 24), st.integers(1, 4)),
        elements=st.sampled_from([0, 40, 200, 255]),
    ),
    st.integers(0, 999),
)
def test_pictures_and_masks_of_any_shape_are_fine(pixels: NDArray[np.uint8], seed: int) -> None:
    mask = np.random.default_rng(seed).random(pixels.shape[:2]) < 0.2
    mask.flat[seed % mask.size] = True
    found = find_shadow(Canvas(pixels), mask)
    assert found.shape == mask.shape and not (found & mask).any()


def test_specks_far_apart_in_a_large_picture_are_a_mask_too() -> None:
    mask = np.zeros((3000, 3000), np.bool_)
    mask[::30, ::30] = True
    assert not find_shadow(Canvas(np.full((3000, 3000, 1), 128, np.uint8)), mask).any()


@given(st.integers(0, 999), st.floats(0, 0.15), st.floats(3, 40), st.floats(3, 40))
def test_where_nothing_casts_a_shadow_nothing_is_found(
    seed: int, texture: float, across: float, down: float
) -> None:
    mask = ellipse(*MIDDLE, across, down)
    assert not find_shadow(picture(ground(seed, texture)), mask).any()


def test_nothing_is_found_in_a_photograph_where_nothing_was_placed(photo: Path) -> None:
    pixels = np.asarray(read_image(photo).resize((WIDTH, HEIGHT)))
    rng = np.random.default_rng(0)
    for _ in range(40):
        mask = ellipse(*rng.uniform((20, 20), (180, 140)), *rng.uniform(5, 20, 2))
        assert not find_shadow(Canvas(pixels), mask).any()


def other_colour(light: NDArray[np.float64]) -> None:
    light[cast(0, 30)] = (0.02, 0.02, 0.25)


def far_from_it(light: NDArray[np.float64]) -> None:
    light[ellipse(145, 80, 14, 12)] *= 0.3


def without_end(light: NDArray[np.float64]) -> None:
    light[:, 100:] *= 0.3


def a_thread(light: NDArray[np.float64]) -> None:
    light[78:82, 100:140] *= 0.3


@pytest.mark.parametrize("change", [other_colour, far_from_it, without_end, a_thread])
def test_what_may_be_something_else_stays(change: object) -> None:
    light = ground()
    change(light)  # type: ignore[operator]
    light[THING] = (0.5, 0.1, 0.1)
    assert not find_shadow(picture(light), THING).any()


def test_ground_that_is_not_all_there_is_none() -> None:
    canvas = picture(shade(ground(), cast(0, 30), 0.3))
    opaque = np.full((HEIGHT, WIDTH, 1), 255, np.uint8)
    assert find_shadow(Canvas(np.concatenate([canvas.pixels, opaque], axis=2)), THING).any()
    opaque[:60] = 0
    assert not find_shadow(Canvas(np.concatenate([canvas.pixels, opaque], axis=2)), THING).any()


def test_a_shadow_is_found_alike_at_any_size() -> None:
    canvas = picture(shade(ground(), cast(0, 30), 0.3))
    large = Canvas(canvas.pixels.repeat(4, axis=0).repeat(4, axis=1))
    small = find_shadow(canvas, THING)
    found = find_shadow(large, THING.repeat(4, axis=0).repeat(4, axis=1))
    both = small.repeat(4, axis=0).repeat(4, axis=1)
    assert (found & both).sum() > 0.9 * (found | both).sum()


@pytest.fixture
def shaded(tmp_path: Path) -> Path:
    light = shade(ground(), cast(0, 30), 0.3)
    light[THING] = (0.5, 0.1, 0.1)
    Image.fromarray(picture(light).pixels).save(tmp_path / "photo.png")
    Image.fromarray(THING).save(tmp_path / "mask.png")
    return tmp_path


def plan(home: Path, task: str, **more: object) -> EditPlan:
    return plan_edit(
        EditRequest(
            image=home / "photo.png",
            mask=home / "mask.png",
            task=load_tasks().tasks[task],
            **more,  # type: ignore[arg-type]
        )
    )


def test_a_removal_says_so_and_a_margin_that_was_asked_for_is_all(shaded: Path) -> None:
    shadow = cast(0, 30) & ~THING
    removal = plan(shaded, "removal")
    assert removal.passes[0].mask[shadow].all()
    (note,) = removal.notes
    assert "a shadow" in note and "--grow 8% leaves it" in note
    asked = plan(shaded, "removal", grow="8%")
    assert np.array_equal(asked.passes[0].mask, grow_mask(THING, "8%"))
    assert asked.notes == []


def test_other_tasks_paint_what_they_are_given(shaded: Path) -> None:
    filled = plan(shaded, "fill", words="straw hat")
    assert np.array_equal(filled.passes[0].mask, THING)
    assert filled.notes == []

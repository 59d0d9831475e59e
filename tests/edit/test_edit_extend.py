from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onefill.edit.crop import Box
from onefill.edit.extend import expand_sides, place, plan_passes, target_size
from onefill.errors import BadInput


@pytest.mark.parametrize(
    ("to", "size", "expected"),
    [
        ("16:9", (3000, 2000), (3556, 2000)),
        ("16:9", (2000, 3000), (5333, 3000)),
        ("1:1", (3000, 2000), (3000, 3000)),
        ("9:16", (3000, 2000), (3000, 5333)),
        ("2.39:1", (1000, 800), (1912, 800)),
        ("1920x1080", (600, 400), (1920, 1080)),
        ("1920X1080", (600, 400), (1920, 1080)),
        ("600x401", (600, 400), (600, 401)),
    ],
)
def test_shapes(to: str, size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert target_size(to, *size) == expected


@pytest.mark.parametrize(
    ("to", "says"),
    [
        ("wide", "16:9"),
        ("16x", "16:9"),
        ("0:9", "16:9"),
        ("16:0", "16:9"),
        ("-16:9", "16:9"),
        ("3:2", "already"),
        ("600x400", "already"),
        ("599x900", "600x400"),
        ("1920x300", "600x400"),
        ("1000000x1000000", "megapixels"),
        ("1:1000000", "megapixels"),
    ],
)
def test_shapes_that_are_refused(to: str, says: str) -> None:
    with pytest.raises(BadInput, match=says) as refusal:
        target_size(to, 600, 400)
    assert str(refusal.value).startswith(f"--to {to}: ")


@settings(max_examples=300)
@given(st.integers(1, 900), st.integers(1, 900), st.integers(1, 60), st.integers(1, 60))
def test_a_ratio_never_cuts_the_picture(width: int, height: int, a: int, b: int) -> None:
    try:
        wide, high = target_size(f"{a}:{b}", width, height)
    except BadInput as refusal:
        assert "already" in str(refusal)
        assert abs(width * b / (height * a) - 1) <= 1 / min(width, height)
        return
    assert wide >= width and high >= height
    assert wide == width or high == height
    assert abs(wide - high * a / b) <= 0.5 or abs(high - wide * b / a) <= 0.5


@settings(max_examples=500)
@given(st.integers(1, 900), st.integers(1, 900), st.integers(0, 3000), st.integers(0, 3000))
def test_passes_grow_from_the_picture_to_the_canvas(
    width: int, height: int, more_x: int, more_y: int
) -> None:
    canvas = (width + more_x, height + more_y)
    if not more_x and not more_y:
        return
    keep = last = place(width, height, canvas)
    passes = plan_passes(keep, canvas)
    assert passes[-1] == Box(0, 0, *canvas)
    for box in passes:
        assert box.x <= last.x and box.y <= last.y
        assert box.right >= last.right and box.bottom >= last.bottom
        assert box != last
        # Rounding to whole pixels matters for the smallest pictures only.
        slack = (1 + 1 / last.width) * (1 + 1 / last.height)
        assert box.width * box.height <= 2 * last.width * last.height * slack
        last = box
    growth = canvas[0] * canvas[1] / (width * height)
    assert len(passes) <= max(1, math.ceil(math.log2(growth) - 1e-9))


def test_a_small_extension_is_one_pass() -> None:
    assert len(plan_passes(place(3000, 2000, (3556, 2000)), (3556, 2000))) == 1


def test_a_large_extension_is_several() -> None:
    assert len(plan_passes(place(600, 400, (3000, 2000)), (3000, 2000))) == 5


@pytest.mark.parametrize(
    ("expand", "says"),
    [
        ("left", "left=20%"),
        ("left=", "no length"),
        ("left=-3", "no length"),
        ("west=3", "sides are left"),
        ("left=3,left=4", "left twice"),
        ("all=3,top=4", "top twice"),
        ("left=0,top=0%", "adds nothing"),
        ("left=0.2", "adds nothing"),
        ("left=99999999999", "megapixels"),
    ],
)
def test_sides_that_are_refused(expand: str, says: str) -> None:
    with pytest.raises(BadInput, match=says) as refusal:
        expand_sides(expand, 600, 400)
    assert str(refusal.value).startswith(f"--expand {expand}: ")


@settings(max_examples=300)
@given(*[st.integers(1, 300)] * 2, *[st.integers(0, 2000)] * 4)
def test_passes_grow_to_any_side(
    width: int, height: int, left: int, right: int, top: int, bottom: int
) -> None:
    sides = {"left": left, "right": right, "top": top, "bottom": bottom}
    if not any(sides.values()):
        return
    expand = ",".join(f"{side}={pixels}" for side, pixels in sides.items())
    canvas, keep = expand_sides(expand, width, height)
    assert canvas == (left + width + right, top + height + bottom)
    assert keep == Box(left, top, width, height)
    last = keep
    for box in plan_passes(keep, canvas):
        assert box.x <= last.x and box.y <= last.y
        assert box.right >= last.right and box.bottom >= last.bottom
        last = box
    assert last == Box(0, 0, *canvas)

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image
from test_edit_stitch import distance_to, masks

from onefill.edit.grow import dilate, grow_mask
from onefill.edit.region import Region, draw_region
from onefill.edit.separate import separate_regions
from onefill.errors import BadInput

SIZE = (60, 40)


def draw(alpha: str | None = None, **where: Any) -> Any:
    return draw_region(Region(**where), SIZE, alpha)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10,5,20,8", (10, 5, 30, 13)),
        ("10px, 5, 20, 8px", (10, 5, 30, 13)),
        ("25%,50%,50%,25%", (15, 20, 45, 30)),
        ("50%,10,10,50%", (30, 10, 40, 30)),
        ("50,30,100,100", (50, 30, 60, 40)),
        ("0,0,1,1", (0, 0, 1, 1)),
    ],
)
def test_a_box(text: str, expected: tuple[int, int, int, int]) -> None:
    mask = draw(box=text)
    rows, columns = np.nonzero(mask)
    assert mask.shape == (40, 60)
    found = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert found == expected
    assert mask.sum() == (expected[2] - expected[0]) * (expected[3] - expected[1])


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ({"box": "1,2,3"}, "x,y,width,height"),
        ({"box": "1,2,3,x"}, "'x' is no length"),
        ({"box": "-1,2,3,4"}, "'-1' is no length"),
        ({"box": "1,2,0,4"}, "no pixel"),
        ({"box": "60,2,5,4"}, "60x40"),
        ({"box": "9" * 400 + ",2,5,4"}, "60x40"),
        ({"polygon": "1,1 5,5"}, "three corners"),
        ({"polygon": "1,1 5,5 9"}, "x,y x,y"),
        ({"polygon": "100,100 110,100 110,110"}, "no pixel"),
        ({"polygon": "1,1 5,5 99999999,0"}, "far outside"),
    ],
)
def test_places_that_are_refused(where: Any, says: str) -> None:
    with pytest.raises(BadInput, match=re.escape(says)) as refusal:
        draw(**where)
    assert str(refusal.value).startswith("--box" if "box" in where else "--polygon")


def test_a_polygon() -> None:
    mask = draw(polygon="10,10 30,10 30,30 10,30")
    assert mask[10:31, 10:31].all() and mask.sum() == 21 * 21
    half = draw(polygon="0%,0% 100%,0% 0%,100%")
    assert 0.45 < half.mean() < 0.55
    assert (draw(polygon="10,10;30,10;30,30;10,30") == mask).all()


def test_the_alpha_of_a_layer(tmp_path: Path) -> None:
    layer = np.zeros((40, 60, 4), np.uint8)
    layer[5:15, 20:30] = (0, 0, 0, 255)
    path = tmp_path / "layer.png"
    Image.fromarray(layer).save(path)
    opaque, clear = draw("opaque", mask=path), draw("transparent", mask=path)
    assert opaque[5:15, 20:30].all() and opaque.sum() == 100
    assert (opaque == ~clear).all()
    Image.new("RGB", SIZE).save(path)
    with pytest.raises(BadInput, match="no alpha channel"):
        draw("opaque", mask=path)
    Image.new("RGBA", SIZE).save(path)
    with pytest.raises(BadInput, match="nothing in it is opaque"):
        draw("opaque", mask=path)
    Image.new("RGBA", (3, 3)).save(path)
    with pytest.raises(BadInput, match="3x3"):
        draw("transparent", mask=path)


@settings(max_examples=200)
@given(mask=masks(), reach=st.integers(0, 20))
def test_a_grown_mask_is_all_that_is_near(mask: Any, reach: int) -> None:
    assert (dilate(mask, reach) == (distance_to(mask) <= reach)).all()


@pytest.mark.parametrize("reach", [33, 64, 150, 400])
def test_wide_growth_is_right_to_a_twentieth(reach: int) -> None:
    mask = np.zeros((1000, 1100), np.bool_)
    mask[480:520, 500:530] = True
    mask[700, 611] = True
    grown = dilate(mask, reach)
    y, x = np.mgrid[:1000, :1100]
    outside_y = np.maximum(np.maximum(480 - y, y - 519), 0)
    outside_x = np.maximum(np.maximum(500 - x, x - 529), 0)
    distance = np.minimum(np.hypot(outside_y, outside_x), np.hypot(y - 700, x - 611))
    assert grown[distance <= 0.95 * reach - 1].all()
    assert not grown[distance > 1.05 * reach + 1].any()


def test_growth_in_percent_follows_what_is_painted() -> None:
    mask = np.zeros((400, 400), np.bool_)
    mask[100:200, 100:200] = True
    grown = grow_mask(mask, "8%")
    assert grown[92, 150] and not grown[91, 150]
    # A second object far away makes the margin wider, but not as wide as a common box would.
    mask[350:390, 350:390] = True
    far = grow_mask(mask, "8%")
    assert far[91, 150] and not far[85, 150]
    thin = np.zeros((400, 400), np.bool_)
    thin[10, 10] = True
    assert grow_mask(thin, "8%")[10, 13] and not grow_mask(thin, "0%")[10, 11]
    assert grow_mask(thin, "1").sum() == 5
    for growth in ("wide", "-3", "99999"):
        with pytest.raises(BadInput, match="--grow"):
            grow_mask(thin, growth)


def label(mask: Any) -> tuple[Any, int]:
    """Every pixel takes the least number around it until none changes; then 1, 2, ... in order."""
    numbers = np.where(mask, np.arange(mask.size).reshape(mask.shape), mask.size)
    while True:
        around = np.pad(numbers, 1, constant_values=mask.size)
        least = sliding_window_view(around, (3, 3)).min(axis=(2, 3))
        least = np.where(mask, least, mask.size)
        if (least == numbers).all():
            break
        numbers = least
    found = np.unique(numbers[mask])
    return np.where(mask, np.searchsorted(found, numbers) + 1, 0), len(found)


@settings(max_examples=150)
@given(masks())
def test_regions_are_the_connected_parts(mask: Any) -> None:
    # So small a picture has no "near".
    labels, count = label(mask)
    if count > 32:
        with pytest.raises(BadInput, match="regions"):
            separate_regions(mask)
        return
    found = separate_regions(mask)
    assert len(found) == count
    for number, region in enumerate(found, 1):
        assert (region == (labels == number)).all()


def test_specks_beside_a_stroke_belong_to_it() -> None:
    mask = np.zeros((600, 800), np.bool_)
    mask[100:200, 100:300] = True
    mask[150, 304] = mask[202, 120] = True
    mask[100:130, 600:640] = True
    first, second = separate_regions(mask)
    assert first.sum() == 100 * 200 + 2
    assert second.sum() == 30 * 40


def test_a_spiral_is_one_region() -> None:
    mask = np.zeros((99, 99), np.bool_)
    for ring in range(0, 48, 4):
        mask[ring, ring : 99 - ring] = True
        mask[ring : 99 - ring, 98 - ring] = True
        mask[98 - ring, ring : 99 - ring] = True
        mask[ring + 4 : 99 - ring, ring] = True
        mask[ring + 4, ring : ring + 4] = True
    assert len(separate_regions(mask)) == label(mask)[1] == 1

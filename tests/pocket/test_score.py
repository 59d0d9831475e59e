from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from onefill.judge.accuracy import wilson
from onefill.pocket.classifier import VIEW, view
from onefill.pocket.score import surrounding_colour


@given(st.integers(1, 400), st.data())
def test_the_interval_holds_the_share_and_stays_a_share(count: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, count))
    low, high = wilson(successes, count)
    assert -1e-9 <= low <= successes / count + 1e-9
    assert successes / count - 1e-9 <= high <= 1 + 1e-9


def test_the_interval_narrows_with_more_samples() -> None:
    few, many = wilson(5, 10), wilson(500, 1000)
    assert many[1] - many[0] < 0.2 * (few[1] - few[0])


def test_the_surrounding_colour_ignores_what_is_masked_and_what_is_far() -> None:
    picture = np.full((40, 40, 3), 200, np.uint8)
    picture[10:30, 10:30] = 90
    mask = np.zeros((40, 40), bool)
    mask[15:25, 15:25] = True
    picture[mask] = 5
    assert np.allclose(surrounding_colour(picture, mask), 90)


def test_the_view_is_centred_on_the_mask() -> None:
    picture = np.zeros((64, 64, 3), np.uint8)
    mask = np.zeros((64, 64), bool)
    mask[40:60, 2:22] = True
    picture[mask] = 255
    seen = view(picture, mask)
    assert seen.shape == (VIEW, VIEW, 3)
    assert seen.mean() > 0.6 * 255

"""Holes of any place and size, for property tests."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st


@st.composite
def holes(draw: st.DrawFn) -> np.ndarray:
    """(H, W) of 12 to 40 pixels a side, True in a box that may be empty or everything."""
    size = draw(st.tuples(st.integers(12, 40), st.integers(12, 40)))
    box = draw(st.tuples(*[st.floats(0, 1)] * 4))
    top, bottom = sorted(round(v * size[0]) for v in box[:2])
    left, right = sorted(round(v * size[1]) for v in box[2:])
    mask = np.zeros(size, bool)
    mask[top:bottom, left:right] = True
    return mask

"""The regions of one mask: what is painted apart from the rest."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from onefill.edit.grow import dilate
from onefill.errors import BadInput
from onefill.tasks.types import Mask

MOST_REGIONS = 32
"""So many are painted one by one, and no more."""

_NEAR = 100  # strokes nearer than this share of the shorter side belong together

_Index = NDArray[np.int64]


def separate_regions(mask: Mask) -> list[Mask]:
    """The regions of a mask, from the top down, and from the left where two begin in one row.

    What is nearer than a hundredth of the picture's shorter side is one region, so that the
    specks a brush leaves are no regions of their own.

    Args:
        mask: (H, W), with at least one True.

    Raises:
        BadInput: there are more than ``MOST_REGIONS``.
    """
    separated: list[Mask] = []
    for together in connected_parts(dilate(mask, min(mask.shape) // _NEAR // 2)):
        if len(separated) == MOST_REGIONS:
            raise BadInput(
                f"--each-region: the mask has more than {MOST_REGIONS} regions, too many to paint "
                "one by one; leave --each-region out, or join some"
            )
        separated.append(together & mask)
    return separated


def connected_parts(mask: Mask) -> Iterator[Mask]:
    """What touches at a side or a corner, in the order in which the parts are met when reading.

    Args:
        mask: (H, W), with at least one True.
    """
    rows, starts, ends = _runs(mask)
    labels = _label(rows, starts, ends)
    # Labels are the first run of their part, and runs are in reading order.
    for label in np.unique(labels):
        part = np.zeros_like(mask)
        of_it = labels == label
        for row, start, end in zip(rows[of_it], starts[of_it], ends[of_it], strict=True):
            part[row, start:end] = True
        yield part


def _runs(mask: Mask) -> tuple[_Index, _Index, _Index]:
    """Row, first column and the column beyond the last of every run, in reading order."""
    height, width = mask.shape
    fenced = np.zeros((height, width + 2), np.int8)
    fenced[:, 1:-1] = mask
    steps = np.diff(fenced, axis=1)
    rows, starts = np.nonzero(steps == 1)
    ends = np.nonzero(steps == -1)[1]
    return rows, starts, ends


def _label(rows: _Index, starts: _Index, ends: _Index) -> _Index:
    """For every run the first run of its region; runs that touch at a corner are connected."""
    one, other = _touching(rows, starts, ends)
    labels = np.arange(len(rows))
    while True:
        before = labels
        least = np.minimum(labels[one], labels[other])
        labels = labels.copy()
        # Both the runs and what they were labelled by take the smaller label, then all labels
        # are followed to their end: so the number of rounds grows with the logarithm.
        for target in (one, other, before[one], before[other]):
            np.minimum.at(labels, target, least)
        while not np.array_equal(further := labels[labels], labels):
            labels = further
        if np.array_equal(labels, before):
            return labels


def _touching(rows: _Index, starts: _Index, ends: _Index) -> tuple[_Index, _Index]:
    """Pairs of runs in neighbouring rows that share a column, or touch at a corner."""
    # One number line for all rows: a run of the row above lies one stride further down it.
    stride = int(ends.max()) + 2
    first = rows * stride + starts
    beyond = rows * stride + ends
    low = np.searchsorted(beyond, first + stride, side="left")
    high = np.searchsorted(first, beyond + stride, side="right")
    counts = np.maximum(high - low, 0)
    one = np.repeat(np.arange(len(rows)), counts)
    offset = np.arange(len(one)) - np.repeat(np.cumsum(counts) - counts, counts)
    return one, np.repeat(low, counts) + offset

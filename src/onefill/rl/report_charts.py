"""Line charts as SVG, for a page that needs no other file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from onefill.rl.curves import Curve

_WIDTH, _HEIGHT = 260, 150
_LEFT, _TOP, _RIGHT, _BOTTOM = 40, 8, 8, 22
_RAW, _SMOOTH = "#9bb8d3", "#1f5a96"


def draw_chart(
    title: str,
    curve: Curve,
    *,
    bounds: tuple[float, float] | None = None,
    lines: Sequence[float] = (),
    smooth: bool = True,
) -> str:
    """A figure with one curve: every value faint, their moving average strong.

    Args:
        title: below the chart.
        curve: with at least one point.
        bounds: of the vertical axis; those of the values by default.
        lines: values that get a dashed horizontal line.
        smooth: whether to draw the average; without, the values themselves are strong.
    """
    low, high = bounds or _bounds([*curve.values, *lines])
    first, last = curve.steps[0], max(curve.steps[-1], curve.steps[0] + 1)

    def place(step: float, value: float) -> str:
        x = _LEFT + (step - first) / (last - first) * (_WIDTH - _LEFT - _RIGHT)
        share = (min(max(value, low), high) - low) / (high - low)
        y = _TOP + (1 - share) * (_HEIGHT - _TOP - _BOTTOM)
        return f"{x:.1f},{y:.1f}"

    def trace(values: Sequence[float], colour: str, thickness: float) -> str:
        known = [
            (step, value)
            for step, value in zip(curve.steps, values, strict=True)
            if math.isfinite(value)
        ]
        points = " ".join(place(step, value) for step, value in known)
        if len(known) == 1:
            x, y = points.split(",")
            return f'<circle cx="{x}" cy="{y}" r="2.5" fill="{colour}"/>'
        return (
            f'<polyline points="{points}" fill="none" stroke="{colour}" '
            f'stroke-width="{thickness}" stroke-linejoin="round"/>'
        )

    dashed = "".join(
        f'<polyline points="{place(first, value)} {place(last, value)}" stroke="#999" '
        'stroke-dasharray="4" fill="none"/>'
        for value in lines
    )
    if smooth:
        drawn = trace(curve.values, _RAW, 0.8) + trace(curve.smoothed(), _SMOOTH, 2)
    else:
        drawn = trace(curve.values, _SMOOTH, 2)
    bottom = _HEIGHT - _BOTTOM
    labels = "".join(
        f'<text x="{x}" y="{y}" text-anchor="{anchor}">{text}</text>'
        for x, y, anchor, text in (
            (_LEFT - 4, _TOP + 8, "end", format_value(high)),
            (_LEFT - 4, bottom, "end", format_value(low)),
            (_LEFT, _HEIGHT - 8, "start", f"step {first}"),
            (_WIDTH - _RIGHT, _HEIGHT - 8, "end", str(curve.steps[-1])),
        )
    )
    begin, end = curve.change
    return (
        f'<figure><svg width="{_WIDTH}" height="{_HEIGHT}" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'role="img" aria-label="{escape(title)}">'
        f'<path d="M{_LEFT},{_TOP} V{bottom} H{_WIDTH - _RIGHT}" fill="none" stroke="#999"/>'
        f'{dashed}{drawn}<g font-size="10" fill="#777">{labels}</g></svg>'
        f"<figcaption>{escape(title)}: {format_value(begin)} → {format_value(end)}</figcaption>"
        "</figure>"
    )


def format_value(value: float) -> str:
    """A number for an axis: three significant digits."""
    return f"{value:.3g}"


def _bounds(values: Sequence[float]) -> tuple[float, float]:
    known = [value for value in values if math.isfinite(value)] or [0.0]
    low, high = min(known), max(known)
    margin = 0.05 * (high - low) or 0.5 * abs(high) or 0.5
    return (0.0 if 0 <= low < margin else low - margin), high + margin

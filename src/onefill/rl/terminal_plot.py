"""A curve drawn with Braille characters: two by four dots in each."""

from __future__ import annotations

from collections.abc import Sequence

_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_BLANK = 0x2800


def draw_curve(
    steps: Sequence[int],
    values: Sequence[float],
    *,
    width: int,
    height: int,
    low: float,
    high: float,
) -> list[str]:
    """Lines of text with the curve in them, top line first.

    Args:
        steps: from left to right, at least one.
        values: as many; those beyond ``low`` and ``high`` are drawn on the edge.
        width: in characters.
        height: in lines.
        low: value of the bottom edge.
        high: of the top edge, above ``low``.
    """
    columns, rows = 2 * width, 4 * height
    span = max(1, steps[-1] - steps[0])
    cells = [[_BLANK] * width for _ in range(height)]

    def place(step: int, value: float) -> tuple[int, int]:
        share = (min(max(value, low), high) - low) / (high - low)
        return (
            round((step - steps[0]) / span * (columns - 1)),
            rows - 1 - round(share * (rows - 1)),
        )

    points = [place(step, value) for step, value in zip(steps, values, strict=True)]
    for (x, y), (to_x, to_y) in zip(points, [*points[1:], points[-1]], strict=True):
        count = max(abs(to_x - x), abs(to_y - y), 1)
        for part in range(count + 1):
            column = x + round((to_x - x) * part / count)
            row = y + round((to_y - y) * part / count)
            cells[row // 4][column // 2] |= _DOTS[row % 4][column % 2]
    return ["".join(map(chr, line)) for line in cells]

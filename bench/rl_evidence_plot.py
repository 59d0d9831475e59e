"""Pictures of what ``rl_evidence.py`` found, as SVG: one of each contrast, and reward curves.

A contrast's picture has a panel for each column of the table: a row for each experiment, a faint
dot for each seed, a bar at their mean, and a dashed line where the start model stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from onefill.files import replace_text
from onefill.rl.curves import Curve
from onefill.rl.report_charts import draw_chart

_PANEL, _GAP = 150, 14  # pixels across: a panel, between two
_LETTER = 6  # pixels across, hardly any letter is wider at this size
_ROW, _HEAD, _FOOT = 18, 22, 26
_ACROSS = 4  # panels in a line
_DOT, _BAR, _LINE, _INK = "#9bb8d3", "#1f5a96", "#999", "#333"
_CHART_WIDTH, _CHART_HEIGHT, _TITLE = 260, 150, 20

_FIGURE = re.compile(r"(<svg.*</svg>)<figcaption>(.*)</figcaption>", re.DOTALL)


def draw_plots(summary: Mapping[str, Any], out: Path) -> Iterator[Path]:
    """Draw what ``summarise`` found, and give the files that were written."""
    out.mkdir(parents=True, exist_ok=True)
    pictures = {name: draw_contrast(panels) for name, panels in summary["plots"].items() if panels}
    if summary["curves"]:
        pictures["curves"] = draw_curves(summary["curves"])
    for name, picture in pictures.items():
        file = out / f"rl-evidence-{name.replace(' ', '-')}.svg"
        replace_text(file, picture)
        yield file


def draw_contrast(panels: Sequence[Mapping[str, Any]]) -> str:
    """The picture of one contrast; see ``summarise`` for its panels."""
    names = list(dict.fromkeys(name for panel in panels for name in panel["values"]))
    height = _HEAD + _ROW * len(names) + _FOOT
    margin = _GAP + _LETTER * max(map(len, names))
    width = margin + min(_ACROSS, len(panels)) * (_PANEL + _GAP)
    parts = []
    for number, panel in enumerate(panels):
        line, place = divmod(number, _ACROSS)
        top = line * height
        if place == 0:
            parts += [
                _text(margin - 10, top + _HEAD + _ROW * row + 13, name, "end")
                for row, name in enumerate(names)
            ]
        parts.append(_panel(panel, names, margin + place * (_PANEL + _GAP), top))
    lines = -(-len(panels) // _ACROSS)
    return _svg(width, lines * height, parts)


def _panel(panel: Mapping[str, Any], names: Sequence[str], left: float, top: float) -> str:
    every = [value for values in panel["values"].values() for value in values]
    low, high = _bounds(panel, [*every, panel["at_start"]])
    bottom = top + _HEAD + _ROW * len(names)

    def across(value: float) -> float:
        return left + (value - low) / (high - low) * _PANEL

    start = across(panel["at_start"])
    parts = [
        _text(left + _PANEL / 2, top + 14, panel["column"], "middle", bold=True),
        f'<path d="M{left},{bottom} h{_PANEL}" stroke="{_LINE}"/>',
        f'<path d="M{start:.1f},{top + _HEAD} V{bottom}" stroke="{_LINE}" stroke-dasharray="4"/>',
        _text(left, bottom + 13, f"{low:.{panel['digits']}f}", "start"),
        _text(left + _PANEL, bottom + 13, f"{high:.{panel['digits']}f}", "end"),
    ]
    for row, name in enumerate(names):
        values = panel["values"].get(name, [])
        y = top + _HEAD + _ROW * row + _ROW / 2
        parts += [
            f'<circle cx="{across(value):.1f}" cy="{y}" r="3.5" fill="{_DOT}"/>' for value in values
        ]
        if values:
            mean = across(sum(values) / len(values))
            parts.append(f'<path d="M{mean:.1f},{y - 6} v12" stroke="{_BAR}" stroke-width="2.5"/>')
    return "".join(parts)


def _bounds(panel: Mapping[str, Any], values: Sequence[float]) -> tuple[float, float]:
    margin = 0.1 * (max(values) - min(values)) or 0.1
    low = min(values) - margin if panel["low"] is None else panel["low"]
    high = max(values) + margin if panel["high"] is None else panel["high"]
    return low, high


def draw_curves(curves: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """Rewards over a run, a line of charts for each task, as in the paper's figure."""
    parts, top, most = [], 0, 0
    for task, dimensions in curves.items():
        for place, (dimension, found) in enumerate(dimensions.items()):
            chart = draw_chart(f"{task}, {dimension}", Curve(**found), bounds=(0, 1), lines=[0.5])
            drawn, caption = _FIGURE.findall(chart)[0]
            left = place * (_CHART_WIDTH + _GAP)
            parts.append(f'<g transform="translate({left},{top + _TITLE})">{drawn}</g>')
            parts.append(_text(left + 40, top + 14, caption, "start", escaped=True))
            most = max(most, left + _CHART_WIDTH)
        top += _TITLE + _CHART_HEIGHT + _GAP
    return _svg(most, top, parts)


def _svg(width: float, height: float, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="system-ui,sans-serif" font-size="11">'
        f'<rect width="{width}" height="{height}" fill="#fff"/>{"".join(parts)}</svg>\n'
    )


def _text(
    x: float, y: float, words: str, anchor: str, *, bold: bool = False, escaped: bool = False
) -> str:
    weight = ' font-weight="bold"' if bold else ""
    shown = words if escaped else escape(words)
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="{_INK}"{weight}>{shown}</text>'

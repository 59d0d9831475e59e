"""A page about a judge on known pairs, in one file: tables, diagrams and its worst mistakes."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from html import escape
from pathlib import Path
from typing import Any

from PIL import Image

from onefill.errors import BadInput, OnefillError
from onefill.files import replace_text
from onefill.images import read_image
from onefill.judge.accuracy import AccuracyTable, Answer, Cell, Share, accuracy_table
from onefill.judge.calibration import Bin

MISTAKES = 24
"""How many of the worst are shown."""

_THUMB = 192  # pixels, of the longer side

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;
color:#222;background:#fff}
table{border-collapse:collapse;margin:1rem 0}
th,td{padding:.25rem .7rem;border-bottom:1px solid #ddd;text-align:right}
th:first-child,td:first-child{text-align:left}
.grid{display:flex;flex-wrap:wrap;gap:1rem}
figure{margin:0;border:1px solid #ddd;padding:.6rem;max-width:40rem}
figure img{image-rendering:auto;width:8rem;height:8rem;object-fit:contain;background:#eee}
figure div{display:flex;gap:.4rem;margin-bottom:.4rem}
figure span{display:flex;flex-direction:column;font-size:12px}
.better img{outline:3px solid #2a8a4a}
figcaption{font-size:13px}
.faint{color:#777}
@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}th,td,figure{border-color:#444}}
"""


def write_report(path: Path, title: str, rows: Sequence[Answer], notes: Sequence[str] = ()) -> None:
    """Write the page; it needs no other file.

    Args:
        path: an html file, replaced if it is there.
        title: heading of the page.
        rows: the judge's answers to known pairs, calibrated as they are to be shown.
        notes: paragraphs below the heading.

    Raises:
        OnefillError: the page cannot be written.
    """
    table = accuracy_table(rows)
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><h1>{escape(title)}</h1>",
        *(f"<p>{escape(note)}</p>" for note in notes),
        "<h2>Accuracy</h2><p>Share of decided pairs in which the verdict of both orders names the "
        "winner, in percent; tasks by dimensions as in Table 1 of the paper.</p>",
        _overview(table),
        "<h2>By task and dimension</h2>",
        _details(table),
        "<h2>Calibration</h2><p>How often the judge is right where it is so sure. Points on the "
        "line: a verdict of 80 % is right in 80 %. The size of a point tells how many pairs it "
        'stands for.</p><div class="grid">',
        *(_diagram(name, cell) for name, cell in [*table.cells.items(), ("all", table.overall)]),
        "</div>",
        _strengths(table),
        "<h2>Worst mistakes</h2>",
        _mistakes(rows),
        "</body></html>\n",
    ]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_text(path, "\n".join(parts))
    except OSError as error:
        raise OnefillError(f"{path}: the page cannot be written ({error})") from error


def table_as_json(table: AccuracyTable) -> dict[str, Any]:
    """The figures of a table for a JSON document."""
    return {
        "mean_accuracy": table.mean,
        "overall": _cell_as_json(table.overall),
        "dimensions": {name: _cell_as_json(cell) for name, cell in table.cells.items()},
    }


def table_from_json(document: Mapping[str, Any]) -> AccuracyTable:
    """What ``table_as_json`` was given, without empty bins of the reliability diagrams."""
    return AccuracyTable(
        {name: _cell_from_json(found) for name, found in document["dimensions"].items()},
        _cell_from_json(document["overall"]),
    )


def overview(table: AccuracyTable) -> tuple[list[str], list[tuple[str, list[Share | None]]]]:
    """Table 1's layout: the dimensions, and for each task its accuracy on each of them."""
    dims = list(dict.fromkeys(name.partition("/")[2] for name in table.cells))
    tasks = list(dict.fromkeys(name.partition("/")[0] for name in table.cells))
    lines: list[tuple[str, list[Share | None]]] = []
    for task in tasks:
        cells = [table.cells.get(f"{task}/{dim}") for dim in dims]
        lines.append((task, [cell.accuracy if cell else None for cell in cells]))
    return dims, lines


def in_percent(share: Share | None) -> str:
    """A share as Table 1 prints it."""
    return f"{100 * share.rate:.2f}" if share and share.n else "–"


def interval(share: Share) -> str:
    """Its 95 % interval."""
    return f"{100 * share.low:.1f} to {100 * share.high:.1f}" if share.n else "–"


def worst_mistakes(rows: Sequence[Answer], count: int = MISTAKES) -> list[Answer]:
    """The wrong verdicts the judge was surest of."""
    wrong = [row for row in rows if row.winner != "tie" and row.points == 0]
    return sorted(wrong, key=lambda row: -abs(row.margin))[:count]


def _cell_as_json(cell: Cell) -> dict[str, Any]:
    return {
        "accuracy": asdict(cell.accuracy),
        "one_order": cell.one_order,
        "order_gap": cell.order_gap,
        "first_place": cell.first_place,
        "ece": cell.ece,
        "ties": cell.ties,
        "reliability": [asdict(found) for found in cell.bins if found.n],
        "by_strength": [
            {"from": low, "to": high, **asdict(share)} for low, high, share in cell.by_strength
        ],
    }


def _cell_from_json(found: Mapping[str, Any]) -> Cell:
    strengths = []
    for entry in found["by_strength"]:
        share = Share(**{name: entry[name] for name in ("rate", "low", "high", "n")})
        strengths.append((entry["from"], entry["to"], share))
    return Cell(
        accuracy=Share(**found["accuracy"]),
        bins=[Bin(**entry) for entry in found["reliability"]],
        by_strength=strengths,
        **{name: found[name] for name in ("one_order", "order_gap", "first_place", "ece", "ties")},
    )


def _overview(table: AccuracyTable) -> str:
    dims, lines = overview(table)
    head = "".join(f"<th>{escape(dim)}</th>" for dim in dims)
    body = "".join(
        f"<tr><td>{escape(task)}</td>"
        + "".join(f"<td>{in_percent(s)}</td>" for s in shares)
        + "</tr>"
        for task, shares in lines
    )
    return f"<table><tr><th>task</th>{head}</tr>{body}</table>"


def _details(table: AccuracyTable) -> str:
    heads = (
        "task / dimension",
        "accuracy",
        "95 % interval",
        "pairs",
        "ties",
        "one order alone",
        "order gap",
        "first place",
        "calibration error",
    )
    lines = [
        (
            name,
            in_percent(cell.accuracy),
            interval(cell.accuracy),
            str(cell.accuracy.n),
            str(cell.ties),
            f"{100 * cell.one_order:.2f}",
            f"{cell.order_gap:.3f}",
            f"{100 * cell.first_place:.0f} %",
            f"{cell.ece:.3f}",
        )
        for name, cell in [*table.cells.items(), ("all", table.overall)]
    ]
    return _table(heads, lines)


def _strengths(table: AccuracyTable) -> str:
    cells = [(n, c) for n, c in [*table.cells.items(), ("all", table.overall)] if c.by_strength]
    if not cells:
        return ""
    lines = [
        (name, f"{low:.1f} to {high:.1f}", in_percent(share), interval(share), str(share.n))
        for name, cell in cells
        for low, high, share in cell.by_strength
    ]
    heads = ("task / dimension", "strength of the difference", "accuracy", "95 % interval", "pairs")
    return f"<h2>By strength</h2>{_table(heads, lines)}"


def _table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(text)}</td>" for text in line) + "</tr>" for line in lines
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def _diagram(name: str, cell: Cell) -> str:
    """A reliability diagram: confidence to the right, accuracy upwards, both from 0.5 (0) to 1."""
    points = "".join(_point(found, cell.accuracy.n) for found in cell.bins if found.n)
    return (
        "<figure>"
        '<svg width="180" height="190" viewBox="-30 -10 180 190" role="img" '
        f'aria-label="reliability of {escape(name)}">'
        '<rect width="140" height="140" fill="none" stroke="#999"/>'
        '<line x1="0" y1="70" x2="140" y2="0" stroke="#999" stroke-dasharray="4"/>'
        f"{points}"
        '<g font-size="10" fill="#777"><text x="0" y="153">0.5</text>'
        '<text x="122" y="153">1.0</text><text x="40" y="165">confidence</text>'
        '<text x="-26" y="143">0.0</text><text x="-26" y="8">1.0</text></g></svg>'
        f"<figcaption>{escape(name)}: error {cell.ece:.3f}, {cell.accuracy.n} pairs</figcaption>"
        "</figure>"
    )


def _point(found: Bin, total: int) -> str:
    x, y = (found.confidence - 0.5) * 280, 140 * (1 - found.accuracy)
    radius = 2 + 10 * (found.n / total) ** 0.5
    tip = f"{found.n} pairs: {found.confidence:.2f} sure, {found.accuracy:.2f} right"
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="#3a6ea5" fill-opacity=".7">'
        f"<title>{tip}</title></circle>"
    )


def _mistakes(rows: Sequence[Answer]) -> str:
    worst = worst_mistakes(rows)
    if not worst:
        return "<p>None: every decided pair was judged right.</p>"
    figures = "".join(_mistake(row) for row in worst)
    lead = (
        f"<p>The {len(worst)} wrong verdicts the judge was surest of. The frame is around the "
        "winner; the judge named the other.</p>"
    )
    return f'{lead}<div class="grid">{figures}</div>'


def _mistake(row: Answer) -> str:
    pair = row.logits.pair
    shown = [("first", pair.first), ("second", pair.second)]
    if pair.source is not None:
        shown.insert(0, ("source", pair.source))
    pictures = "".join(
        f'<span class="{"better" if name == row.winner else ""}">{_picture(path)}{name}</span>'
        for name, path in shown
    )
    sure = max(row.p_first, 1 - row.p_first)
    words = f", “{escape(pair.prompt)}”" if pair.prompt else ""
    strength = pair.strength.get(row.logits.dim)
    plain = f", strength {strength:.2f}" if strength is not None else ""
    line = f" (line {pair.line})" if pair.line else ""
    return (
        f"<figure><div>{pictures}</div><figcaption>{escape(row.cell)}{words}: {sure:.0%} sure of "
        f'the wrong one{plain}, order gap {row.order_gap:.2f}<br><span class="faint">'
        f"{escape(pair.first.name)}, {escape(pair.second.name)}{line}</span></figcaption></figure>"
    )


def _picture(path: Path) -> str:
    try:
        picture = read_image(path)
    except BadInput:  # taken away since it was judged
        return "<em>gone</em>"
    picture.thumbnail((_THUMB, _THUMB), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    picture.save(file, "WEBP", quality=88)
    data = base64.b64encode(file.getvalue()).decode()
    return f'<img src="data:image/webp;base64,{data}" alt="{escape(path.name)}">'

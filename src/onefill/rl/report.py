"""``report.html``: a run on one page that needs no other file."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from PIL import Image

from onefill.rl.curves import Curves, hacking_alarms, health_curves, reward_curves, win_rate_curves
from onefill.rl.metrics import PHASES, MetricsLog
from onefill.rl.report_charts import draw_chart
from onefill.rl.run_folder import RunFolder
from onefill.rl.run_status import RunStatus, read_status

SHEETS = 6
"""How many sample sheets are shown, the first and the last among them."""

_SHEET_WIDTH = 900  # pixels at most

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:76rem;padding:0 1rem;
color:#222;background:#fff}
table{border-collapse:collapse;margin:1rem 0}
th,td{padding:.25rem .7rem;border-bottom:1px solid #ddd;text-align:right}
th:first-child,td:first-child,.words td{text-align:left}
.grid{display:flex;flex-wrap:wrap;gap:.8rem}
figure{margin:0;border:1px solid #ddd;padding:.5rem}
figcaption{font-size:13px}
figure img{max-width:100%;height:auto}
pre{overflow-x:auto;background:#f4f4f4;padding:1rem}
.faint{color:#777}
@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}
th,td,figure{border-color:#444}pre{background:#222}}
"""


def write_report(folder: RunFolder) -> None:
    """Write the page from what lies in the folder, whatever the state of the run."""
    rows = MetricsLog(folder.metrics).read()
    status = read_status(folder)
    name = escape(folder.path.absolute().name)
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        f"<title>{name}</title><style>{_STYLE}</style></head><body><h1>{name}</h1>",
        _head(folder, status, rows),
        _alarms(rows),
        _win_rates(folder),
        _curves(
            "Rewards",
            "P(yes) at each draw of the task; strong: the moving average; dashed: one half, as "
            "good as the reference.",
            reward_curves(rows),
        ),
        _curves(
            "Win rates over time",
            "Held-out win rate against the start model; dashed: one half.",
            {
                task: {d: c for d, c in found.items() if len(c.steps) > 1}
                for task, found in win_rate_curves(rows).items()
            },
            smooth=False,
        ),
        _health(rows),
        _samples(folder),
        _phases(rows),
        "<h2>Configuration</h2><details><summary>config.yaml</summary>"
        f"<pre>{escape(folder.config_file.read_text(encoding='utf-8'))}</pre></details>",
        _environment(status),
        "</body></html>\n",
    ]
    folder.write_report("\n".join(part for part in parts if part))


def _head(folder: RunFolder, status: RunStatus, rows: Sequence[Mapping[str, Any]]) -> str:
    steps = [row["step"] for row in rows if row["kind"] == "step"]
    lines = [
        ("state", status.state + (f": {status.reason}" if status.reason else "")),
        ("steps", str(steps[-1] if steps else 0)),
        ("began", status.started or "unknown"),
        ("last told", status.updated or "unknown"),
    ]
    cells = "".join(f"<tr><td>{escape(k)}</td><td>{escape(v)}</td></tr>" for k, v in lines)
    return f'<table class="words">{cells}</table>'


def _alarms(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = [(str(step), words) for step, words in hacking_alarms(rows)]
    if not lines:
        return ""
    return (
        "<h2>Alarms</h2><p>Where measures that are no judge say that the policy may be fooling its "
        "judge; compare the samples of those steps.</p>"
        + _table(("step", "alarm"), lines).replace("<table>", '<table class="words">')
    )


def _win_rates(folder: RunFolder) -> str:
    if not folder.summary.is_file():
        return ""
    try:
        summary = json.loads(folder.summary.read_text(encoding="utf-8"))
    except ValueError:
        return "<p>summary.json is damaged.</p>"
    lines = [
        (
            f"{task} / {dimension}",
            f"{found['start']:.0%}",
            f"{found['end']:.0%}",
            f"{found['low']:.0%} to {found['high']:.0%}",
            str(found["count"]),
        )
        for task, dimensions in summary["win_rate"].items()
        for dimension, found in dimensions.items()
    ]
    return (
        "<h2>Win rates</h2><p>How often the judge prefers the result to the start model's, on "
        "samples that were never trained on. Before: the start model against itself.</p>"
        + _table(("task / dimension", "before", "after", "95 % interval", "samples"), lines)
    )


def _curves(title: str, lead: str, curves: Curves, *, smooth: bool = True) -> str:
    """Charts grouped by task, as the curves of the paper's figure are."""
    groups = [
        f'<h3>{escape(task)}</h3><div class="grid">'
        + "".join(
            draw_chart(dimension, curve, bounds=(0, 1), lines=[0.5], smooth=smooth)
            for dimension, curve in dimensions.items()
        )
        + "</div>"
        for task, dimensions in curves.items()
        if dimensions
    ]
    return f"<h2>{title}</h2><p>{lead}</p>{''.join(groups)}" if groups else ""


def _health(rows: Sequence[Mapping[str, Any]]) -> str:
    curves = health_curves(rows)
    if not curves:
        return ""
    charts = "".join(draw_chart(name.replace("_", " "), c) for name, c in curves.items())
    return (
        "<h2>Health</h2><p>Every other figure of the steps; of one per dimension the mean.</p>"
        f'<div class="grid">{charts}</div>'
    )


def _samples(folder: RunFolder) -> str:
    sheets = sorted(folder.samples.glob("step-*.png"))
    if len(sheets) > SHEETS:
        places = [round(n * (len(sheets) - 1) / (SHEETS - 1)) for n in range(SHEETS)]
        sheets = [sheets[place] for place in places]
    if not sheets:
        return ""
    shown = "".join(
        f"<figure>{_picture(path)}<figcaption>step {int(path.stem[5:])}</figcaption></figure>"
        for path in sheets
    )
    return (
        "<h2>Samples</h2><p>The same held-out samples from the same noise at each step.</p>"
        f'<div class="grid">{shown}</div>'
    )


def _picture(path: Path) -> str:
    file = io.BytesIO()
    with Image.open(path) as sheet:
        small = sheet.convert("RGB")
    small.thumbnail((_SHEET_WIDTH, 1 << 16), Image.Resampling.LANCZOS)
    # WebP ends at 16383 pixels, which a sheet of many tasks may pass.
    kind = "webp" if max(small.size) < 1 << 14 else "jpeg"
    small.save(file, kind, quality=85)
    data = base64.b64encode(file.getvalue()).decode()
    return f'<img src="data:image/{kind};base64,{data}" alt="{escape(path.name)}">'


def _phases(rows: Sequence[Mapping[str, Any]]) -> str:
    seconds = [row["seconds"] for row in rows if row["kind"] == "step" and "seconds" in row]
    if not seconds:
        return ""
    count = len(seconds)
    means = {name: sum(found.get(name, 0.0) for found in seconds) / count for name in PHASES}
    whole = sum(means.values()) or 1.0
    lines = [(phase, f"{mean:.3f}", f"{mean / whole:.0%}") for phase, mean in means.items()]
    return "<h2>Time of a step</h2>" + _table(("phase", "seconds", "share"), lines)


def _environment(status: RunStatus) -> str:
    if not status.environment:
        return ""
    cells = "".join(
        f"<tr><td>{escape(key)}</td><td>{escape(str(value))}</td></tr>"
        for key, value in status.environment.items()
    )
    return f'<h2>Environment</h2><table class="words">{cells}</table>'


def _table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(text)}</td>" for text in line) + "</tr>" for line in lines
    )
    return f"<table><tr>{head}</tr>{body}</table>"

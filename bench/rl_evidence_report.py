"""What the runs of ``rl_evidence.py`` say together: one table, and every figure for a file.

Columns of the table, each the mean over the seeds with the least and the greatest of them:

- a task: share of held-out scenes, in %, on which the second judge prefers the trained model's
  picture to the start model's, the mean of the task's dimensions; *lowest*: the lowest of all
  tasks and dimensions of a run.
- seam, drift: the worst task's ratio to the start model; below 1 is better.
- dB, LPIPS: removals, to the true background; above 0 and below 1 are better.
- named, surer: fills, by the classifier; contrast: of their colours, as a ratio to the start model.
- read: written words, by the OCR library.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from onefill.judge.accuracy import wilson
from onefill.pocket.contests.pairs import CELLS, TASK_DIMENSIONS
from onefill.rl.curves import reward_curves
from onefill.rl.metrics import MetricsLog

Figures = Mapping[str, float]
Contrasts = Mapping[str, Sequence[str]]
Table = dict[str, list[Any]]
"""``head`` with its cells, and ``rows`` likewise."""

_CURVES_OF = "default"


@dataclass(frozen=True)
class Column:
    """One column of the table.

    Attributes:
        name: its heading.
        value: of a run's figures; None where the run was not measured by it.
        digits: after the point.
        at_start: what the start model has, likewise.
        low: end of the plot's axis; None takes it from the values.
        high: likewise.
    """

    name: str
    value: Callable[[Figures], float | None]
    digits: int
    at_start: Callable[[Figures], float | None]
    low: float | None = None
    high: float | None = None


def _of(key: str, times: float = 1) -> Callable[[Figures], float | None]:
    return lambda figures: times * figures[key] if key in figures else None


def _always(value: float) -> Callable[[Figures], float | None]:
    return lambda figures: value


def _wins(task: str) -> Callable[[Figures], float | None]:
    def mean(figures: Figures) -> float | None:
        found = _shares(figures, [task])
        return sum(found) / len(found) if found else None

    return mean


def _lowest(figures: Figures) -> float | None:
    return min(_shares(figures, TASK_DIMENSIONS), default=None)


def _shares(figures: Figures, tasks: Iterable[str]) -> list[float]:
    keys = [f"{task}/{dimension}" for task in tasks for dimension in TASK_DIMENSIONS[task]]
    return [100 * figures[key] for key in keys if key in figures]


def _worst(measure: str) -> Callable[[Figures], float | None]:
    keys = [f"{task} {measure}" for task in TASK_DIMENSIONS]
    return lambda figures: max((figures[k] for k in keys if k in figures), default=None)


_HALF, _ONE, _NOTHING = _always(50), _always(1), _always(0)

COLUMNS = (
    *(Column(task, _wins(task), 0, _HALF, 0, 100) for task in TASK_DIMENSIONS),
    Column("lowest", _lowest, 0, _HALF, 0, 100),
    Column("seam", _worst("seam"), 2, _ONE),
    Column("drift", _worst("drift"), 2, _ONE),
    Column("dB", _of("removal dB"), 1, _NOTHING),
    Column("LPIPS", _of("removal LPIPS"), 2, _ONE),
    Column("named", _of("fill named", 100), 0, _of("fill named at start", 100)),
    Column("surer", _of("fill surer"), 2, _NOTHING),
    Column("contrast", _of("fill contrast"), 2, _ONE),
    Column("read", _of("text read", 100), 0, _of("text read at start", 100), 0, 100),
)


def summarise(out: Path, contrasts: Contrasts) -> dict[str, Any]:
    """Everything measured so far.

    Args:
        out: the folder of the campaign.
        contrasts: name to the experiments that it compares.

    Returns:
        ``table``: what ``markdown`` prints. ``headline``: its rows of the first contrast alone.
        ``cells``: a table of every task and dimension, of those. ``plots``: by contrast and
        column, what is drawn. ``curves``: rewards of the default run of the first seed, by task
        and dimension. ``runs``: every figure.
    """
    files = sorted(out.glob("*/measured-*.json"))
    runs = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    first, members = next(iter(contrasts.items()))
    return {
        "table": _table(runs, contrasts),
        "headline": _table(runs, {first: members}),
        "cells": _cells(runs, members),
        "plots": {name: _plot(runs, members) for name, members in contrasts.items()},
        "curves": _curves(out / f"{_CURVES_OF}-0" / "metrics.jsonl"),
        "runs": runs,
    }


def markdown(table: Table) -> str:
    """A table in Markdown."""
    rule = ["---"] * len(table["head"])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (table["head"], rule, *table["rows"]))


def _table(runs: Sequence[Mapping[str, Any]], contrasts: Contrasts) -> Table:
    """Each experiment once, under the first contrast that names it; the start model on top."""
    columns = [c for c in COLUMNS if any(c.value(run["figures"]) is not None for run in runs)]
    rows: list[list[str]] = []
    shown: set[str] = set()
    for contrast, members in contrasts.items():
        new = [name for name in members if name not in shown and _figures(runs, name)]
        if new and contrast != next(iter(contrasts)):
            rows.append([f"**{contrast}**", *[""] * (len(columns) + 1)])
        for name in new:
            found = _figures(runs, name)
            cells = [_written(_values(found, c.value), c.digits) for c in columns]
            rows.append([name, str(len(found)), *cells])
        shown |= set(new)
    if rows:
        every = [run["figures"] for run in runs]
        starts = [_written(_values(every, c.at_start)[:1], c.digits) for c in columns]
        rows.insert(0, ["*start model*", "", *starts])
    return {"head": ["run", "seeds", *(column.name for column in columns)], "rows": rows}


def _cells(runs: Sequence[Mapping[str, Any]], members: Sequence[str]) -> Table:
    """By task and dimension: the second judge, with two intervals, beside the run's own judge."""
    members = [name for name in members if _figures(runs, name)]
    head = ["task / dimension"]
    for name in members:
        head += [f"{name}: second judge", f"{name}: its own judge"]
    rows = []
    for task, dimension in CELLS:
        key = f"{task}/{dimension}"
        row = [f"{task} / {dimension}"]
        for name in members:
            of_name = [run for run in runs if run["experiment"] == name]
            second = [run["figures"][key] for run in of_name if key in run["figures"]]
            own = [100 * run["own"][key] for run in of_name if key in run["own"]]
            scenes = [run["scenes"][key] for run in of_name if key in run["scenes"]]
            row += [_share(second, scenes), _written(own, 0)]
        if any(cell != "–" for cell in row[1:]):
            rows.append(row)
    return {"head": head, "rows": rows}


def _share(shares: Sequence[float], scenes: Sequence[int]) -> str:
    """In %, with Wilson's interval over the scenes: all seeds paint the same ones."""
    if not shares:
        return "–"
    mean, count = sum(shares) / len(shares), min(scenes)
    low, high = wilson(mean * count, count)
    interval = f" [{100 * low:.0f} to {100 * high:.0f}]"
    return _written([100 * share for share in shares], 0) + interval


def _plot(runs: Sequence[Mapping[str, Any]], members: Sequence[str]) -> list[dict[str, Any]]:
    """By column, the values of every seed of every member; columns without any are left out."""
    found = []
    for column in COLUMNS:
        values = {name: _values(_figures(runs, name), column.value) for name in members}
        if not any(values.values()):
            continue
        starts = _values([f for name in members for f in _figures(runs, name)], column.at_start)
        found.append(
            {
                "column": column.name,
                "at_start": starts[0],
                "low": column.low,
                "high": column.high,
                "digits": column.digits,
                "values": {name: of_name for name, of_name in values.items() if of_name},
            }
        )
    return found


def _curves(metrics: Path) -> dict[str, Any]:
    if not metrics.is_file():
        return {}
    found = reward_curves(MetricsLog(metrics).read())
    return {task: {d: asdict(c) for d, c in curves.items()} for task, curves in found.items()}


def _figures(runs: Sequence[Mapping[str, Any]], name: str) -> list[Figures]:
    return [run["figures"] for run in runs if run["experiment"] == name]


def _values(runs: Iterable[Figures], value: Callable[[Figures], float | None]) -> list[float]:
    found = [value(figures) for figures in runs]
    return [number for number in found if number is not None]


def _written(values: Sequence[float], digits: int) -> str:
    """The mean, and the least and the greatest where they read otherwise."""
    if not values:
        return "–"
    mean, least, greatest = (
        f"{number:z.{digits}f}" for number in (sum(values) / len(values), min(values), max(values))
    )
    return mean if least == greatest else f"{mean} ({least} to {greatest})"

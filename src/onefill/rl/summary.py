"""What a run leaves for people and scripts: the summary, win rates, sample sheets."""

from __future__ import annotations

import io
from typing import Any

from onefill.files import replace_bytes
from onefill.rl.evaluate import WinRates
from onefill.rl.metrics import PHASES
from onefill.rl.sheets import SheetRow, draw_sheet
from onefill.rl.training import Training

Summary = dict[str, Any]
"""The document ``summary.json``, documented at ``summarise``."""


def summarise(run: Training, before: WinRates, after: WinRates) -> Summary:
    """Write ``summary.json`` and return it.

    Keys: ``steps``, ``seconds`` (loading and measuring included, over all processes that took
    part), ``tasks`` (weights), ``reference``, and ``win_rate``: by task and dimension ``start``
    and ``end``, the held-out win rates against the start model before and after training, and
    ``low`` and ``high``, the 95 % interval of ``end``, over ``count`` samples. ``phases`` is the
    mean time of a step by phase, in seconds.
    """
    log_win_rates(run, "end", after)
    rows = run.metrics.read("step")
    summary = {
        "steps": run.step,
        "seconds": round(run.elapsed(), 1),
        "tasks": run.config.tasks,
        "reference": run.config.reference,
        "win_rate": {
            task: {
                dimension: {
                    "start": before[task][dimension].rate,
                    "end": end.rate,
                    "low": end.low,
                    "high": end.high,
                    "count": end.count,
                }
                for dimension, end in dimensions.items()
            }
            for task, dimensions in after.items()
        },
        "phases": {
            phase: sum(row.get("seconds", {}).get(phase, 0.0) for row in rows) / max(1, len(rows))
            for phase in PHASES
        },
    }
    if run.processes.is_first:
        run.folder.write_summary(summary)
    return summary


def log_win_rates(run: Training, kind: str, win_rates: WinRates) -> None:
    """A line in ``metrics.jsonl`` with the win rate of each task and dimension."""
    rates = {task: {d: w.rate for d, w in found.items()} for task, found in win_rates.items()}
    run.metrics.append(kind, run.step, {"win_rate": rates})


def write_sheet(run: Training) -> None:
    """Draw the first held-out samples of each task into ``samples/step-N.png``."""
    rows = []
    for name in run.tasks:
        trained = run.held_out.paint(name, run.config.samples.rows).numpy()
        scenes = run.held_out.scenes(name)
        for place, picture in enumerate(trained):
            prompt = scenes.batch.prompts[place]
            rows.append(
                SheetRow(
                    caption=f"{name}: {prompt}",
                    source=scenes.batch.images[place].numpy(),
                    mask=scenes.batch.masks[place, 0].numpy(),
                    start=scenes.start[place].numpy(),
                    trained=picture,
                )
            )
    if not run.processes.is_first:
        return
    path = run.folder.samples / f"step-{run.step:06d}.png"
    sheet = io.BytesIO()
    draw_sheet(f"step {run.step}", rows).save(sheet, "PNG")
    replace_bytes(path, sheet.getvalue())
    for follower in run.metrics.followers:
        follower.picture(run.step, path)

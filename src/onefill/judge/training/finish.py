"""The end of a judge's training: measure the best weights, calibrate them, write the folder."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import onefill
from onefill.judge.accuracy import (
    AccuracyTable,
    Answer,
    Cell,
    accuracy_table,
    cross_calibrated,
    temperatures,
)
from onefill.judge.canary import write_canaries
from onefill.judge.report import table_as_json, write_report
from onefill.judge.saving import save_judge
from onefill.judge.training.session import TrainingSession, base_sources
from onefill.judge.training.weights import plain_weights

REPORT_NAME = "report.html"


def finish(session: TrainingSession, rows: Sequence[Answer]) -> dict[str, Any]:
    """Write the judge whose weights are in the session's model.

    Args:
        session: its best weights put back.
        rows: the held-out pairs' answers under these weights, uncalibrated.

    Returns:
        The summary, as it is stored.

    Raises:
        OnefillError: the folder cannot be written.
    """
    raw, crossed = accuracy_table(rows), accuracy_table(cross_calibrated(rows))
    heats = temperatures(rows)
    shown = [replace(row, temperature=heats.get(row.cell, 1.0)) for row in rows]
    table = accuracy_table(shown)
    stage = session.folder.stage
    shutil.rmtree(stage, ignore_errors=True)
    judge = session.judge
    tokenizer = judge.processor.tokenizer
    # The processor's template may come from a file of its own; a judge keeps it with the tokenizer.
    tokenizer.chat_template = judge.processor.chat_template
    save_judge(
        stage,
        judge.model,
        tokenizer,
        judge.processor.image_processor,
        _card(session, table, raw, crossed, heats),
        dtype=None,
        weights=plain_weights(judge.model),
    )
    canaries = write_canaries(stage, judge, session.validation, session.registry)
    write_report(
        stage / REPORT_NAME,
        f"Judge {session.folder.path.name}: {len(session.validation)} held-out pairs",
        shown,
        notes=[
            f"{session.settings.method} training from {session.settings.base}, best of "
            f"{session.progress.step} steps: step {session.progress.best_step}.",
            "The step was chosen and the temperatures were fitted on these pairs; for figures to "
            "compare judges by, run onefill judge-eval on others. Calibration error under "
            f"temperatures fitted on the other half of the scenes: {crossed.overall.ece:.3f}; "
            f"without temperatures: {raw.overall.ece:.3f}.",
        ],
    )
    summary = {
        "judge": str(session.folder.path),
        "base": session.settings.base,
        "method": session.settings.method,
        "steps": session.progress.step,
        "best_step": session.progress.best_step,
        "validation_loss": session.progress.best_loss,
        "pairs": len({id(example.pair) for example in session.examples}),
        "validation_pairs": len(session.validation),
        "canaries": canaries,
        "temperatures": heats,
        "ece_before": raw.overall.ece,
        "ece_after": crossed.overall.ece,
        **table_as_json(table),
    }
    session.folder.publish(summary)
    return summary


def _card(
    session: TrainingSession,
    table: AccuracyTable,
    raw: AccuracyTable,
    crossed: AccuracyTable,
    heats: Mapping[str, float],
) -> dict[str, Any]:
    settings = session.settings
    document: dict[str, Any] = {
        "dimensions": {
            name: {
                **_entry(cell),
                "ece_before": round(raw.cells[name].ece, 4),
                "ece": round(crossed.cells[name].ece, 4),
                "temperature": heats.get(name, 1.0),
                "question": _question(session, name),
            }
            for name, cell in table.cells.items()
        },
        "facts": {
            "recipe": f"onefill train-judge, onefill {onefill.__version__}",
            "base": settings.base,
            "method": settings.method,
            "best step": session.progress.best_step,
            "training pairs": len({id(example.pair) for example in session.examples}),
            "measured on": f"{len(session.validation)} held-out pairs of other scenes; "
            "either order alone",
        },
        "sources": base_sources(settings.base),
    }
    if session.judge.sees:
        document["sees"] = list(session.judge.sees)
    return document


def _entry(cell: Cell) -> dict[str, Any]:
    return {
        "accuracy": round(cell.one_order, 4),
        "both_orders": round(cell.accuracy.rate, 4),
        "low": round(cell.accuracy.low, 4),
        "high": round(cell.accuracy.high, 4),
        "n": cell.accuracy.n,
        "order_gap": round(cell.order_gap, 4),
    }


def _question(session: TrainingSession, name: str) -> str:
    task, _, dim = name.partition("/")
    return session.registry.get(task).dimension(dim).question

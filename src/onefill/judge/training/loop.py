"""The loop: draw answers, learn from them, update; ask held-out pairs; stop in time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from onefill.errors import BadInput, OnefillError
from onefill.interrupt import Interrupted, StopRequest
from onefill.judge.accuracy import AccuracyTable, Answer, accuracy_table, answers
from onefill.judge.training.display import TrainingDisplay
from onefill.judge.training.examples import TARGETS, Example, draw_batch
from onefill.judge.training.finish import finish
from onefill.judge.training.lesson import ask_held_out, lesson
from onefill.judge.training.loss import eq3
from onefill.judge.training.session import TrainingSession
from onefill.judge.training.weights import put_back, snapshot


def train(session: TrainingSession, display: TrainingDisplay, stop: StopRequest) -> dict[str, Any]:
    """Train until the steps are done or the held-out pairs get no better; write the judge.

    So in every part of the training; the next one begins with the best weights of the one before.
    The weights that are written are those with the smallest loss on the held-out pairs in the last
    part, those that it began with among them.

    Args:
        session: new or resumed.
        display: is told how it goes.
        stop: asked after every step and between batches of held-out pairs.

    Returns:
        The summary: accuracy, calibration and how long it took, for JSON.

    Raises:
        Interrupted: a stop was asked for; all is saved.
        OnefillError: loss or gradient is no number, or the disk is full.
        BadInput: a picture cannot be read.
    """
    progress, settings = session.progress, session.settings
    try:
        if progress.step == 0:
            _look_at_all(session, display, stop)
        _say_part(session, display)
        while True:
            done = progress.step - progress.began == session.part.steps
            due = done or (progress.step - progress.began) % session.every == 0
            if due and progress.validated != progress.step:
                _validate(session, display, stop)
                session.save()
            spent = not done and progress.waited >= settings.patience
            if spent:
                display.note(
                    f"no better for {settings.patience} validations: stopped after step "
                    f"{progress.step}, the best was step {progress.best_step}"
                )
            if done or spent:
                if session.is_last_part:
                    break
                session.next_part()
                _say_part(session, display)
                continue
            stop.check()
            batch = draw_batch(session.examples, progress.step, settings.batch, settings.seed)
            loss, norm, right = update(session, batch)
            progress.step += 1
            session.folder.note({"step": progress.step, "loss": loss, "gradient": norm})
            display.step(progress.step, loss, right)
        put_back(session.parameters, session.best)
        display.doing("measuring the best")
        rows = answers(ask_held_out(session, stop))
    except Interrupted:
        session.save()
        raise
    except BadInput:
        session.folder.discard_if_unused()
        raise
    display.doing("writing the judge")
    return finish(session, rows)


def update(
    session: TrainingSession, batch: Sequence[Example]
) -> tuple[float, float, list[tuple[str, float]]]:
    """One step on a batch, ``together`` answers at a time.

    Returns:
        The mean loss, the norm of the gradient before clipping, and for each answer that has a
        winner its task/dimension and 1 if both orders together were right, else 0.

    Raises:
        OnefillError: loss or gradient is no number; no weight was changed.
    """
    total = 0.0
    right = []
    for start in range(0, len(batch), session.settings.together):
        part = batch[start : start + session.settings.together]
        losses, margins = lesson(session, part, start)
        loss = losses.sum() / len(batch)
        loss.backward()
        total += float(loss.detach())
        right += [
            (example.cell, float((margin > 0) == (example.target > 0.5)))
            for example, margin in zip(part, margins.tolist(), strict=True)
            if example.target != TARGETS["tie"]
        ]
    if not math.isfinite(total):
        raise OnefillError(
            f"step {session.progress.step + 1}: the loss is {total}; start again with a lower "
            "--rate"
        )
    return total, session.optimizer.update(session.progress.step - session.progress.began), right


def _validate(session: TrainingSession, display: TrainingDisplay, stop: StopRequest) -> None:
    """Ask the held-out pairs, and remember these weights if none did better."""
    progress = session.progress
    display.doing("asking held-out pairs")
    rows = answers(ask_held_out(session, stop))
    loss = mean_loss(rows)
    table = accuracy_table(rows)
    better = loss < progress.best_loss
    if better:
        progress.best_loss, progress.best_step, progress.waited = loss, progress.step, 0
        session.best = snapshot(session.parameters)
    else:
        progress.waited += 1
    progress.validated = progress.step
    session.folder.note(_figures(session, loss, table))
    display.validation(progress.step, loss, table, better)


def mean_loss(rows: Sequence[Answer]) -> float:
    """Eq. 3 over known answers, uncalibrated."""
    forward = torch.tensor([row.logits.forward for row in rows])
    backward = torch.tensor([row.logits.backward for row in rows])
    target = torch.tensor([TARGETS[row.winner] for row in rows])
    return float(eq3(forward, backward, target).mean())


def _say_part(session: TrainingSession, display: TrainingDisplay) -> None:
    if len(session.parts) > 1:
        number, part = session.progress.part + 1, session.part
        who = "" if part.answers else "; it cannot read yet, accuracies are those of its eyes"
        display.note(
            f"part {number} of {len(session.parts)}, {part.name}: at most {part.steps} steps{who}"
        )


def _look_at_all(session: TrainingSession, display: TrainingDisplay, stop: StopRequest) -> None:
    """Open every picture once: a damaged one shows now, not after an hour."""
    display.doing("opening pictures")
    last: Path | None = None
    try:
        for example in session.examples:
            if example.pair.first != last:
                last = example.pair.first
                stop.check()
                session.shelf.levels(example.pair)
    except BadInput as error:
        raise BadInput(f"{', '.join(session.settings.pairs)} {error}") from error


def _figures(session: TrainingSession, loss: float, table: AccuracyTable) -> dict[str, Any]:
    accuracy = {name: asdict(cell.accuracy) for name, cell in table.cells.items()}
    figures = {"step": session.progress.step, "part": session.part.name}
    return {**figures, "validation_loss": loss, "accuracy": accuracy}

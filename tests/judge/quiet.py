"""Trainings for tests: small, and with a display that prints nothing and remembers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from onefill.interrupt import StopRequest
from onefill.judge.training.display import PlainTrainingDisplay
from onefill.judge.training.folder import TrainingFolder, open_folder
from onefill.judge.training.loop import train
from onefill.judge.training.session import TrainingSession, open_session
from onefill.judge.training.settings import JudgeTrainingSettings
from onefill.tasks.registry import load_tasks


class Quiet(PlainTrainingDisplay):
    """Keeps what it is told; asks to stop at a step if it should."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.lines: list[str] = []
        self.losses: list[float] = []
        self.stop = StopRequest()
        self._stop_at = stop_at
        self._total = 0

    def step(self, step: int, loss: float, right: Any) -> None:
        self.losses.append(loss)
        self.stop.asked = step == self._stop_at

    def validation(self, step: int, loss: float, table: Any, best: bool) -> None:
        self.lines.append(f"{step} {loss:.4f}")

    def note(self, text: str) -> None:
        self.lines.append(text)


def run(session: TrainingSession, stop_at: int | None = None) -> dict[str, Any]:
    display = Quiet(stop_at)
    return train(session, display, display.stop)


def open_quietly(
    where: Path, new_judge: Callable[..., Any], *, resume: bool, **asked: Any
) -> TrainingSession:
    """A short session on the CPU in a folder, or the one that is there, taken up."""
    usual = {"method": "full", "steps": 6, "batch": 4, "rate": 3e-3, "device": "cpu"}
    settings = JudgeTrainingSettings(**{**usual, "validation_share": 0.3, **asked})
    folder = TrainingFolder(where)
    if resume:
        folder, settings = open_folder(where)
    return open_session(
        settings,
        folder,
        load_tasks(),
        resume=resume,
        offline=True,
        note=lambda text: None,
        new_judge=new_judge,
    )

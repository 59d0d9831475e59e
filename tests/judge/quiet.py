"""A training's display for tests: it prints nothing and remembers what it was told."""

from __future__ import annotations

from typing import Any

from onefill.interrupt import StopRequest
from onefill.judge.training.display import PlainTrainingDisplay
from onefill.judge.training.loop import train
from onefill.judge.training.session import TrainingSession


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

"""Where the figures of a run go besides its folder: TensorBoard, Weights & Biases, Trackio."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from onefill.errors import BadInput, OnefillError
from onefill.rl.config import RunConfig
from onefill.rl.run_folder import RunFolder

_MODULES = {"tensorboard": "tensorboardX", "wandb": "wandb", "trackio": "trackio"}


class Tracker(Protocol):
    """A service that follows figures and sheets; see ``rl.metrics.Follower``."""

    def log(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
        """A line of metrics was written."""
        ...

    def picture(self, step: int, path: Path) -> None:
        """A sample sheet was drawn."""
        ...

    def close(self) -> None:
        """The run ends here, for now."""
        ...


def check_trackers(config: RunConfig) -> None:
    """See that what ``trackers.use`` names is installed.

    Raises:
        BadInput: it is not; the message says what to install.
    """
    for name in config.trackers.use:
        if importlib.util.find_spec(_MODULES[name]) is None:
            extra = "" if name == "tensorboard" else f"[{name}]"
            raise BadInput(
                f"trackers.use: {name} is not installed; pip install 'onefill{extra}', or leave "
                f"it out"
            )


@contextmanager
def open_trackers(config: RunConfig, folder: RunFolder, step: int) -> Iterator[Sequence[Tracker]]:
    """While this lasts, the trackers that ``config.trackers`` names.

    Args:
        config: of the run; all of it is filed with the run.
        folder: of the run.
        step: updates done; what an earlier process told of later ones is void.

    Raises:
        OnefillError: a tracker does not begin; the message has its reason.
    """
    with ExitStack() as stack:
        trackers = []
        for name in dict.fromkeys(config.trackers.use):
            try:
                tracker = _OPEN[name](config, folder, step)
            except Exception as error:  # whatever a service raises when it refuses
                reason = str(error).strip().partition("\n")[0] or type(error).__name__
                raise OnefillError(
                    f"trackers.use: {name} does not begin ({reason}); log in to it, or leave it out"
                ) from error
            stack.callback(tracker.close)
            trackers.append(tracker)
        yield trackers


def flatten(kind: str, values: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a line of metrics under path-like names, as ``reward/fill/structure``.

    Args:
        kind: of the line; what a step says of no single task stands under ``train``.
        values: of the line.
    """
    prefix = "train/" if kind == "step" else ""
    figures: dict[str, float] = {}

    def add(name: str, value: Any) -> None:
        if isinstance(value, Mapping):
            for key, inner in value.items():
                add(f"{name}/{key}", inner)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            figures[name] = float(value)

    for key, value in values.items():
        add(key if isinstance(value, Mapping) else f"{prefix}{key}", value)
    return figures


class _TensorBoard:
    """Event files in the run folder; ``tensorboard --logdir runs`` shows them.

    The library's own writer hands its events to a thread. On a full disk that dies with a
    traceback, and the run would wait for it for ever; written here, a full disk is heard of.
    """

    def __init__(self, config: RunConfig, folder: RunFolder, step: int) -> None:
        from tensorboardX import summary
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog

        self._summary, self._event = summary, Event
        place = folder.path / "tensorboard"
        place.mkdir(exist_ok=True)
        self._file = EventsWriter(str(place / "events"))
        if step:
            begun = SessionLog(status=SessionLog.START)
            self._file.write_event(
                Event(wall_time=time.time(), step=step + 1, file_version="brain.Event:2")
            )
            self._file.write_event(Event(wall_time=time.time(), step=step + 1, session_log=begun))
        self._add(summary.text("config", f"```\n{folder.config_file.read_text('utf-8')}```"), step)

    def log(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
        for name, value in flatten(kind, values).items():
            self._add(self._summary.scalar(name, value), step)
        self._file.flush()

    def picture(self, step: int, path: Path) -> None:
        with Image.open(path) as sheet:
            pixels = np.asarray(sheet.convert("RGB"))
        self._add(self._summary.image("samples", pixels, dataformats="HWC"), step)

    def close(self) -> None:
        self._file.close()

    def _add(self, summary: Any, step: int) -> None:
        self._file.write_event(self._event(wall_time=time.time(), step=step, summary=summary))


class _Wandb:
    """A run of Weights & Biases that a resumed run goes on with."""

    def __init__(self, config: RunConfig, folder: RunFolder, step: int) -> None:
        self._wandb = importlib.import_module("wandb")
        self._run = self._wandb.init(
            project=config.trackers.project,
            name=folder.path.absolute().name,
            id=_identity(folder),
            resume="allow",
            config=config.model_dump(),
            dir=str(folder.path),
        )
        # A resumed run tells of steps anew that were lost; wandb's own counter only rises.
        self._run.define_metric("*", step_metric="step")

    def log(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
        self._run.log({**flatten(kind, values), "step": step})

    def picture(self, step: int, path: Path) -> None:
        self._run.log({"samples": self._wandb.Image(str(path)), "step": step})

    def close(self) -> None:
        self._run.finish()


class _Trackio:
    """A run of Trackio that a resumed run goes on with."""

    def __init__(self, config: RunConfig, folder: RunFolder, step: int) -> None:
        self._trackio = importlib.import_module("trackio")
        name = folder.path.absolute().name
        self._run = self._trackio.init(
            project=config.trackers.project,
            name=f"{name}-{_identity(folder)}",
            resume="allow",
            config=config.model_dump(),
        )

    def log(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
        self._trackio.log(flatten(kind, values), step=step)

    def picture(self, step: int, path: Path) -> None:
        self._trackio.log({"samples": self._trackio.Image(str(path))}, step=step)

    def close(self) -> None:
        self._trackio.finish()


_OPEN: dict[str, type[_TensorBoard | _Wandb | _Trackio]] = {
    "tensorboard": _TensorBoard,
    "wandb": _Wandb,
    "trackio": _Trackio,
}


def _identity(folder: RunFolder) -> str:
    """Eight letters that stay with a run: two of one name in two places are two runs."""
    return hashlib.sha256(str(folder.path.absolute()).encode()).hexdigest()[:8]

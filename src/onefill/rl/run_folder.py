"""The folder of a run: what lies where in it, and when it may be used."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from onefill.errors import BadInput
from onefill.files import replace_text
from onefill.rl.config import RunConfig
from onefill.rl.config_file import build_config, differences, dump_config
from onefill.rl.resume import refuse_changes

_MAY_CHANGE = (
    *("steps", "evaluation.every", "samples.every"),
    *("checkpoints.", "trackers.", "monitor.", "cache."),
)
"""Settings (or sections) that do not reach into the updates: a resumed run may change them."""


class RunFolder:
    """``runs/NAME``: what a run was asked to do, what it noted down, what came of it.

    Beside the paths named here, a finished run leaves what it hands out in ``adapter/`` or
    ``pipeline/``; if that is the moving average, the weights of the last update in
    ``adapter-last/`` or ``pipeline-last/``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config_file = path / "config.yaml"
        self.metrics = path / "metrics.jsonl"
        self.samples = path / "samples"
        self.checkpoints = path / "checkpoints"
        self.summary = path / "summary.json"
        self.status = path / "status.json"
        self.report = path / "report.html"

    def create(self, config: RunConfig) -> None:
        """Make the folder and write the configuration."""
        self.samples.mkdir(parents=True, exist_ok=True)
        self.checkpoints.mkdir(exist_ok=True)
        self.write_config(config)

    def write_config(self, config: RunConfig) -> None:
        """Write ``config.yaml``, whole or not at all."""
        replace_text(self.config_file, dump_config(config))

    def write_status(self, status: Mapping[str, Any]) -> None:
        """Write ``status.json``, whole or not at all."""
        replace_text(self.status, json.dumps(status, indent=2, ensure_ascii=False) + "\n")

    def write_report(self, page: str) -> None:
        """Write ``report.html``, whole or not at all."""
        replace_text(self.report, page)

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write ``summary.json``, whole or not at all."""
        replace_text(self.summary, json.dumps(summary, indent=2, ensure_ascii=False) + "\n")


def default_name(now: datetime) -> Path:
    """Where a run goes that nobody named: ``runs/2025-01-31-174500``."""
    return Path("runs") / now.strftime("%Y-%m-%d-%H%M%S")


def new_run_folder(path: Path) -> RunFolder:
    """The folder of a new run, checked but not made.

    Raises:
        BadInput: it is a file, has something in it, or cannot be written.
    """
    if path.exists() and not path.is_dir():
        raise BadInput(f"--out {path}: is a file; name a folder that does not exist yet")
    if path.is_dir() and any(path.iterdir()):
        raise BadInput(
            f"--out {path}: is not empty; name another, or go on with that run: "
            f"onefill train --resume {path}"
        )
    _check_writable("--out", path)
    return RunFolder(path)


def open_run_folder(
    path: Path, flags: Mapping[str, Any], forced: Collection[str] = ()
) -> tuple[RunFolder, RunConfig]:
    """An existing run and the configuration to go on with.

    Args:
        path: the folder of the run.
        flags: what the command line gave besides; only what leaves the updates alone may
            differ from the run's own configuration (``steps``, how often it evaluates, samples
            and saves, and where its figures go).
        forced: settings that may differ all the same.

    Raises:
        BadInput: it is no run, cannot be written, or a flag would change the training; the
            message names the difference.
    """
    folder = RunFolder(path)
    if not folder.config_file.is_file():
        raise BadInput(
            f"--resume {path}: no run there ({folder.config_file.name} is missing); check the path"
        )
    _check_writable("--resume", path)
    recorded = build_config(folder.config_file, {})
    config = build_config(folder.config_file, flags)
    changed = differences(recorded, config)
    refuse_changes(
        path,
        {name: before for name, (before, _) in changed.items()},
        {name: after for name, (_, after) in changed.items()},
        [name for name in changed if name in forced or name.startswith(_MAY_CHANGE)],
    )
    return folder, config


def _check_writable(flag: str, path: Path) -> None:
    existing = path.absolute()
    while not existing.exists():
        existing = existing.parent
    if not existing.is_dir():
        raise BadInput(f"{flag} {path}: {existing} is a file; choose another place")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise BadInput(f"{flag} {path}: {existing} cannot be written to; choose another place")

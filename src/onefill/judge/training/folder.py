"""Where a judge's training keeps what it needs to go on, and how the finished judge gets out.

``OUT/training`` holds settings, checkpoints and figures; the judge itself is staged in it and moved
to ``OUT`` when it is whole, ``config.json`` last: without it a folder is no judge.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from onefill.errors import BadInput, OnefillError
from onefill.files import replace_text
from onefill.judge.training.settings import JudgeTrainingSettings


class TrainingFolder:
    """The files of one training.

    Attributes:
        path: the folder that becomes a judge.
        inside: what belongs to the training.
        settings: what it was asked to do, and the hashes of its pairs files.
        metrics: one JSON line for each step and each validation.
        checkpoints: staged and renamed.
        stage: where the judge is put together.
        summary: written last of all.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.inside = path / "training"
        self.settings = self.inside / "settings.json"
        self.metrics = self.inside / "metrics.jsonl"
        self.checkpoints = self.inside / "checkpoints"
        self.stage = self.inside / "judge"
        self.summary = self.inside / "summary.json"

    def create(self, settings: JudgeTrainingSettings) -> None:
        """Make the folder and write down what was asked.

        Raises:
            OnefillError: it cannot be written.
        """
        document = {"settings": settings.to_json(), "files": _hashes(settings)}
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            replace_text(self.settings, json.dumps(document, indent=2, ensure_ascii=False) + "\n")
        except OSError as error:
            raise OnefillError(f"{self.path}: cannot be written ({error}); make room") from error

    def note(self, row: Mapping[str, Any]) -> None:
        """Append a line to the figures."""
        with self.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def forget_after(self, step: int, parts: Sequence[str] = ()) -> None:
        """Drop the figures of steps, and of whole parts, that will be done again."""
        if not self.metrics.exists():
            return
        kept = []
        for line in self.metrics.read_text(encoding="utf-8").splitlines(keepends=True):
            try:
                row = json.loads(line)
            except ValueError:
                break  # cut short by a crash
            if row["step"] <= step and row.get("part") not in parts:
                kept.append(line)
        replace_text(self.metrics, "".join(kept))

    def discard_if_unused(self) -> None:
        """Leave nothing behind of a training that was refused before its first checkpoint."""
        if any(self.checkpoints.glob("step-*")):
            return
        shutil.rmtree(self.inside, ignore_errors=True)
        if not any(self.path.iterdir()):
            self.path.rmdir()

    def publish(self, summary: Mapping[str, Any]) -> None:
        """Move the staged judge out; a crash in between is made good by resuming."""
        names = sorted(entry.name for entry in self.stage.iterdir())
        names.sort(key=lambda name: name == "config.json")
        for name in names:
            target = self.path / name
            if target.is_dir():
                shutil.rmtree(target)
            (self.stage / name).replace(target)
        self.stage.rmdir()
        replace_text(self.summary, json.dumps(summary, indent=2, ensure_ascii=False) + "\n")
        shutil.rmtree(self.checkpoints)


def new_folder(path: Path) -> TrainingFolder:
    """The folder of a new training, checked but not made.

    Raises:
        BadInput: it is a file, has something in it, or cannot be written.
    """
    if path.exists() and not path.is_dir():
        raise BadInput(f"--out {path}: is a file; name a folder that does not exist yet")
    folder = TrainingFolder(path)
    if path.is_dir() and any(path.iterdir()):
        hint = "name another folder"
        if folder.settings.is_file() and not folder.summary.is_file():
            hint += f", or go on with that training: onefill train-judge --resume {path}"
        raise BadInput(f"--out {path}: is not empty; {hint}")
    existing = path.absolute()
    while not existing.exists():
        existing = existing.parent
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise BadInput(f"--out {path}: {existing} cannot be written to; choose another place")
    return folder


def open_folder(path: Path) -> tuple[TrainingFolder, JudgeTrainingSettings]:
    """An interrupted training and what it was asked to do.

    Raises:
        BadInput: there is none, it is finished, or a pairs file is another than it was.
    """
    folder = TrainingFolder(path)
    if not folder.settings.is_file():
        raise BadInput(
            f"--resume {path}: no training there ({folder.settings.relative_to(path)} is missing); "
            "check the path"
        )
    if folder.summary.is_file():
        raise BadInput(
            f"--resume {path}: this training is finished; to train that judge further, start a new "
            f"one with --base {path}"
        )
    settings = JudgeTrainingSettings.from_file(folder.settings)
    recorded = json.loads(folder.settings.read_text(encoding="utf-8")).get("files", {})
    for name, digest in _hashes(settings).items():
        if recorded.get(name) != digest:
            raise BadInput(
                f"--resume {path}: {name} has changed since the training began; put the old file "
                "back, or start a new training"
            )
    return folder, settings


def _hashes(settings: JudgeTrainingSettings) -> dict[str, str]:
    files: Sequence[str] = [
        *settings.pairs,
        *([settings.validation] if settings.validation else []),
    ]
    hashes = {}
    for name in files:
        try:
            hashes[name] = hashlib.sha256(Path(name).read_bytes()).hexdigest()
        except OSError as error:
            raise BadInput(
                f"{name}: cannot be read ({error.strerror}); name a jsonl file of pairs"
            ) from error
    return hashes

"""Checkpoints that are whole or absent: staged, synced, hashed, and renamed last.

A checkpoint is a folder ``step-N`` with one safetensors file per group of tensors, a
``state.json``, and a ``manifest.json`` that holds the SHA-256 of every other file. Nothing in
it is pickled.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from onefill.errors import BadInput, OnefillError

_MANIFEST = "manifest.json"
_STATE = "state.json"
_PREFIX = "step-"
_NAME = re.compile(rf"{_PREFIX}(\d+)")
_STAGING = ".staging-"
_DISCARDED = ".discarded-"


@dataclass(frozen=True)
class Checkpoint:
    """Everything a run needs to go on: groups of tensors, and values for JSON."""

    tensors: Mapping[str, Mapping[str, Tensor]]
    state: Mapping[str, Any]


@dataclass(frozen=True)
class Retention:
    """Which checkpoints stay when a new one is written.

    Attributes:
        last: how many of the newest, the new one included; at least 1.
        every: those whose step divides by this; 0 for none.
        best: the step of the best one; None if none is known.
    """

    last: int
    every: int = 0
    best: int | None = None

    def keeps(self, step: int) -> bool:
        """Whether the checkpoint of ``step`` stays however old it is."""
        return step == self.best or (self.every > 0 and step % self.every == 0)


def write_checkpoint(
    folder: Path, step: int, checkpoint: Checkpoint, keep: int | Retention
) -> Path:
    """Write ``folder/step-N`` and drop those that are not to be kept.

    At any moment a crash leaves either the whole new checkpoint or none of it, and never
    harms an older one.

    Args:
        folder: of all checkpoints of a run.
        step: how many updates the weights have seen.
        checkpoint: what to write.
        keep: which checkpoints stay; a number is of the newest, the new one included.

    Raises:
        OnefillError: it cannot be written.
    """
    retention = Retention(keep) if isinstance(keep, int) else keep
    target = folder / f"{_PREFIX}{step:06d}"
    staging = folder / f"{_STAGING}{step}"
    try:
        _clear(folder)
        if target.exists():
            if find_damage(target) is None:
                return target  # of the same step and so with the same content
            _discard(target)
        _stage(staging, checkpoint)
        staging.rename(target)
        _sync(folder)
        for old in list_checkpoints(folder)[: -retention.last]:
            if not retention.keeps(step_of(old)):
                _discard(old)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(staging, ignore_errors=True)
        raise OnefillError(
            f"{target}: cannot be written ({error}); older checkpoints are whole, make room and "
            "resume from the last"
        ) from error
    return target


def _clear(folder: Path) -> None:
    """Remove what a crash left half written or half removed."""
    folder.mkdir(parents=True, exist_ok=True)
    for leftover in [*folder.glob(f"{_STAGING}*"), *folder.glob(f"{_DISCARDED}*")]:
        shutil.rmtree(leftover)


def _stage(staging: Path, checkpoint: Checkpoint) -> None:
    """Write all files of a checkpoint and bring them to the disk itself."""
    staging.mkdir()
    for name, tensors in checkpoint.tensors.items():
        save_file(
            {key: tensor.contiguous() for key, tensor in tensors.items()},
            staging / f"{name}.safetensors",
        )
    (staging / _STATE).write_text(json.dumps(checkpoint.state, indent=1), encoding="utf-8")
    hashes = {path.name: _sha256(path) for path in sorted(staging.iterdir())}
    (staging / _MANIFEST).write_text(json.dumps(hashes, indent=1), encoding="utf-8")
    for path in staging.iterdir():
        _sync(path)
    _sync(staging)


def list_checkpoints(folder: Path) -> list[Path]:
    """The finished checkpoints of a run, oldest first."""
    found = (path for path in folder.glob(f"{_PREFIX}*") if _NAME.fullmatch(path.name))
    return sorted((path for path in found if path.is_dir()), key=step_of)


def step_of(path: Path) -> int:
    """The step of a checkpoint, by the name of its folder."""
    return int(path.name.removeprefix(_PREFIX))


def read_last_checkpoint(
    folder: Path, pass_over: Callable[[str], None] | None = None
) -> Checkpoint:
    """The newest checkpoint of a run, after comparing every file with the manifest.

    Args:
        folder: of all checkpoints of a run.
        pass_over: told in one line about each damaged checkpoint that is passed over for the
            one before it; without it, the newest must be whole.

    Raises:
        BadInput: there is none, or the newest (with ``pass_over``: every one) is damaged; the
            message names the file and the checkpoint to fall back on.
    """
    found = list_checkpoints(folder)
    if not found:
        raise BadInput(f"{folder}: no checkpoint in it to resume from; start the run anew")
    path = found.pop()
    while (damage := find_damage(path)) is not None:
        if not found:
            raise BadInput(f"{path}: {damage}; there is no older one; start the run anew")
        if pass_over is None:
            raise BadInput(
                f"{path}: {damage}; remove the folder {path} to resume from {found[-1].name}"
            )
        pass_over(f"{path}: {damage}; {found[-1].name} is used in its place")
        path = found.pop()
    return read_checkpoint(path)


def read_checkpoint(path: Path) -> Checkpoint:
    """What a whole checkpoint holds; see ``find_damage``."""
    tensors = {file.stem: load_file(file) for file in sorted(path.glob("*.safetensors"))}
    return Checkpoint(tensors, json.loads((path / _STATE).read_text(encoding="utf-8")))


def find_damage(path: Path) -> str | None:
    """What is wrong with a checkpoint, or None."""
    try:
        hashes = json.loads((path / _MANIFEST).read_text(encoding="utf-8"))
        for name, expected in hashes.items():
            if not (path / name).is_file():
                return f"{name} is missing"
            if _sha256(path / name) != expected:
                return f"{name} is damaged, it does not match its hash in {_MANIFEST}"
    except (OSError, ValueError, AttributeError) as error:
        return f"{_MANIFEST} cannot be read ({error})"
    return None


def _discard(path: Path) -> None:
    """Remove a checkpoint so that a crash half-way leaves nothing that looks like one."""
    aside = path.with_name(f"{_DISCARDED}{path.name}")
    path.rename(aside)
    shutil.rmtree(aside)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

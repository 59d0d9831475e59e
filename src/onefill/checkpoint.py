"""Checkpoints that are whole or absent: staged, synced, hashed, and renamed last.

A checkpoint is a folder ``step-N`` with one safetensors file per group of tensors, a
``state.json``, and a ``manifest.json`` that holds the SHA-256 of every other file. Nothing in
it is pickled.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
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
_STAGING = ".staging-"
_DISCARDED = ".discarded-"


@dataclass(frozen=True)
class Checkpoint:
    """Everything a run needs to go on: groups of tensors, and values for JSON."""

    tensors: Mapping[str, Mapping[str, Tensor]]
    state: Mapping[str, Any]


def write_checkpoint(folder: Path, step: int, checkpoint: Checkpoint, keep: int) -> Path:
    """Write ``folder/step-N`` and drop all but the last ``keep``.

    At any moment a crash leaves either the whole new checkpoint or none of it, and never
    harms an older one.

    Args:
        folder: of all checkpoints of a run.
        step: how many updates the weights have seen.
        checkpoint: what to write.
        keep: how many checkpoints stay, the new one included.

    Raises:
        OnefillError: it cannot be written.
    """
    target = folder / f"{_PREFIX}{step:06d}"
    if target.exists():
        return target  # of the same step and so with the same content, and it is whole
    staging = folder / f"{_STAGING}{step}"
    try:
        _clear(folder)
        _stage(staging, checkpoint)
        staging.rename(target)
        _sync(folder)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(staging, ignore_errors=True)
        raise OnefillError(
            f"{target}: cannot be written ({error}); older checkpoints are whole, make room and "
            "resume from the last"
        ) from error
    for old in list_checkpoints(folder)[:-keep]:
        _discard(old)
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
    return sorted(path for path in folder.glob(f"{_PREFIX}*") if path.is_dir())


def read_last_checkpoint(folder: Path) -> Checkpoint:
    """The newest checkpoint of a run, after comparing every file with the manifest.

    Raises:
        BadInput: there is none, or the newest is damaged; the message names the file and
            the checkpoint to fall back on.
    """
    found = list_checkpoints(folder)
    if not found:
        raise BadInput(f"{folder}: no checkpoint in it to resume from; start the run anew")
    path = found[-1]
    damage = _damage(path)
    if damage:
        older = (
            f"remove the folder {path} to resume from {found[-2].name}"
            if len(found) > 1
            else "there is no older one; start the run anew"
        )
        raise BadInput(f"{path}: {damage}; {older}")
    tensors = {file.stem: load_file(file) for file in sorted(path.glob("*.safetensors"))}
    return Checkpoint(tensors, json.loads((path / _STATE).read_text(encoding="utf-8")))


def _damage(path: Path) -> str | None:
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

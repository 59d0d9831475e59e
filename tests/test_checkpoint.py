from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import time
from pathlib import Path
from typing import NoReturn

import pytest
import torch

from onefill.checkpoint import (
    Checkpoint,
    Retention,
    list_checkpoints,
    read_last_checkpoint,
    write_checkpoint,
)
from onefill.errors import BadInput, OnefillError


def make(step: int) -> Checkpoint:
    tensors = {"a.b": torch.full((64, 64), float(step)), "c": torch.tensor(step)}
    return Checkpoint({"weights": tensors, "none": {}}, {"step": step, "rng": 2**100})


def steps(folder: Path) -> list[str]:
    return [path.name for path in list_checkpoints(folder)]


def test_what_was_written_is_read(tmp_path):
    write_checkpoint(tmp_path / "c", 7, make(7), keep=2)
    found = read_last_checkpoint(tmp_path / "c")
    assert found.state == {"step": 7, "rng": 2**100}
    for name, tensor in make(7).tensors["weights"].items():
        assert torch.equal(found.tensors["weights"][name], tensor)
    assert found.tensors["none"] == {}


def test_only_the_last_ones_stay(tmp_path):
    for step in (1, 2, 9, 10, 1000):
        write_checkpoint(tmp_path, step, make(step), keep=2)
    assert steps(tmp_path) == ["step-000010", "step-001000"]
    assert len(list(tmp_path.iterdir())) == 2


def test_every_so_often_one_stays_and_so_does_the_best(tmp_path):
    for step in range(1, 12):
        write_checkpoint(tmp_path, step, make(step), Retention(last=2, every=5, best=min(step, 3)))
    assert steps(tmp_path) == [f"step-{n:06d}" for n in (3, 5, 10, 11)]


def test_steps_are_ordered_as_numbers_and_other_folders_are_none_of_ours(tmp_path):
    (tmp_path / "step-final").mkdir()
    for step in (999_999, 1_000_000):
        write_checkpoint(tmp_path, step, make(step), keep=3)
    assert read_last_checkpoint(tmp_path).state["step"] == 1_000_000
    assert steps(tmp_path) == ["step-999999", "step-1000000"]


def test_nothing_is_pickled(tmp_path):
    path = write_checkpoint(tmp_path, 1, make(1), keep=1)
    assert {file.suffix for file in path.iterdir()} == {".safetensors", ".json"}


@pytest.mark.parametrize("file", ["weights.safetensors", "state.json", "manifest.json"])
@pytest.mark.parametrize("harm", ["flip", "cut", "remove"])
def test_a_damaged_checkpoint_is_named_with_the_one_before_it(tmp_path, file, harm):
    for step in (1, 2):
        write_checkpoint(tmp_path, step, make(step), keep=2)
    path = tmp_path / "step-000002" / file
    content = path.read_bytes()
    if harm == "flip":
        path.write_bytes(content[:-20] + bytes([content[-20] ^ 1]) + content[-19:])
    elif harm == "cut":
        path.write_bytes(content[: len(content) // 2])
    else:
        path.unlink()
    with pytest.raises(BadInput) as told:
        read_last_checkpoint(tmp_path)
    message = str(told.value)
    assert "step-000002" in message and "resume from step-000001" in message
    assert "manifest.json" in message or file in message
    shutil.rmtree(tmp_path / "step-000002")
    assert read_last_checkpoint(tmp_path).state["step"] == 1


def test_a_damaged_checkpoint_may_be_passed_over_and_is_written_anew(tmp_path):
    for step in (1, 2, 3):
        write_checkpoint(tmp_path, step, make(step), keep=3)
    for step in (2, 3):
        (tmp_path / f"step-00000{step}" / "state.json").write_text("{}")
    told: list[str] = []
    assert read_last_checkpoint(tmp_path, told.append).state["step"] == 1
    assert [line.partition(": ")[0][-11:] for line in told] == ["step-000003", "step-000002"]
    assert "step-000001 is used in its place" in told[1]
    write_checkpoint(tmp_path, 3, make(3), keep=3)
    assert read_last_checkpoint(tmp_path).state == make(3).state
    (tmp_path / "step-000001" / "state.json").unlink()
    shutil.rmtree(tmp_path / "step-000003")
    with pytest.raises(BadInput, match=r"state\.json is missing; there is no older one"):
        read_last_checkpoint(tmp_path, told.append)


def test_a_crash_just_before_the_rename_leaves_the_last_one_whole(tmp_path, monkeypatch):
    write_checkpoint(tmp_path, 1, make(1), keep=1)

    def crash(self: Path, target: Path) -> Path:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "rename", crash)
    with pytest.raises(KeyboardInterrupt):
        write_checkpoint(tmp_path, 2, make(2), keep=1)
    monkeypatch.undo()
    assert read_last_checkpoint(tmp_path).state["step"] == 1
    write_checkpoint(tmp_path, 2, make(2), keep=1)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000002"]


def test_a_full_disk_is_told_and_leaves_the_last_one_whole(tmp_path, monkeypatch):
    write_checkpoint(tmp_path, 1, make(1), keep=1)

    def refuse(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OnefillError, match=r"step-000002: cannot be written \(.*No space left"):
        write_checkpoint(tmp_path, 2, make(2), keep=1)
    monkeypatch.undo()
    assert read_last_checkpoint(tmp_path).state["step"] == 1
    assert [path.name for path in tmp_path.iterdir()] == ["step-000001"]


def write_without_pause(folder: Path, step: int) -> NoReturn:
    """What a forked child does until it is killed."""
    try:
        while True:
            step += 1
            write_checkpoint(folder, step, make(step), keep=2)
    finally:
        os._exit(1)


def test_a_kill_at_any_moment_leaves_a_whole_checkpoint(tmp_path):
    """A child writes without pause and is killed at drawn moments, ten times over."""
    write_checkpoint(tmp_path, 1, make(1), keep=2)
    rng = random.Random(0)
    last = 1
    for _ in range(10):
        child = os.fork()
        if child == 0:
            write_without_pause(tmp_path, last)
        begin = time.monotonic()
        while steps(tmp_path)[-1] == f"step-{last:06d}" and time.monotonic() < begin + 20:
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.05))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        found = read_last_checkpoint(tmp_path)
        step = found.state["step"]
        assert step > last
        assert torch.equal(found.tensors["weights"]["a.b"], make(step).tensors["weights"]["a.b"])
        last = step

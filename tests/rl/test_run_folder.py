from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

import pytest

from onefill.errors import BadInput
from onefill.rl.config import RunConfig
from onefill.rl.metrics import MetricsLog, PhaseTimer
from onefill.rl.run_folder import default_name, new_run_folder, open_run_folder


def test_the_default_name_is_the_time():
    assert default_name(datetime(2025, 1, 31, 17, 45, 2)) == Path("runs/2025-01-31-174502")


def test_a_folder_with_something_in_it_is_refused(tmp_path):
    (tmp_path / "run").mkdir()
    assert new_run_folder(tmp_path / "run").path == tmp_path / "run"
    (tmp_path / "run" / "x").write_text("")
    with pytest.raises(BadInput, match=r"is not empty; .*--resume"):
        new_run_folder(tmp_path / "run")
    with pytest.raises(BadInput, match="is a file"):
        new_run_folder(tmp_path / "run" / "x")
    with pytest.raises(BadInput, match="x is a file"):
        new_run_folder(tmp_path / "run" / "x" / "y")


def test_a_place_that_cannot_be_written_is_refused_before_anything_is_made(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    with pytest.raises(BadInput, match="cannot be written to"):
        new_run_folder(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_reopened_with_its_own_settings(tmp_path):
    folder = new_run_folder(tmp_path / "run")
    folder.create(RunConfig(steps=5, lam=0.5))
    config = open_run_folder(tmp_path / "run", {"checkpoints": {"keep": 1}})[1]
    assert (config.steps, config.lam, config.checkpoints.keep) == (5, 0.5, 1)
    with pytest.raises(BadInput, match="no run there"):
        open_run_folder(tmp_path, {})


def test_half_a_line_of_a_killed_run_is_passed_over(tmp_path):
    log = MetricsLog(tmp_path / "m.jsonl")
    assert log.read("step") == []
    log.append("step", 1, {"loss": 0.5})
    log.append("start", 0, {})
    with (tmp_path / "m.jsonl").open("a") as file:
        file.write('{"kind": "step", "st')
    assert log.read("step") == [{"kind": "step", "step": 1, "loss": 0.5}]
    log.drop_after(1)
    log.append("step", 2, {"loss": 0.4})
    assert [row["step"] for row in log.read("step")] == [1, 2]


def test_a_line_that_a_disk_has_spoilt_is_passed_over(tmp_path):
    log = MetricsLog(tmp_path / "m.jsonl")
    for step in (1, 2, 3, 4):
        log.append("step", step, {"loss": 0.5})
    data = (tmp_path / "m.jsonl").read_bytes()
    lines = data.splitlines(keepends=True)
    lines[1] = lines[1].replace(b'"step"', b'"stfp"')
    lines[2] = b"\xff\xfe" + lines[2][5:]
    (tmp_path / "m.jsonl").write_bytes(b"".join(lines))
    log.drop_after(9)
    assert [row["step"] for row in log.read()] == [1, 4]


def test_the_phases_of_a_step_add_up_to_its_time():
    timer = PhaseTimer()
    with timer.phase("judge"):
        sum(range(200_000))
    sum(range(200_000))
    first = timer.take()
    assert first["judge"] > 0 and first["other"] > 0 and first["rollout"] == 0
    assert timer.take()["judge"] == 0

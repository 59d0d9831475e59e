from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from safetensors import SafetensorError

from onefill.errors import BadInput, OnefillError
from onefill.interrupt import Interrupted
from onefill.rl.config import RunConfig
from onefill.rl.run_folder import new_run_folder
from onefill.rl.run_status import lock_run, read_status, record_state


@pytest.fixture
def folder(tmp_path):
    made = new_run_folder(tmp_path / "run")
    made.create(RunConfig())
    return made


def test_a_run_that_ends_is_finished(folder):
    with lock_run(folder), record_state(folder, "cpu"):
        assert read_status(folder).state == "running"
    status = read_status(folder)
    assert status.state == "finished"
    assert status.reason is None
    assert {"onefill", "torch", "python", "host", "threads", "command"} <= set(status.environment)
    begun = status.started
    with lock_run(folder), record_state(folder, "cpu"):
        pass
    assert read_status(folder).started == begun


@pytest.mark.parametrize(
    ("error", "state", "reason"),
    [
        (Interrupted("now"), "interrupted", None),
        (OnefillError("the loss is nan"), "failed", "the loss is nan"),
        (KeyboardInterrupt(), "failed", "KeyboardInterrupt: "),
    ],
)
def test_a_run_that_breaks_off_says_how(folder, error, state, reason):
    with pytest.raises(type(error)), record_state(folder, "cpu"):
        raise error
    assert (read_status(folder).state, read_status(folder).reason) == (state, reason)


@pytest.mark.parametrize("kind", [OSError, SafetensorError])
def test_what_cannot_be_written_is_told_in_one_line(folder, kind):
    with (
        pytest.raises(OnefillError, match=r"No space left.*checkpoints are whole.*--resume"),
        record_state(folder, "cpu"),
    ):
        raise kind("No space left on device")
    assert read_status(folder).state == "failed"


def test_two_processes_do_not_train_in_one_folder(folder):
    with (
        lock_run(folder),
        pytest.raises(BadInput, match="another process is training it"),
        lock_run(folder),
    ):
        pass
    with lock_run(folder):
        pass


HOLD = """
import sys, time
from pathlib import Path
from onefill.rl.run_folder import RunFolder
from onefill.rl.run_status import lock_run, record_state
folder = RunFolder(Path(sys.argv[1]))
with lock_run(folder), record_state(folder, "cpu"):
    print("held", flush=True)
    time.sleep(600)
"""


def test_a_killed_run_is_known_by_its_lock(folder):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, folder.path], stdout=subprocess.PIPE, env=environment
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"held\n"
    assert read_status(folder).state == "running"
    child.send_signal(signal.SIGKILL)
    child.wait()
    time.sleep(0.05)
    assert read_status(folder).state == "killed"


def test_a_run_of_unknown_state_is_judged_by_its_summary(folder):
    assert read_status(folder).state == "killed"
    folder.write_summary({"steps": 1})
    assert read_status(folder).state == "finished"
    folder.status.write_text(json.dumps(["no", "status"]))
    assert read_status(folder).state == "finished"

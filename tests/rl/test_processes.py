"""Several processes train one run, and it is the same run."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from onefill.errors import BadInput
from onefill.rl.config_file import build_config
from onefill.rl.processes import Processes

ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    "OMP_NUM_THREADS": "1",
}

MEETING = textwrap.dedent(
    """
    import os, sys, torch
    from onefill.errors import BadInput
    from onefill.rl.processes import join_processes

    try:
        with join_processes() as processes:
            own = processes.index
            assert processes.gather(own) == [0, 1]
            assert [processes.agree(asked) for asked in (False, own == 1)] == [False, True]
            begun = []
            assert processes.spread([2, 3, 4], lambda n: n * n, begun.append) == [4, 9, 16]
            assert begun == [2, 4]
            weights = [torch.nn.Parameter(torch.zeros(2, 3)) for _ in range(3)]
            for number, weight in enumerate(weights[:2]):
                weight.grad = torch.full((2, 3), 10.0 * number + own + 1)
            processes.add_gradients(weights)
            assert [w.grad.unique().tolist() for w in weights[:2]] == [[3.0], [23.0]]
            assert weights[2].grad is None
            if sys.argv[1] == "fail" and own == 1:
                raise BadInput("the second found something wrong")
            if sys.argv[1] == "vanish" and own == 1:
                os._exit(9)
            processes.gather("whatever comes next")
        print("done")
    except Exception as error:
        print(getattr(error, "exit_code", "?"), error)
    """
)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("stay", ["done", "done"]),
        ("fail", ["2 the second found something wrong"] * 2),
        ("vanish", ["1 another process of this run is gone", ""]),
    ],
)
def test_processes_meet_and_end_together(how, said):
    for (out, err), text in zip(start_two(MEETING, how), said, strict=True):
        assert out.startswith(text) and out.count("\n") == bool(text), (out, err)


def start_two(script, *arguments, env=None):
    """What each of two processes that know of each other writes to stdout and stderr."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    place = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, **(env or {})}
    running = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", script, *arguments],
            env={**ENVIRONMENT, **place, "RANK": str(index), "LOCAL_RANK": str(index)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(2)
    ]
    return [process.communicate(timeout=200) for process in running]


def test_each_process_computes_its_share_of_a_batch():
    config = build_config(None, {"batch_size": 7, "optimizer": {"accumulation": 2}})
    parts = config.parts(3)
    shares = [Processes(index, 3).share(parts) for index in range(3)]
    assert [len(share) for share in shares] == [2, 2, 2]
    assert [place for share in shares for part in share for place in part] == list(range(7))
    with pytest.raises(BadInput, match="in each of 4 processes: a batch of 7 has not so many"):
        config.parts(4)


@pytest.mark.parametrize(
    ("arguments", "started", "told"),
    [
        (["--processes", 3], "2", "--processes 3: a launcher has started 2 already"),
        (["--processes", 2, "--dry-run"], "1", "--dry-run: measures one process"),
        (["--processes", 2, "--batch-size", 1], "1", "a batch of 1 has not so many parts"),
    ],
)
def test_what_cannot_be_is_told_before_anything_starts(
    cli, monkeypatch, tmp_path, arguments, started, told
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WORLD_SIZE", started)
    result = cli("train", *arguments)
    assert result.code == 2
    assert told in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_two_processes_train_as_one_and_go_on_as_one_and_stop_as_one(
    random_policy, random_judge, pictures, tmp_path, cli
):
    torch.set_num_threads(1)
    ask = [
        *("--model", random_policy, "--judge", random_judge, "--data", pictures),
        # Three samples of fill and one of removal: one process has both tasks, the other one.
        *("--tasks", "fill=3,removal", "--tasks-per-step", "2", "--batch-size", "4"),
        *("--eval-scenes", "2", "--eval-every", "2", "--reference", "dynamic"),
        *("--lora-rank", "2", "--device", "cpu"),
    ]
    command = [sys.executable, "-m", "onefill", "train"]
    whole, shared = tmp_path / "whole", tmp_path / "shared"
    assert cli("train", *ask, "--steps", 4, "--out", whole).code == 0

    # Two processes take two steps, and one goes on.
    begun = subprocess.run(
        [*command, *ask, "--steps", "2", "--out", shared, "--processes", "2", "--json"],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert begun.returncode == 0, begun.stderr
    assert json.loads(begun.stdout)["steps"] == 2
    assert begun.stderr.count("step 2/2") == 1
    assert json.loads((shared / "status.json").read_text())["environment"]["processes"] == "2"
    copy = shutil.copytree(shared, tmp_path / "copy")
    assert cli("train", "--resume", shared, "--steps", 4).code == 0

    for kind in ("adapter", "adapter-last"):
        one, two = (
            load_file(folder / kind / "pytorch_lora_weights.safetensors")
            for folder in (whole, shared)
        )
        assert one.keys() == two.keys()
        for name, weight in one.items():
            torch.testing.assert_close(two[name], weight, atol=1e-5, rtol=1e-4)
    steps = [
        [row for row in map(json.loads, (folder / "metrics.jsonl").open()) if row["kind"] == "step"]
        for folder in (whole, shared)
    ]
    assert [row["step"] for row in steps[1]] == [1, 2, 3, 4]
    for one, two in zip(*steps, strict=True):
        assert two["loss"] == pytest.approx(one["loss"], abs=1e-5)
        assert two["gradient_norm"] == pytest.approx(one["gradient_norm"], rel=1e-4)
        assert one["reward"].keys() == two["reward"].keys() == {"fill", "removal"}
        for task, rewards in one["reward"].items():
            assert two["reward"][task] == pytest.approx(rewards, abs=1e-5)
        assert two["saturated"] == one["saturated"]

    # What two began, two go on with, until their launcher is told to stop.
    going = subprocess.Popen(
        [*command, "--resume", copy, "--steps", "100000", "--processes", "2"],
        env=ENVIRONMENT,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for_step(going, copy / "metrics.jsonl", 3)
    going.send_signal(signal.SIGTERM)
    _, stderr = going.communicate(timeout=100)
    assert going.returncode == 130, stderr
    last = stderr.splitlines()[-1]
    assert last.startswith("interrupted after step ")
    assert last.endswith(f"go on with: onefill train --resume {copy}")
    step = int(last.removeprefix("interrupted after step ").partition(",")[0])
    assert (copy / "checkpoints" / f"step-{step:06d}").is_dir()
    assert json.loads((copy / "status.json").read_text())["state"] == "interrupted"


def wait_for_step(process: subprocess.Popen[str], metrics: Path, step: int) -> None:
    begin = time.monotonic()
    while f'"kind": "step", "step": {step}' not in metrics.read_text():
        assert process.poll() is None and time.monotonic() < begin + 200, process.communicate()
        time.sleep(0.1)

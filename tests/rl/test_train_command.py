"""``onefill train`` as a user runs it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file

from onefill.tasks.registry import load_tasks

COMMAND = [sys.executable, "-c", "from onefill.cli.app import main; main()", "train"]
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    "OMP_NUM_THREADS": "1",
}


@pytest.fixture
def ask(random_policy, random_judge, pictures):
    """The flags of a tiny run."""
    return [
        *("--model", random_policy, "--judge", random_judge, "--data", pictures),
        *("--tasks", "fill=2,extend,removal", "--batch-size", "2", "--eval-scenes", "2"),
        *("--lora-rank", "2", "--device", "cpu"),
    ]


def test_three_steps_leave_a_whole_run_folder(ask, tmp_path):
    done = subprocess.run(
        [*COMMAND, *ask, "--steps", "3", "--out", tmp_path / "runs" / "first", "--json"],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "runs" / "first"
    printed = json.loads(done.stdout)
    assert printed == json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    check_summary(printed)
    assert "step 3/3" in done.stderr
    assert "9 pictures to train on, 3 others held out" in done.stderr

    assert {path.name for path in folder.iterdir()} == {
        *("config.yaml", "metrics.jsonl", "summary.json", "samples", "checkpoints"),
        *("adapter", "adapter-last", "tensorboard", "status.json", "report.html", ".lock"),
    }
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["kind"] for row in rows] == ["start", "step", "step", "step", "end"]
    assert set(rows[1]["seconds"]) == set(printed["phases"])
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["step-000003"]
    with Image.open(folder / "samples" / "step-000003.png") as sheet:
        assert sheet.width > 4 * 128
    trained = load_file(folder / "adapter" / "pytorch_lora_weights.safetensors")
    assert any(tensor.abs().max() > 0 for name, tensor in trained.items() if "lora_B" in name)


def check_summary(summary):
    assert summary["steps"] == 3
    assert summary["seconds"] > 0
    assert summary["tasks"] == {"fill": 2.0, "extend": 1.0, "removal": 1.0}
    assert summary["reference"] == "fixed"
    four = {"consistency", "structure", "text-alignment", "aesthetics"}
    assert {task: set(found) for task, found in summary["win_rate"].items()} == {
        "fill": four,
        "extend": four,
        "removal": {"removal-quality"},
    }
    for found in summary["win_rate"].values():
        for rates in found.values():
            assert 0 <= rates["low"] <= rates["end"] <= rates["high"] <= 1
            assert 0 <= rates["start"] <= 1


def test_sigterm_saves_and_tells_how_to_go_on(ask, tmp_path, cli):
    folder = tmp_path / "run"
    process = subprocess.Popen(
        [*COMMAND, *ask, "--steps", "100000", "--out", folder],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    metrics = folder / "metrics.jsonl"
    begin = time.monotonic()
    while not metrics.exists() or metrics.read_text().count('"kind": "step"') < 2:
        assert process.poll() is None and time.monotonic() < begin + 200, process.communicate()
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stdout == ""
    last = stderr.splitlines()[-1]
    assert last.startswith("interrupted after step ")
    assert last.endswith(f"go on with: onefill train --resume {folder}")

    (checkpoint,) = (folder / "checkpoints").iterdir()
    step = int(checkpoint.name.removeprefix("step-"))
    assert step == metrics.read_text().count('"kind": "step"')
    torch.set_num_threads(1)
    result = cli("train", "--resume", folder, "--steps", step + 1, "--json")
    assert result.code == 0, result.stderr
    assert json.loads(result.stdout)["steps"] == step + 1
    assert f"step {step + 1}/{step + 1}" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--tasks", "fil"], "--tasks fil: no such task"),
        (["--tasks", "fill=-1"], "the weight of 'fill' must be a number above 0"),
        (["--reference", "moving"], "reference cannot be 'moving'"),
        (["--data", "gone"], "gone: does not exist"),
        (["--model", "gone"], "--model gone: no such model"),
        (["--judge", "gone"], "--judge gone: no such model"),
        (["--config", "gone.yaml"], "--config gone.yaml: cannot be read"),
        (["--config", "bad.yaml"], "bad.yaml, line 2: malformed YAML"),
        (["--config", "typo.yaml"], "typo.yaml, line 1: unknown setting 'stpes'; did you mean"),
        (["--config", "task.yaml"], "tasks fil: no such task"),
        (["--config", "beauty.yaml"], "dimensions: no task of this run has 'beauty'; known are"),
        (["--config", "parts.yaml"], "optimizer.accumulation 3: a batch of 2 has not so many"),
        (["--config", "judges.yaml"], "gone: no such model"),
        (["--tasks-per-step", "4"], "tasks_per_step 4: this run has no more than 3 (fill, extend"),
        (["--tasks-per-step", "3"], "tasks_per_step 3: a batch of 2 has no sample for each; raise"),
        (["--resume", "gone"], "--resume gone: no run there"),
        (["--out", "full"], "--out full: is not empty"),
        (["--out", "bad.yaml"], "--out bad.yaml: is a file"),
        (["--steps", "0"], "'--steps'"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(arguments, told, ask, tmp_path, cli, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("bad.yaml").write_text("steps: 3\nseed: [1")
    Path("typo.yaml").write_text("stpes: 3")
    Path("task.yaml").write_text("tasks: {fil: 1}")
    Path("beauty.yaml").write_text("dimensions: {beauty: 1}")
    Path("parts.yaml").write_text("optimizer: {accumulation: 3}")
    Path("judges.yaml").write_text("reward: {judges: [gone]}")
    Path("full").mkdir()
    Path("full/x").write_text("")
    before = sorted(tmp_path.rglob("*"))
    given = {flag for flag in arguments if flag.startswith("--")}
    pairs = list(zip(ask[::2], ask[1::2], strict=True))
    if "--config" in given:
        given.add("--tasks")
    flags = [word for pair in pairs if pair[0] not in given for word in pair]
    result = cli("train", *([] if "--resume" in given else flags), *arguments)
    assert result.code == 2
    assert result.stdout == ""
    assert told in result.stderr.splitlines()[-1]
    assert len(result.stderr.splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_a_third_partys_task_trains_on_data_made_for_others(ask, tmp_path, cli, install, draw_row):
    install("polish-plugin")
    load_tasks.cache_clear()
    rows = [draw_row(tmp_path / "data", number) for number in range(4)]
    (tmp_path / "data" / "metadata.jsonl").write_text("".join(rows))
    flags = dict(zip(map(str, ask[::2]), ask[1::2], strict=True))
    flags |= {"--tasks": "polish", "--data": tmp_path / "data", "--out": tmp_path / "run"}
    result = cli("train", *(w for pair in flags.items() for w in pair), "--steps", 2, "--json")
    load_tasks.cache_clear()
    assert result.code == 0, result.stderr
    assert set(json.loads(result.stdout)["win_rate"]) == {"polish"}
    assert "polish: the data has no mask for it; it draws its own on every picture" in result.stderr


@pytest.mark.parametrize("train", ["lora", "full"])
def test_a_run_with_every_choice_made_otherwise(ask, tmp_path, cli, random_judge, train):
    torch.set_num_threads(1)
    choices = {
        "loss": "logistic",
        "dimensions": {"aesthetics": 0.0, "fill/structure": 2.5},
        "reference": "dynamic",
        "train": train,
        "optimizer": {"accumulation": 2, "clip_norm": 0.5, "weight_decay": 0.01},
        "lora": {"targets": ["to_q", "to_k"]},
        "penalty": {"kind": "kl", "weight": 0.2},
        "reward": {
            "noise": 0.02,
            "shift": 1,
            "resize": 0.1,
            "symmetric": True,
            "judges": [str(random_judge)],
        },
        "recompute": {"transformer": True, "judge": True, "vae": True},
        "monitor": {"every": 1, "scenes": 1},
        "cache": {"folder": str(tmp_path / "kept"), "gigabytes": 0.1},
    }
    config = tmp_path / "run.yaml"
    config.write_text(yaml.safe_dump(choices))
    folder = tmp_path / "run"
    result = cli("train", *ask, "--config", config, "--steps", 2, "--out", folder, "--json")
    assert result.code == 0, result.stderr
    written = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    for name, value in choices.items():
        assert written[name] == (written[name] | value if isinstance(value, dict) else value)
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["kind"] for row in rows] == ["start", "step", "monitor", "step", "monitor", "end"]
    for row in rows:
        if row["kind"] == "step":
            assert row["kl"] >= 0
            assert row["reward"].keys() == row["tasks"].keys()
            assert not any("aesthetics" in of_task for of_task in row["reward"].values())
        elif row["kind"] == "monitor":
            assert set(row["tasks"]) == {"fill", "extend", "removal"}
    # What is measured at the end is every dimension, trained or not.
    assert "aesthetics" in json.loads(result.stdout)["win_rate"]["fill"]
    assert len(list((tmp_path / "kept").iterdir())) == 4  # conditions of two parts a step


def test_a_dry_run_tells_what_a_run_would_be_and_keeps_nothing(ask, tmp_path, cli, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)
    result = cli("train", *ask, "--steps", 500, "--lambda", "0.5", "--dry-run")
    assert result.code == 0, result.stderr
    assert "steps: 500" in result.stdout.splitlines()
    assert "lam: 0.5" in result.stdout.splitlines()
    assert "measured: the second step" in result.stdout

    result = cli("train", *ask, "--steps", 500, "--stop-on-hacking", "--dry-run", "--json")
    found = json.loads(result.stdout)
    assert found["config"]["monitor"]["stop"] is True
    assert 0 < found["trainable_parameters"] < found["parameters"]
    assert found["seconds"] == pytest.approx(500 * found["seconds_per_step"])
    assert found["seconds_per_step"] > 0
    assert found["memory"]["of"] == "process" and found["memory"]["bytes"] > 10**8
    # Nine of twelve pictures train, and fill takes those of them that have words.
    assert found["samples"]["removal"] == {"train": 9, "held_out": 3}
    assert found["samples"]["fill"]["train"] < 9
    assert not (tmp_path / "runs").exists()


def test_a_dry_run_is_of_a_new_run(cli, tmp_path):
    result = cli("train", "--resume", tmp_path, "--dry-run")
    assert result.code == 2
    assert "--dry-run: tells of a new run" in result.stderr


@pytest.fixture
def draw_row():
    def draw(folder: Path, number: int) -> str:
        """A picture with a mask that is meant for fill, as a line of metadata."""
        folder.mkdir(exist_ok=True)
        Image.effect_noise((32, 32), 60).save(folder / f"{number}.png")
        Image.new("L", (32, 32), 255).save(folder / f"{number}-mask.png")
        names = {"image": f"{number}.png", "mask": f"{number}-mask.png"}
        return json.dumps({**names, "prompt": "a cat", "task": "fill"}) + "\n"

    return draw


def test_a_resumed_run_keeps_its_folder(cli, tmp_path):
    result = cli("train", "--resume", tmp_path, "--out", tmp_path / "other")
    assert result.code == 2
    assert "a resumed run keeps its folder" in result.stderr


def test_a_judge_that_must_see_more_than_the_results_is_refused(ask, random_judge, tmp_path):
    judge = tmp_path / "judge"
    shutil.copytree(random_judge, judge)
    card = json.loads((judge / "onefill_judge.json").read_text(encoding="utf-8"))
    (judge / "onefill_judge.json").write_text(json.dumps(card | {"sees": ["source"]}))
    flags = [judge if flag == random_judge else flag for flag in ask]
    done = subprocess.run(
        [*COMMAND, *flags, "--steps", "1", "--out", tmp_path / "run"],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 2, done.stderr
    assert "trained to see the source" in " ".join(done.stderr.split())
    assert not (tmp_path / "run").exists()

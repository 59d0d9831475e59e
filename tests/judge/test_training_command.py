from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from onefill.judge.loading import load_judge

Command = Callable[..., Any]
Write = Callable[..., Path]


@pytest.fixture
def teach(
    cli: Command, write_pairs: Write, judge_folder: Path, tmp_path: Path, monkeypatch: Any
) -> Command:
    """`onefill train-judge` on 24 pairs with a random tiny judge as base, into ./judge."""
    write_pairs()
    monkeypatch.chdir(tmp_path)

    def call(*more: object, pairs: str = "pairs.jsonl", out: str = "judge") -> Any:
        fixed = ("--base", judge_folder, "--device", "cpu", "--steps", 2, "--every", 2)
        return cli("train-judge", "--pairs", pairs, "--out", out, *fixed, *more)

    return call


def test_a_judge_is_trained_measured_and_used(
    teach: Command, cli: Command, write_pairs: Write, tmp_path: Path
) -> None:
    result = teach("--lora-rank", 2)
    assert result.code == 0, result.stderr
    assert "Accuracy on" in result.stdout and "extend" in result.stdout
    assert "step 0/2 validation: loss" in result.stderr
    assert "judge goes after --judge" in result.stderr
    held_out = write_pairs("heldout.jsonl", 12, seed=7)
    found = cli("judge-eval", "--judge", "judge", "--pairs", held_out, "-o", "page.html")
    assert found.code == 0, found.stderr
    for heading in ("aesthetics", "95 % interval", "order gap", "by strength"):
        assert heading in found.stdout
    assert "<svg" in (tmp_path / "page.html").read_text()
    first, second = "pictures/heldout-7-0a.png", "pictures/heldout-7-0b.png"
    asked = cli("judge", first, second, "--dim", "aesthetics", "--judge", "judge")
    assert asked.code == 0, asked.stderr


def test_a_judge_is_trained_from_scratch(teach: Command) -> None:
    result = teach("--base", "scratch", "--steps", 3, "--batch", 2)
    assert result.code == 0, result.stderr
    for part in ("part 1 of 3, see", "part 2 of 3, read", "part 3 of 3, judge"):
        assert part in result.stderr
    assert load_judge("judge", device="cpu").model.config.model_type == "qwen2_5_vl"


def test_json_is_one_document(teach: Command, cli: Command, write_pairs: Write) -> None:
    summary = json.loads(teach("--json", "--method", "full").stdout)
    assert summary["method"] == "full"
    assert summary["dimensions"]["extend/aesthetics"]["accuracy"]["n"] > 0
    held_out = write_pairs("heldout.jsonl", 12, seed=7)
    result = cli("judge-eval", "--judge", "judge", "--pairs", held_out, "--json")
    document = json.loads(result.stdout)
    assert (document["pairs"], document["skipped"], result.stderr) == (12, 0, "")
    cell = document["dimensions"]["extend/structure"]
    assert cell["accuracy"]["n"] == 10 and cell["ties"] == 2
    assert {entry["n"] > 0 for entry in document["overall"]["by_strength"]} == {True}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--show", "depth"), "--show depth"),
        (("--rate", 3), "--rate 3"),
        (("--method", "full", "--dtype", "bfloat16"), "--dtype bfloat16"),
        (("--base", "no/such/folder"), "--base no/such/folder"),
        (("--validation", "missing.jsonl"), "missing.jsonl"),
    ],
)
def test_bad_input_is_one_line_and_nothing_written(
    teach: Command, tmp_path: Path, more: tuple[object, ...], message: str
) -> None:
    result = teach(*more, "--offline")
    assert (result.code, result.stdout) == (2, "")
    assert message in result.stderr.splitlines()[-1]
    assert not (tmp_path / "judge").exists()


def test_what_is_missing_is_named(cli: Command, tmp_path: Path) -> None:
    assert "--pairs: name" in cli("train-judge", "--out", tmp_path / "x").stderr
    assert "--out: name" in cli("train-judge", "--pairs", "p.jsonl").stderr
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("")
    result = cli("train-judge", "--pairs", "p.jsonl", "--out", tmp_path / "full")
    assert result.code == 2 and "is not empty" in result.stderr
    result = cli("train-judge", "--resume", tmp_path / "full")
    assert result.code == 2 and "no training there" in result.stderr


def test_a_finished_training_and_other_settings_are_not_resumed(
    teach: Command, cli: Command
) -> None:
    teach()
    result = cli("train-judge", "--resume", "judge")
    assert result.code == 2 and "--base judge" in result.stderr
    result = cli("train-judge", "--resume", "judge", "--rate", 0.1)
    assert result.code == 2 and "--rate: a resumed training keeps its settings" in result.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_the_line_it_prints_goes_on(
    write_pairs: Write, judge_folder: Path, tmp_path: Path, cli: Command, number: signal.Signals
) -> None:
    flags = ["--pairs", str(write_pairs()), "--base", str(judge_folder), "--out", "judge"]
    flags += ["--steps", "100000", "--every", "100000", "--device", "cpu"]
    process = subprocess.Popen(
        [sys.executable, "-m", "onefill", "train-judge", *flags],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    metrics = tmp_path / "judge/training/metrics.jsonl"
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline and not (metrics.exists() and metrics.stat().st_size > 600):
        time.sleep(0.1)
    process.send_signal(number)
    _, talk = process.communicate(timeout=60)
    assert process.returncode == 130, talk
    line = talk.splitlines()[-1]
    assert line.startswith("interrupted after step ")
    assert line.endswith("go on with: onefill train-judge --resume judge")
    step = int(line.split("step ")[1].split(",")[0])
    assert step > 0
    assert (tmp_path / f"judge/training/checkpoints/step-{step:06d}/manifest.json").exists()


def test_a_damaged_picture_is_named_or_skipped_by_judge_eval(
    cli: Command, write_pairs: Write, judge_folder: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    pairs = write_pairs(count=6)
    (tmp_path / "pictures/pairs-0-2b.png").write_bytes(b"nothing")
    ask = ("judge-eval", "--judge", judge_folder, "--pairs", pairs, "--device", "cpu")
    result = cli(*ask)
    assert (result.code, result.stdout) == (2, "")
    assert "pairs.jsonl line 3: " in result.stderr
    assert not (tmp_path / "judge-eval.html").exists()
    result = cli(*ask, "--skip-bad", "--json")
    assert result.code == 0
    assert json.loads(result.stdout)["skipped"] == 1
    assert "line 3" in result.stderr


def test_judge_eval_needs_winners(cli: Command, write_pairs: Write) -> None:
    result = cli("judge-eval", "--pairs", write_pairs(count=2, winner={}))
    assert result.code == 2
    assert "no pair in it says who won" in result.stderr


def test_the_trained_judge_loads_offline_by_folder(teach: Command, tmp_path: Path) -> None:
    assert teach("--seed", 3).code == 0
    judge = load_judge(str(tmp_path / "judge"), device="cpu", offline=True)
    assert set(judge.calibration) == {"extend/aesthetics", "extend/structure"}

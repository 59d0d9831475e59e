"""``onefill pocket build`` refuses what it cannot use before it begins."""

from __future__ import annotations


def test_only_a_judge_is_trained_against_runs(cli, tmp_path):
    result = cli("pocket", "build", "--stage", "vae", "--against", tmp_path, "--out", tmp_path)
    assert result.code == 2
    assert "--against: goes with --stage judge" in result.stderr


def test_a_run_to_train_against_must_have_trained_something(cli, tmp_path):
    run, out = tmp_path / "run", tmp_path / "out"
    run.mkdir()
    result = cli("pocket", "build", "--stage", "judge", "--against", run, "--out", out)
    assert result.code == 2
    assert f"--against {run}: no trained adapter in it" in result.stderr
    assert not out.exists()


def test_a_training_is_told_its_minutes_or_its_steps(cli, tmp_path):
    result = cli("pocket", "build", "--minutes", 1, "--steps", 5, "--out", tmp_path / "out")
    assert result.code == 2
    assert "--minutes and --steps: give one of them" in result.stderr


def test_a_device_that_is_not_there_is_named(cli, tmp_path):
    result = cli(
        "pocket", "build", "--stage", "vae", "--device", "cuda:77", "--out", tmp_path / "out"
    )
    assert result.code == 2
    assert "--device cuda:77: this machine has none; try --device cpu" in result.stderr
    assert not (tmp_path / "out").exists()

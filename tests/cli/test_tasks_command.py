from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

BUILT_IN = ["extend", "fill", "removal", "text"]
RUN = "from onefill.cli.app import main; main()"


def test_tasks_shows_what_each_is_and_where_it_comes_from(cli: Any) -> None:
    result = cli("tasks")
    assert (result.code, result.stderr) == (0, "")
    for text in (
        "Take an object out",
        "removal-quality: Is the object gone",
        "A blob, a box or broad brush strokes",
        'always "remove"',
        'without words "high-definition, perfect composition"',
        "onefill (onefill_builtin.removal)",
    ):
        assert text in " ".join(result.stdout.split())
    assert "failed" not in result.stdout


def test_tasks_json_is_one_document(cli: Any) -> None:
    result = cli("tasks", "--json")
    document = json.loads(result.stdout)
    assert (result.code, result.stderr) == (0, "")
    assert [task["name"] for task in document["tasks"]] == BUILT_IN
    removal = document["tasks"][2]
    assert removal["prompt"] == {"with_words": "remove", "without_words": "remove"}
    assert removal["masks"] == "onefill_builtin.removal:cover"
    assert [d["name"] for d in removal["dimensions"]] == ["removal-quality"]
    assert document["failures"] == []


def test_show_draws_the_same_sheet_for_the_same_seed(
    cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = cli("tasks", "show", "fill")
    assert (result.code, result.stdout) == (0, "tasks-fill.png\n")
    assert "12 example masks" in result.stderr
    assert cli("tasks", "show", "fill", "-o", "new/again.png", "--seed", "0").code == 0
    assert cli("tasks", "show", "fill", "-o", "other.png", "--seed", "1").code == 0
    first = Path("tasks-fill.png").read_bytes()
    assert Path("new/again.png").read_bytes() == first
    assert Path("other.png").read_bytes() != first


def test_show_draws_over_your_own_picture(cli: Any, tmp_path: Path) -> None:
    Image.new("RGB", (300, 400), (0, 0, 255)).save(tmp_path / "blue.png")
    result = cli(
        "tasks", "show", "text", "--image", tmp_path / "blue.png", "-o", tmp_path / "sheet.png"
    )
    assert result.code == 0
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert (sheet == (0, 0, 255)).all(axis=-1).mean() > 0.3


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nope"], "nope: no such task"),
        (["fill", "-o", "."], "is a folder"),
        (["fill", "-o", "sheet.docx"], "no image format"),
        (["fill", "--image", "absent.jpg"], "--image absent.jpg: no such file"),
    ],
)
def test_show_refuses_bad_input_and_writes_nothing(
    arguments: list[str], complaint: str, cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = cli("tasks", "show", *arguments)
    assert (result.code, result.stdout) == (2, "")
    assert complaint in result.stderr
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def with_every_fault(
    install: Callable[..., Path], faults: dict[str, Any], tmp_path: Path
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """A fresh process in which every known faulty plugin is installed, and a healthy one."""
    for name, fault in faults.items():
        site = install(f"faulty-{name}", fault.source)
    install("healthy", "@hookimpl\ndef onefill_tasks(): return [task('varnish')]")
    path = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", RUN, *arguments],
            env={**os.environ, "PYTHONPATH": path, "COLUMNS": "200"},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )

    return call


def test_with_every_fault_at_once_the_rest_is_listed_and_each_is_named(
    with_every_fault: Any, faults: dict[str, Any]
) -> None:
    result = with_every_fault("tasks", "--json")
    assert result.returncode == 0
    document = json.loads(result.stdout)
    assert [task["name"] for task in document["tasks"]] == [*BUILT_IN, "varnish"]
    named = {failure["distribution"] for failure in document["failures"]}
    assert named == {f"faulty-{name}" for name in faults}
    warnings = result.stderr.splitlines()
    assert len(warnings) == len(faults)
    assert all(line.startswith("warning: plugin faulty_") for line in warnings)


def test_with_every_fault_at_once_the_table_gives_the_reasons(with_every_fault: Any) -> None:
    result = with_every_fault("tasks")
    assert result.returncode == 0
    assert "varnish" in result.stdout
    assert "Plugins that failed to load" in result.stdout
    assert "RuntimeError: no GPU here" in result.stdout


@pytest.mark.parametrize("arguments", [["--help"], ["tasks", "--help"], ["models"], ["--version"]])
def test_with_every_fault_at_once_what_needs_no_tasks_is_not_even_told(
    arguments: list[str], with_every_fault: Any
) -> None:
    result = with_every_fault(*arguments)
    assert result.returncode == 0
    assert "plugin" not in result.stderr


def test_with_every_fault_at_once_masks_are_drawn(with_every_fault: Any, tmp_path: Path) -> None:
    assert with_every_fault("tasks", "show", "fill").returncode == 0
    assert with_every_fault("tasks", "show", "varnish").returncode == 0
    assert {path.name for path in tmp_path.glob("*.png")} == {
        "tasks-fill.png",
        "tasks-varnish.png",
    }

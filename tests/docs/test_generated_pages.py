"""What the pages take from the code is what the code says now."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import pytest

from onefill.pocket.scoring.table import GOALS, NEEDS_PACKAGES, Figure, Unmeasured, rows_of

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def run(script: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "scripts" / script, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


def pinned(package: str) -> str:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines)[package]


# Other versions of typer may draw the same help in another way.
drawn_by_the_pinned_typer = pytest.mark.skipif(
    version("typer") != pinned("typer"), reason="docs/cli.md is drawn by the pinned typer"
)


@drawn_by_the_pinned_typer
def test_the_command_reference_is_what_help_prints() -> None:
    checked = run("make_cli_reference.py", "--check")
    assert (checked.returncode, checked.stderr) == (0, "")


@drawn_by_the_pinned_typer
def test_a_stale_command_reference_is_told_and_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "cli.md"
    stale = (DOCS / "cli.md").read_text(encoding="utf-8").replace("--prompt", "--prompts")
    page.write_text(stale, encoding="utf-8")
    checked = run("make_cli_reference.py", "--check", "--page", page)
    assert checked.returncode == 1
    assert "stale; run python scripts/make_cli_reference.py" in checked.stderr
    assert page.read_text(encoding="utf-8") == stale


def test_the_generated_blocks_are_what_the_code_says() -> None:
    checked = run("make_doc_tables.py", "--check")
    assert (checked.returncode, checked.stderr) == (0, "")


def test_a_changed_question_of_the_judge_is_told_by_page(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    shutil.copytree(DOCS, docs)
    page = docs / "method.md"
    text = page.read_text(encoding="utf-8")
    drifted = text.replace("Answer Yes or No.", "Answer yes or no.")
    assert drifted != text
    page.write_text(drifted, encoding="utf-8")
    checked = run("make_doc_tables.py", "--check", "--docs", docs)
    assert checked.returncode == 1
    assert checked.stderr.startswith("method.md: stale; run")
    assert run("make_doc_tables.py", "--docs", docs).returncode == 0
    assert page.read_text(encoding="utf-8") == text


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "make_doc_tables", ROOT / "scripts" / "make_doc_tables.py"
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_policy_table_is_what_was_measured(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures: dict[str, Figure | Unmeasured] = dict.fromkeys(GOALS, NEEDS_PACKAGES)
    figures["fill/seam"] = Figure(value=1.2, low=1.1, high=1.3, note="6.0 against 5.0")
    file = tmp_path / "score.json"
    monkeypatch.setattr(script, "SCORE", file)
    empty = "a\n<!-- generated: policy-score -->\n<!-- end -->\nb\n"
    assert "Not measured yet" in script.fill_page(empty)
    file.write_text(json.dumps({"rows": rows_of(figures)}), encoding="utf-8")
    lines = script.fill_page(empty).splitlines()
    assert len(lines) == len(GOALS) + 8
    seam = next(line for line in lines if "seam" in line)
    assert seam.split(" | ")[1:] == [
        "1.20 × (1.10 to 1.30); 6.0 against 5.0",
        "≤ 1.50 ×",
        "≤ 1.10 × |",
    ]
    assert sum("pip install 'onefill[score]'" in line for line in lines) == len(GOALS) - 1


def test_the_evidence_of_runs_is_what_was_measured(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "evidence.json"
    monkeypatch.setattr(script, "EVIDENCE", file)
    measured = {"headline": "81 (77 to 84)", "cells": "79", "table": "80"}
    page = "".join(f"<!-- generated: rl-{name} -->\n<!-- end -->\n" for name in measured)
    assert script.fill_page(page).count("Not measured yet") == 3
    tables = {
        name: {"head": ["run", name], "rows": [["default", of]]} for name, of in measured.items()
    }
    file.write_text(json.dumps(tables), encoding="utf-8")
    filled = script.fill_page(page)
    for name, of in measured.items():
        assert f"| run | {name} |\n| --- | --- |\n| default | {of} |\n" in filled

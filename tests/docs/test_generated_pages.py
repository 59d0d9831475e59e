"""What the pages take from the code is what the code says now."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

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

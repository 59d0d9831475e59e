"""`--help` of every command: quick, and without the libraries that take seconds to import."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys

import pytest
import typer

from onefill.cli.app import COMMANDS

HEAVY = {"torch", "diffusers", "transformers", "peft", "accelerate", "numpy", "PIL", "pydantic"}
PROBE = """
import json, sys
from onefill.cli.app import run
code = run(sys.argv[1:])
print(json.dumps([name for name in sys.modules if "." not in name]), file=sys.stderr)
sys.exit(code)
"""
SECONDS = 0.3


def pages() -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = [()]
    for name in COMMANDS:
        found.append((name,))
        command = typer.main.get_command(
            importlib.import_module(f"onefill.cli.{name.replace('-', '_')}").app
        )
        found.extend((name, sub) for sub in getattr(command, "commands", {}))
    return found


@pytest.mark.parametrize("page", pages(), ids=lambda page: "-".join(page) or "onefill")
def test_help_imports_nothing_heavy_and_is_quick(page: tuple[str, ...]) -> None:
    processor_seconds = []
    for _ in range(3):
        before = os.times()
        result = subprocess.run(
            [sys.executable, "-c", PROBE, *page, "--help"],
            capture_output=True,
            text=True,
            check=True,
        )
        after = os.times()
        # Processor time, as other work on the machine does not add to it.
        processor_seconds.append(
            after.children_user
            + after.children_system
            - before.children_user
            - before.children_system
        )
    assert f"Usage: {' '.join(('onefill', *page))}" in result.stdout
    assert "--install-completion" not in result.stdout  # typer.Typer(add_completion=False)
    imported = set(json.loads(result.stderr))
    assert not imported & HEAVY
    assert "typer" in imported
    assert min(processor_seconds) <= SECONDS


def test_the_table_of_commands_says_what_each_commands_own_help_is_about() -> None:
    for name, summary in COMMANDS.items():
        app = importlib.import_module(f"onefill.cli.{name.replace('-', '_')}").app
        assert isinstance(app, typer.Typer)
        assert summary.endswith(".")
        assert len(summary) <= 78

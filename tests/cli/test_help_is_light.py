"""`--help` of every command works without the libraries that take seconds to import.

How long it takes is for `scripts/bench_startup.py` to say, on a machine that does nothing else.
"""

from __future__ import annotations

import importlib
import json
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
def test_help_imports_nothing_heavy(page: tuple[str, ...]) -> None:
    result = subprocess.run(
        [sys.executable, "-c", PROBE, *page, "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"Usage: {' '.join(('onefill', *page))}" in result.stdout
    assert "--install-completion" not in result.stdout  # typer.Typer(add_completion=False)
    imported = set(json.loads(result.stderr))
    assert not imported & HEAVY
    assert "typer" in imported


def test_the_table_of_commands_says_what_each_commands_own_help_is_about() -> None:
    for name, summary in COMMANDS.items():
        app = importlib.import_module(f"onefill.cli.{name.replace('-', '_')}").app
        assert isinstance(app, typer.Typer)
        assert summary.endswith(".")
        assert len(summary) <= 78

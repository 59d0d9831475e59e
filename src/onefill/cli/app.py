"""The command ``onefill``: which module holds which command, and how every error ends.

A command's module is imported when the command runs (or shows its own help), never before; its
attribute ``app`` is a ``typer.Typer``. This module and those it needs stay light, so that every
``--help`` is quick, and a command that cannot be imported takes no other down with it.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from onefill import __version__
from onefill.cli import console
from onefill.errors import OnefillError
from onefill.launched import process_count
from onefill.quantizers import hush_bitsandbytes

COMMANDS = {
    "train": "Teach the policy to please the judge, and measure what it learned.",
    "runs": "List the runs with their state, draw their curves, write their reports.",
    "export": "Write what a run has trained as an adapter, a transformer or a pipeline.",
    "edit": "Paint inside a mask of a photograph; every other pixel stays.",
    "judge": "Say which of two pictures is better, and how sure that is.",
    "train-judge": "Train a judge on preference pairs, measure and calibrate it.",
    "judge-eval": "Say how often a judge agrees with known winners, and where it is most wrong.",
    "pairs": "Make preference pairs without people, check them, or import somebody else's.",
    "tasks": "List the tasks, or draw example masks of one.",
    "models": "List the embedded models, what they know and how they were made.",
    "pocket": "Make the embedded models from scratch, and measure them.",
}
"""Command to the line shown by ``onefill --help``."""

INTERRUPTED = 130
"""Exit code after Ctrl-C."""

DEBUG_VARIABLE = "ONEFILL_DEBUG"
"""Environment variable; set to anything, errors come with their traceback."""


class _CommandTable(TyperGroup):
    """Lists commands from ``COMMANDS`` and imports the one that is invoked."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name, summary in COMMANDS.items():
            self.add_command(TyperCommand(name, help=summary))

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        return list(COMMANDS)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        if name is None:
            return name, command, rest
        module = importlib.import_module(f"onefill.cli.{name.replace('-', '_')}")
        return name, typer.main.get_command(module.app), rest

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            console.say("interrupted")
            raise typer.Exit(INTERRUPTED) from error


# Typer converts options that are not given, its own --help and completion included, with pydantic,
# whose import is a third of the time of a --help. It leaves a flag alone that defaults to False.
_NOT_ASKED = {"help": False}
app = typer.Typer(
    cls=_CommandTable,
    add_completion=False,
    context_settings={"default_map": _NOT_ASKED | dict.fromkeys(COMMANDS, _NOT_ASKED)},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"onefill {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    """Teach an image model to edit inside a mask by listening to one judge."""


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; nothing a command raises gets past here.

    0 done, 1 failed while running, 2 bad input, 130 interrupted.
    """
    hush_bitsandbytes()
    try:
        outcome = typer.main.get_command(app).main(
            list(arguments) or ["--help"],
            prog_name="onefill",
            standalone_mode=False,
            obj=list(arguments),  # for a command that starts itself several times
        )
    except OnefillError as error:
        return _fail(str(error), error.exit_code)
    except typer.TyperException as error:
        return _fail(f"{error.format_message()} {_help_hint(error)}", error.exit_code)
    except SystemExit as error:  # a library's, or the closed pipe of `onefill tasks | head`
        outcome = error.code
    except Exception as error:
        what = f"unexpected {type(error).__name__}: {error}"
        return _fail(f"{what} ({DEBUG_VARIABLE}=1 shows where)", 1)
    if outcome is None or isinstance(outcome, int):
        return outcome or 0
    return _fail(str(outcome), 1)


def _help_hint(error: typer.TyperException) -> str:
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "onefill"
    return f"(see `{path} --help`)"


def _fail(message: str, exit_code: int) -> int:
    if os.environ.get(DEBUG_VARIABLE):
        traceback.print_exc()
    console.report_error(message)
    return exit_code


def main() -> None:
    """Entry point of the console script."""
    code = run(sys.argv[1:])
    if process_count() > 1:
        # Threads of torch's connections may want the interpreter while it is taken apart, and then
        # abort a process whose work is done: it leaves without that.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)

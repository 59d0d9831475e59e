"""The boundary: how every way of ending a command looks to the user."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import types
from collections.abc import Callable
from typing import Any

import pytest
import typer

from onefill import __version__
from onefill.cli import console
from onefill.errors import BadInput, OnefillError


@pytest.fixture
def judge_that(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Put another body behind `onefill judge`."""

    def install(body: Callable[[], object]) -> None:
        module: Any = types.ModuleType("onefill.cli.judge")
        module.app = typer.Typer()
        module.app.command()(lambda: body())
        monkeypatch.setitem(sys.modules, "onefill.cli.judge", module)

    return install


def raising(error: BaseException) -> Callable[[], object]:
    def body() -> object:
        raise error

    return body


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (BadInput("--dim x: no such dimension; try looks"), 2, "error: --dim x: no such dimension"),
        (OnefillError("the disk is full"), 1, "error: the disk is full"),
        (KeyError("size"), 1, "error: unexpected KeyError: 'size' (ONEFILL_DEBUG=1 shows where)"),
        (MemoryError(), 1, "error: unexpected MemoryError"),
        (OSError(28, "No space left"), 1, "error: unexpected OSError: [Errno 28] No space left"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (SystemExit("a library gave up"), 1, "error: a library gave up"),
        (BadInput("two\nlines"), 2, "error: two lines"),
        (BadInput("[red]not markup[/red]"), 2, "error: [red]not markup[/red]"),
    ],
)
def test_an_error_is_one_line_on_stderr_and_an_exit_code(
    error: BaseException, code: int, line: str, cli: Any, judge_that: Any
) -> None:
    judge_that(raising(error))
    result = cli("judge")
    assert result.code == code
    assert result.stdout == ""
    assert result.stderr.startswith(line)
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(("error", "code"), [(typer.Exit(130), 130), (SystemExit(3), 3)])
def test_a_command_may_choose_its_exit_code_in_silence(
    error: BaseException, code: int, cli: Any, judge_that: Any
) -> None:
    judge_that(raising(error))
    result = cli("judge")
    assert (result.code, result.stdout, result.stderr) == (code, "", "")


def test_a_command_that_returns_is_done(cli: Any, judge_that: Any) -> None:
    judge_that(lambda: None)
    assert cli("judge").code == 0


@pytest.mark.parametrize("error", [BadInput("wrong"), KeyError("size"), OnefillError("broken")])
def test_debugging_shows_where(
    error: Exception, cli: Any, judge_that: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge_that(raising(error))
    monkeypatch.setenv("ONEFILL_DEBUG", "1")
    result = cli("judge")
    assert "Traceback" in result.stderr
    assert "test_app.py" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("error: ")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--frob"], "error: No such option: --frob (see `onefill --help`)"),
        (["frob"], "error: No such command 'frob'. (see `onefill --help`)"),
        (["modles"], "error: No such command 'modles'. Did you mean 'models'?"),
        (["tasks", "--frob"], "error: No such option: --frob (see `onefill tasks --help`)"),
        (["tasks", "show"], "error: Missing argument 'TASK'. (see `onefill tasks show --help`)"),
        (["tasks", "show", "fill", "--seed", "x"], "error: Invalid value for '--seed'"),
        (["tasks", "show", "fill", "--seed", "-1"], "error: Invalid value for '--seed'"),
        (["models", "extra"], "error: No such command 'extra'"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(arguments: list[str], line: str, cli: Any) -> None:
    result = cli(*arguments)
    assert result.code == 2
    assert result.stdout == ""
    assert result.stderr.startswith(line)
    assert "--help`)" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_command_that_cannot_be_imported_leaves_the_others_alone(
    cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onefill.cli.train", None)
    broken = cli("train", "--help")
    assert broken.code == 1
    assert broken.stderr.startswith("error: unexpected ModuleNotFoundError")
    assert cli("--help").code == 0
    assert cli("tasks", "--help").code == 0


@pytest.mark.parametrize("arguments", [[], ["--help"]])
def test_without_a_command_the_commands_are_listed(arguments: list[str], cli: Any) -> None:
    result = cli(*arguments)
    assert result.code == 0
    assert result.stderr == ""
    for name in ("train", "edit", "judge", "tasks", "models", "pocket"):
        assert name in result.stdout


def test_version(cli: Any) -> None:
    result = cli("--version")
    assert (result.code, result.stdout) == (0, f"onefill {__version__}\n")


def test_it_runs_as_a_module_too() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "onefill", "--version"], capture_output=True, text=True, check=True
    )
    assert result.stdout == f"onefill {__version__}\n"


def test_a_closed_pipe_is_no_traceback() -> None:
    command = f"{sys.executable} -m onefill tasks | head -n 1"
    result = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "Tasks"
    assert result.stderr == ""


def test_json_is_readable_and_never_holds_nan(capsys: pytest.CaptureFixture[str]) -> None:
    console.print_json({"text": "澳门"})
    assert capsys.readouterr().out == '{\n  "text": "澳门"\n}\n'
    with pytest.raises(ValueError, match="JSON"):
        console.print_json({"reward": float("nan")})
    assert capsys.readouterr().out == ""


def test_json_stays_json_where_the_terminal_knows_ascii_only() -> None:
    code = "from onefill.cli.console import print_json; print_json({'text': '澳门'})"
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONIOENCODING": "ascii", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout == '{\n  "text": "\\u6fb3\\u95e8"\n}\n'


def test_bitsandbytes_keeps_its_missing_kernel_to_itself(
    judge_that: Callable[[Callable[[], object]], None], cli: Any, caplog: pytest.LogCaptureFixture
) -> None:
    remarks = logging.getLogger("bitsandbytes.backends.cpu.ops")
    remarks.setLevel(logging.NOTSET)

    def body() -> None:
        remarks.warning("Failed to load CPU gemm_4bit_forward")
        remarks.error("an error")
        logging.getLogger("bitsandbytes").warning("something else")

    judge_that(body)
    assert cli("judge").code == 0
    assert caplog.messages == ["an error", "something else"]


LEAVING = """
import atexit, os, sys
from onefill.cli.app import main
atexit.register(os._exit, 9)  # as torch's threads do now and then while Python is taken apart
sys.argv = ["onefill", "tasks"]
main()
"""


def test_one_of_several_processes_ends_whole_whatever_torch_does_at_the_end(cli):
    command = [sys.executable, "-c", LEAVING]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    alone, launched = (
        subprocess.run(command, env=environment | place, capture_output=True, text=True)
        for place in ({}, {"WORLD_SIZE": "2"})
    )
    assert alone.returncode == 9
    assert launched.returncode == 0
    assert launched.stdout == cli("tasks").stdout

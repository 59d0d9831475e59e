"""Fixtures for all tests: run a command as a user does, install plugins, and every plugin fault."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import settings

# Wall time says nothing on a busy machine, and a failing example should be the same for everyone.
settings.register_profile("onefill", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("onefill")


@dataclass(frozen=True)
class CommandResult:
    """What a user sees of one command line."""

    code: int
    stdout: str
    stderr: str


@pytest.fixture
def cli(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., CommandResult]:
    """Run `onefill …` in this process through its real error boundary."""
    from onefill.cli.app import run

    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("ONEFILL_DEBUG", raising=False)

    def call(*arguments: object) -> CommandResult:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        spoken = capsys.readouterr()
        return CommandResult(code, spoken.out, spoken.err)

    return call


InstallPlugin = Callable[..., Path]

HEALTHY = """
    import numpy as np
    from onefill.tasks.hookspecs import hookimpl
    from onefill.tasks.types import Dimension, PromptTemplate, Task

    def masks(image, rng, options):
        mask = np.zeros((image.height, image.width), dtype=bool)
        mask[:, : image.width // 2] = True
        return mask

    def task(name, masks=masks):
        looks = Dimension(name="looks", question="Does it look good?")
        return Task(name=name, summary="Polish", masks=masks, prompt=PromptTemplate(),
                    dimensions=(looks,))

    @hookimpl
    def onefill_tasks():
        return [task("polish")]
"""
"""A whole plugin; faulty ones are this one with something appended."""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the import path, like the one pip installs into."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    before = set(sys.modules)
    yield folder
    for name in set(sys.modules) - before:
        if str(folder) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.fixture
def install(site: Path) -> InstallPlugin:
    """Install a distribution of one module: its files and metadata, as pip leaves them."""

    def write(name: str, source: str = "", *, value: str | None = None, entries: str = "") -> Path:
        module = name.replace("-", "_")
        site.joinpath(f"{module}.py").write_text(dedent(HEALTHY) + dedent(source), encoding="utf-8")
        info = site / f"{module}-1.0.dist-info"
        info.mkdir()
        info.joinpath("METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        info.joinpath("entry_points.txt").write_text(
            entries or f"[onefill]\nmain = {value or module}\n"
        )
        return site

    return write


@dataclass(frozen=True)
class Fault:
    """Source appended to a healthy plugin, and a regular expression for the reason shown."""

    source: str
    reason: str


HOOK = "@hookimpl\ndef onefill_tasks(): "
MASKED = "@hookimpl\ndef onefill_tasks():\n    return [task('gloss', lambda image, rng, options: "

FAULTS = {
    "raises-at-import": Fault("raise RuntimeError('no\\nGPU here')", "RuntimeError: no GPU here"),
    "exits-at-import": Fault("import sys; sys.exit(0)", "SystemExit: 0"),
    "missing-module": Fault("import not_installed_at_all", "ModuleNotFoundError: .*not_installed"),
    "syntax-error": Fault("def (:", "SyntaxError"),
    "base-exception": Fault("class Stop(BaseException): pass\nraise Stop('now')", "Stop: now"),
    "unprintable-error": Fault(
        "class Mute(Exception):\n    def __str__(self): raise ValueError\nraise Mute()", "^Mute$"
    ),
    "endless-error": Fault("raise ValueError('x' * 10_000)", "ValueError: x+…$"),
    "no-hook": Fault("del onefill_tasks", "no function onefill_tasks marked with @hookimpl"),
    "hook-unmarked": Fault("def onefill_tasks(): return [task('polish')]", "with @hookimpl"),
    "hook-wants-more": Fault(
        "@hookimpl\ndef onefill_tasks(config): return []", "PluginValidationError"
    ),
    "hook-raises": Fault(HOOK + "1 / 0", "ZeroDivisionError"),
    "hook-exits": Fault(HOOK + "raise SystemExit('bye')", "SystemExit: bye"),
    "hook-returns-none": Fault(HOOK + "return None", "not NoneType"),
    "hook-returns-dict": Fault(HOOK + "return {'polish': 1}", "return a list of tasks, not dict"),
    "no-task": Fault(HOOK + "return [task('polish'), 'polish']", "object of type str"),
    "task-not-whole": Fault(HOOK + "return [task('Polish!')]", "ValueError: task name 'Polish!'"),
    "name-of-a-built-in": Fault(
        HOOK + "return [task('fill')]", "'fill' is already taken by onefill"
    ),
    "name-twice": Fault(HOOK + "return [task('gloss'), task('gloss')]", "names a task twice"),
    "mask-transposed": Fault(
        MASKED + "np.ones(image.size, dtype=bool))]",
        r"shape \(32, 48\), not bool array of shape \(48, 32\)",
    ),
    "mask-of-floats": Fault(MASKED + "masks(image, rng, options) * 1.0)]", "not float64 array"),
    "mask-empty": Fault(
        MASKED + "np.zeros((image.height, image.width), dtype=bool))]", "the mask is empty"
    ),
    "mask-raises": Fault(MASKED + "options['keep'])]", "generator raised KeyError: 'keep'"),
}


@pytest.fixture(params=list(FAULTS.values()), ids=list(FAULTS))
def fault(request: pytest.FixtureRequest) -> Fault:
    """Each known plugin fault in turn."""
    return request.param


@pytest.fixture
def faults() -> dict[str, Fault]:
    """All known plugin faults by name."""
    return FAULTS

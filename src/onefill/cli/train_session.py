"""A training session of ``onefill train``: everything that is open while a run goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import typer

from onefill.allocator import keep_freed_memory
from onefill.cli import console
from onefill.errors import OnefillError
from onefill.interrupt import Interrupted, listen_for_stop
from onefill.launched import own_place
from onefill.rl.config import RunConfig
from onefill.rl.display import Display, SilentDisplay, open_display
from onefill.rl.ingredients import Ingredients
from onefill.rl.loop import train
from onefill.rl.processes import Processes, join_processes
from onefill.rl.report import write_report
from onefill.rl.run_folder import RunFolder
from onefill.rl.run_status import lock_run, record_state
from onefill.rl.trackers import check_trackers, open_trackers
from onefill.rl.training import Training, open_training


def run_session(
    prepare: Callable[[], tuple[RunFolder, RunConfig]],
    find: Callable[[RunConfig, bool], Ingredients],
    *,
    resume: bool,
    forced: frozenset[str],
) -> tuple[RunFolder, dict[str, Any]] | None:
    """Train, alone or as one of several processes.

    Args:
        prepare: reads the command line; done by the first process for all.
        find: what a configuration names; told whether it may speak.
        resume: whether the run goes on.
        forced: what may differ all the same from what it began with.

    Returns:
        Folder and summary; None in a process that is not the first, which has nothing to say.

    Raises:
        typer.Exit: the run was interrupted, and saved; or this is not the first process, and what
            went wrong is told by that.
    """
    here = own_place()
    processes = Processes(here.index, here.count)
    try:
        with join_processes() as processes:
            prepared = processes.gather(prepare() if processes.is_first else None)[0]
            assert prepared is not None  # by the first process
            folder, config = prepared
            ingredients = find(config, processes.is_first)
            summary = _train(config, ingredients, folder, resume, forced, processes)
    except OnefillError as error:
        if processes.tells(error):
            raise
        raise typer.Exit(error.exit_code) from error
    return (folder, summary) if processes.is_first else None


def _train(
    config: RunConfig,
    ingredients: Ingredients,
    folder: RunFolder,
    resume: bool,
    forced: frozenset[str],
    processes: Processes,
) -> dict[str, Any]:
    is_first = processes.is_first
    check_trackers(config)
    if is_first:
        console.say("loading the models")
    keep_freed_memory()
    with ExitStack() as stack:
        if resume and is_first:
            stack.enter_context(lock_run(folder))
        run = open_training(
            config,
            ingredients,
            folder,
            resume=resume,
            forced=forced,
            warn=console.warn if is_first else lambda text: None,
            processes=processes,
        )
        stop = stack.enter_context(listen_for_stop())
        stop.agree = processes.agree
        if not is_first:
            with processes.meeting():
                return train(run, SilentDisplay(), stop)
        if not resume:
            stack.enter_context(lock_run(folder))
        stack.callback(_report, folder)
        try:
            with _watched(run, folder, processes) as display, processes.meeting():
                return train(run, display, stop)
        except Interrupted:
            console.say(
                f"interrupted after step {run.step}, and saved; go on with: "
                f"onefill train --resume {folder.path}"
            )
            raise


@contextmanager
def _watched(run: Training, folder: RunFolder, processes: Processes) -> Iterator[Display]:
    with (
        record_state(folder, str(run.policy.device), processes.count),
        open_trackers(run.config, folder, run.step) as run.metrics.followers,
        open_display(console.stderr(), run.config.steps, run.step) as display,
    ):
        yield display


def _report(folder: RunFolder) -> None:
    try:
        write_report(folder)
    except OSError as error:  # the run itself has its own words for a full disk
        console.warn(f"{folder.report}: cannot be written ({error})")

"""``onefill edit`` with a folder or a jobs file: many edits, one model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from onefill.cli import console
from onefill.cli.edit_done import find_standing
from onefill.cli.edit_wishes import STOP, BatchOptions, PaintWishes, Remarks
from onefill.cli.progress import open_bar
from onefill.errors import BadInput, OnefillError

if TYPE_CHECKING:
    from onefill.cli.edit_finish import Finisher
    from onefill.edit.jobs import Job
    from onefill.edit.request import EditRequest
    from onefill.policy.flux_fill import FluxFillPolicy
    from onefill.tasks.registry import TaskRegistry


def edit_many(
    folder: Path | None,
    usual: EditRequest,
    registry: TaskRegistry,
    finisher: Finisher,
    load: Callable[[], FluxFillPolicy],
    wishes: PaintWishes,
    options: BatchOptions,
    json_output: bool,
) -> None:
    """Do every edit of a folder or a jobs file, and print the paths.

    Raises:
        BadInput: the edits cannot be listed; nothing has been written then. Or one cannot be
            carried out, with ``--on-error stop``.
        OnefillError: an edit failed; with ``--on-error continue``, after all others were done.
    """
    from onefill.edit.key import edit_key
    from onefill.edit.processes import join_processes

    jobs = _find_jobs(folder, usual, registry, options)
    for job in jobs:
        try:
            finisher.check(job.request)
        except BadInput as error:
            raise BadInput(f"{job.name}: {error}") from error

    def key_of(job: Job) -> str:
        return edit_key(job.request, wishes.deciding() | finisher.deciding(job.request))

    standing = find_standing(jobs, options, key_of)
    left = standing.left
    written: list[dict[str, Any]] = []
    failed: list[dict[str, str]] = []
    with join_processes() as processes:
        if processes.is_first:
            standing.say()
        own = processes.share(left)
        if own:
            policy = load()
            finisher.load()
            try:
                _run(
                    own,
                    policy,
                    wishes,
                    finisher,
                    options,
                    key_of,
                    written,
                    failed,
                    quiet=json_output,
                )
            except KeyboardInterrupt:
                console.say("what is written is whole; the same line with --skip-existing goes on")
                raise
        written, failed = processes.gather(written), processes.gather(failed)
    if not processes.is_first:
        return
    if json_output:
        console.print_json({"images": written, "skipped": standing.skipped, "failed": failed})
    _report_failures(failed, len(left))


def _find_jobs(
    folder: Path | None, usual: EditRequest, registry: TaskRegistry, options: BatchOptions
) -> list[Job]:
    from onefill.edit.jobs import folder_jobs, read_jobs

    if options.jobs is not None and folder is not None:
        raise BadInput(f"image {folder}: every line of --jobs names its own; leave it out")
    if usual.output is None:
        what = (
            f"--jobs {options.jobs}: many edits"
            if options.jobs is not None
            else f"image {folder}: is a folder"
        )
        raise BadInput(f"{what}; say where results go, as -o results/")
    output = usual.output
    if "{" not in output:
        if Path(output).is_file():
            raise BadInput(f"-o {output}: is a file; many edits go into a folder, as -o results/")
        output = output.rstrip("/") + "/"
    if options.jobs is not None:
        return read_jobs(
            options.jobs,
            usual,
            registry,
            task=options.task,
            folder=output,
            allow_outside=options.allow_outside,
        )
    assert folder is not None, "the caller knows that one of the two is there"
    return folder_jobs(folder, usual, output=output)


def _run(
    jobs: Sequence[Job],
    policy: FluxFillPolicy,
    wishes: PaintWishes,
    finisher: Finisher,
    options: BatchOptions,
    key_of: Callable[[Job], str],
    written: list[dict[str, Any]],
    failed: list[dict[str, str]],
    *,
    quiet: bool,
) -> None:
    """Do the jobs, and note what was written and what failed."""
    from onefill.edit.batch import run_jobs

    remarks = Remarks(wishes, policy)
    outcomes = run_jobs(
        jobs,
        policy,
        wishes.sampling(),
        wishes.signature(),
        stage=finisher.stage,
        key_of=key_of,
    )
    with _progress(len(jobs)) as advance:
        for outcome in outcomes:
            job, error = outcome.job, outcome.error
            if error is None and outcome.plan is not None:
                try:
                    entries = finisher.finish(
                        job.request, outcome.plan, outcome.results, outcome.key
                    )
                except OnefillError as problem:
                    error = problem
                else:
                    remarks.make(outcome.plan)
                    written += [{"job": job.name, **entry} for entry in entries]
                    if not quiet:
                        for entry in entries:
                            typer.echo(entry["path"])
            if error is not None:
                if options.on_error == STOP:
                    raise type(error)(f"{job.name}: {error}") from error
                failed.append({"job": job.name, "error": str(error)})
            advance()


def _report_failures(failed: Sequence[dict[str, str]], total: int) -> None:
    if not failed:
        return
    from rich.markup import escape
    from rich.table import Table

    table = Table(title="Failed", title_justify="left", box=None, padding=(0, 2, 0, 0))
    table.add_column("edit", overflow="fold")
    table.add_column("why", overflow="fold")
    for failure in failed:
        table.add_row(escape(failure["job"]), escape(" ".join(failure["error"].split())))
    console.stderr().print(table)
    raise OnefillError(
        f"{len(failed)} of {total} edits failed; mend them and give --skip-existing to do the rest"
    )


@contextmanager
def _progress(total: int) -> Iterator[Callable[[], None]]:
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("editing"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with open_bar(*columns) as bar:
        task = bar.add_task("", total=total)
        yield lambda: bar.advance(task)

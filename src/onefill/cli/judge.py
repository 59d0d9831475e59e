"""``onefill judge``: which of two pictures is better, and how sure the judge is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onefill.cli import console
from onefill.cli.options import Device, JsonFlag, JudgeName, Offline
from onefill.errors import BadInput

if TYPE_CHECKING:
    from rich.table import Table

    from onefill.judge.verdict import Verdict
    from onefill.tasks.registry import TaskRegistry
    from onefill.tasks.types import Dimension, Task

app = typer.Typer(add_completion=False)

_USUAL_TASK = "fill"


@app.command()
def judge(
    first: Annotated[Path, typer.Argument(help="One picture.", show_default=False)],
    second: Annotated[Path, typer.Argument(help="The other picture.", show_default=False)],
    dim: Annotated[
        str | None,
        typer.Option("--dim", metavar="NAME", help="What to compare: aesthetics, structure, …"),
    ] = None,
    all_dims: Annotated[
        bool, typer.Option("--all-dims", help="Compare on every dimension of the task.")
    ] = False,
    task: Annotated[
        str | None,
        typer.Option(
            "--task",
            metavar="NAME",
            help="The edit both are results of; otherwise fill, or the first task that has the "
            "dimension.",
            show_default=False,
        ),
    ] = None,
    prompt: Annotated[
        str | None,
        typer.Option(
            "--prompt", metavar="WORDS", help="What was asked for; text-alignment needs it."
        ),
    ] = None,
    judge_name: JudgeName = "pocket",
    json_output: JsonFlag = False,
    device: Device = "auto",
    offline: Offline = False,
) -> None:
    """Say which of two pictures is better, and how sure that is. Both orders are asked."""
    chosen, dimensions, notes = _choose(console.open_registry(), task, dim, all_dims, prompt)

    from onefill.images import read_image

    pictures = [read_image(path) for path in (first, second)]

    from onefill.pocket.embedded import resolve

    folder = resolve("judges", judge_name)

    from onefill.judge.loading import load_judge
    from onefill.judge.verdict import ask

    loaded = load_judge(folder, device=device, offline=offline)
    for path, picture in zip((first, second), pictures, strict=True):
        try:
            loaded.recipe.target_size(picture.height, picture.width)
        except BadInput as error:
            raise BadInput(f"{path}: {error}") from error
    verdicts = ask(loaded, pictures[0], pictures[1], chosen, dimensions, prompt)
    for note in notes:
        console.say(note)
    if json_output:
        console.print_json({"judge": judge_name, "verdicts": [asdict(v) for v in verdicts]})
        return
    names = _short_names(first, second)
    console.stdout().print(_table(verdicts, names))
    for verdict in verdicts:
        typer.echo(_in_words(verdict, names))


def _choose(
    registry: TaskRegistry, task: str | None, dim: str | None, all_dims: bool, words: str | None
) -> tuple[Task, Sequence[Dimension], list[str]]:
    """The task, the dimensions to ask about, and what the user should know of that choice.

    Raises:
        BadInput: no such task or dimension, none named, or words are needed.
    """
    from onefill.judge.query import answerable, build_query

    if dim is not None and all_dims:
        raise BadInput(f"--dim {dim} and --all-dims: give one of the two")
    if dim is None and not all_dims:
        raise BadInput("--dim: name what to compare, as --dim aesthetics, or give --all-dims")
    notes = []
    if task is None:
        chosen = _first_task(registry, dim)
        notes.append(f"judged as results of the task {chosen.name!r}; --task names another")
    else:
        chosen = registry.get(task)
    if dim is not None:
        dimensions: tuple[Dimension, ...] = (chosen.dimension(dim),)
        build_query(chosen, dimensions[0], words)  # refuses missing words before a model is loaded
        return chosen, dimensions, notes
    dimensions = answerable(chosen, words)
    if not dimensions:
        raise BadInput(f"--all-dims: every dimension of task {chosen.name!r} needs --prompt")
    notes += [
        f"{dimension.name} is left out: it needs --prompt"
        for dimension in chosen.dimensions
        if dimension not in dimensions
    ]
    return chosen, dimensions, notes


def _first_task(registry: TaskRegistry, dim: str | None) -> Task:
    tasks = [registered.task for registered in registry.tasks.values()]
    tasks.sort(key=lambda task: task.name != _USUAL_TASK)
    for task in tasks:
        if dim is None or any(dimension.name == dim for dimension in task.dimensions):
            return task
    known = ", ".join(dict.fromkeys(d.name for task in tasks for d in task.dimensions))
    raise BadInput(f"--dim {dim}: no task has such a dimension; choose from {known}")


def _short_names(first: Path, second: Path) -> tuple[str, str]:
    """File names, or the paths as typed where those are the same."""
    if first.name != second.name:
        return first.name, second.name
    return str(first), str(second)


def _table(verdicts: Sequence[Verdict], names: tuple[str, str]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table()
    for heading in ("task", "dimension", "winner"):
        table.add_column(heading)
    table.add_column(escape(f"p({names[0]} better)"), justify="right")
    table.add_column("order gap", justify="right")
    for verdict in verdicts:
        winner = {"first": escape(names[0]), "second": escape(names[1]), "tie": "tie"}
        table.add_row(
            verdict.task,
            verdict.dim,
            winner[verdict.winner],
            f"{verdict.p_first:.2f}",
            f"{verdict.order_gap:.2f}",
        )
    return table


def _in_words(verdict: Verdict, names: tuple[str, str]) -> str:
    points = round(100 * verdict.order_gap)
    order = f"swapping the order changes this by {points} point{'' if points == 1 else 's'}"
    if verdict.winner == "tie":
        found = f"no clear winner ({100 * verdict.p_first:.0f} % for {names[0]})"
    elif verdict.winner == "first":
        found = f"{names[0]} is better, {100 * verdict.p_first:.0f} % sure"
    else:
        found = f"{names[1]} is better, {100 * (1 - verdict.p_first):.0f} % sure"
    return f"{verdict.dim}: {found}; {order}"

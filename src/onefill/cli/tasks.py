"""``onefill tasks``: what can be trained, edited and judged, and which plugins failed."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onefill.cli import console
from onefill.cli.options import JsonFlag, Seed

if TYPE_CHECKING:
    from rich.table import Table

    from onefill.tasks.registry import PluginFailure, RegisteredTask, TaskRegistry

app = typer.Typer(add_completion=False)


@app.callback(invoke_without_command=True)
def tasks(ctx: typer.Context, json_output: JsonFlag = False) -> None:
    """List the tasks: what each is judged on, its masks, its prompt, and where it comes from.

    Plugins that failed to load follow, each with its reason.
    """
    if ctx.invoked_subcommand is not None:
        return
    registry = console.open_registry()
    if json_output:
        console.print_json(_document(registry))
        return
    out = console.stdout()
    out.print(_task_table(list(registry.tasks.values())))
    if registry.failures:
        out.print(_failure_table(registry.failures))


@app.command()
def show(
    name: Annotated[str, typer.Argument(metavar="TASK", show_default=False, help="A task's name.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="FILE", show_default="tasks-TASK.png", help="Where to save."
        ),
    ] = None,
    seed: Seed = 0,
    image: Annotated[
        Path | None,
        typer.Option("--image", metavar="FILE", help="Your own picture below the masks."),
    ] = None,
) -> None:
    """Draw example masks of one task over a picture, to see what training and editing paint."""
    from onefill.images import check_target, read_image, save_image
    from onefill.tasks.preview import draw_sheet, sample_picture

    task = console.open_registry().get(name, flag="task")
    target = check_target(output or Path(f"tasks-{name}.png"))
    picture = read_image(image, flag="--image") if image is not None else sample_picture()
    sheet, shares = draw_sheet(task, picture, seed=seed)
    save_image(sheet, target)
    console.say(
        f"{len(shares)} example masks, {100 * min(shares):.0f} to {100 * max(shares):.0f} % painted"
    )
    typer.echo(target)


def _document(registry: TaskRegistry) -> dict[str, Any]:
    return {
        "tasks": [
            {
                "name": name,
                "summary": found.task.summary,
                "dimensions": [
                    {"name": d.name, "question": d.question, "uses_prompt": d.uses_prompt}
                    for d in found.task.dimensions
                ],
                "masks": _generator_path(found.task.masks),
                "prompt": {
                    "with_words": found.task.prompt.with_words,
                    "without_words": found.task.prompt.without_words,
                },
                "plugin": found.plugin,
                "distribution": found.distribution,
            }
            for name, found in registry.tasks.items()
        ],
        "failures": [
            {"plugin": f.plugin, "distribution": f.distribution, "reason": f.reason}
            for f in registry.failures
        ],
    }


def _task_table(found: list[RegisteredTask]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(title="Tasks", title_justify="left", show_lines=True)
    table.add_column("task", no_wrap=True)
    table.add_column("what it does")
    table.add_column("judged on")
    for entry in found:
        task = entry.task
        about = Text(task.summary)
        for label, value in (
            ("masks", _generator_summary(task.masks)),
            ("prompt", _prompt_summary(entry)),
            ("from", f"{entry.distribution} ({entry.plugin})"),
        ):
            about.append(f"\n{label}: ", style="bold").append(value)
        questions = Text()
        for number, dimension in enumerate(task.dimensions):
            questions.append("\n" if number else "").append(f"{dimension.name}: ", style="bold")
            questions.append(dimension.question)
        table.add_row(Text(task.name, style="bold cyan"), about, questions)
    return table


def _failure_table(failures: list[PluginFailure]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(title="Plugins that failed to load", title_justify="left", show_lines=True)
    for heading in ("plugin", "from", "reason"):
        table.add_column(heading, overflow="fold")
    for failure in failures:
        table.add_row(
            Text(failure.plugin), Text(failure.distribution), Text(failure.reason, style="red")
        )
    return table


def _prompt_summary(entry: RegisteredTask) -> str:
    prompt = entry.task.prompt
    if prompt.without_words is None:
        return f'"{prompt.with_words}" (words needed)'
    if prompt.without_words == prompt.with_words:
        return f'always "{prompt.with_words}"'
    return f'"{prompt.with_words}", without words "{prompt.without_words}"'


def _generator_path(masks: Any) -> str:
    module = getattr(masks, "__module__", type(masks).__module__)
    return f"{module}:{getattr(masks, '__qualname__', type(masks).__qualname__)}"


def _generator_summary(masks: Any) -> str:
    described = inspect.getdoc(masks) if inspect.isroutine(masks) else None
    return described.splitlines()[0] if described else _generator_path(masks)

"""``onefill runs``: the runs of a folder, their curves, and their reports."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onefill.cli import console
from onefill.cli.options import JsonFlag
from onefill.errors import BadInput

if TYPE_CHECKING:
    from rich.table import Table

    from onefill.rl.curves import Curve, Curves
    from onefill.rl.run_folder import RunFolder

app = typer.Typer(add_completion=False)

_RUNS = Path("runs")
_HEIGHT = 4  # lines of a drawn curve
_WIDEST = 56  # characters of a drawn curve
_ALARMS = 5  # the last of them are shown

Folder = Annotated[
    Path | None,
    typer.Option("--folder", metavar="FOLDER", show_default="runs", help="Where the runs are."),
]
RunName = Annotated[
    str,
    typer.Argument(metavar="RUN", show_default=False, help="A run's name, or its folder."),
]


@app.callback(invoke_without_command=True)
def runs(ctx: typer.Context, json_output: JsonFlag = False) -> None:
    """List the runs in runs/ with their state, or look at one.

    A run is running, finished, interrupted, failed or killed.
    """
    # No --folder here: a value that typer has to convert makes every --help below it slow.
    if ctx.invoked_subcommand is None:
        _list_runs(None, json_output)


@app.command("list")
def list_runs(folder: Folder = None, json_output: JsonFlag = False) -> None:
    """List the runs of any folder with their state."""
    _list_runs(folder, json_output)


@app.command()
def show(name: RunName, folder: Folder = None, json_output: JsonFlag = False) -> None:
    """Draw the reward curves of a run, and say how it stands."""
    from onefill.rl.curves import hacking_alarms, reward_curves, win_rate_curves
    from onefill.rl.metrics import MetricsLog

    run = _open(name, folder)
    about = _describe(run)
    rows = MetricsLog(run.metrics).read()
    rewards, win_rates = reward_curves(rows), win_rate_curves(rows)
    alarms = hacking_alarms(rows)
    if json_output:
        curves = {"rewards": _as_json(rewards), "win_rates": _as_json(win_rates)}
        told = [{"step": step, "alarm": words} for step, words in alarms]
        console.print_json(about | curves | {"alarms": told})
        return
    out = console.stdout()
    out.print(_run_table([about]))
    if about["reason"]:
        out.print(f"{about['state']}: {about['reason']}", markup=False, highlight=False)
    if not rewards:
        console.say("no step is done yet")
    width = max(10, min(_WIDEST, out.width - 14))
    for line in _drawn(rewards, width):
        out.print(line, markup=False, highlight=False, no_wrap=True, overflow="crop")
    if win_rates:
        out.print(_win_rate_table(win_rates))
    for step, words in alarms[-_ALARMS:]:
        out.print(f"alarm at step {step}: {words}", markup=False, highlight=False, soft_wrap=True)
    if len(alarms) > _ALARMS:
        console.say(f"and {len(alarms) - _ALARMS} alarms before; all are in the report")
    if about["resume"]:
        console.say(f"go on with: {about['resume']}")


@app.command()
def report(name: RunName, folder: Folder = None) -> None:
    """Write a run's report.html anew; a run writes it by itself whenever it ends."""
    from onefill.rl.report import write_report

    run = _open(name, folder)
    write_report(run)
    typer.echo(run.report)


def _list_runs(folder: Path | None, json_output: bool) -> None:
    found = [_describe(run) for run in _find_runs(folder)]
    if json_output:
        console.print_json({"runs": found})
    elif found:
        console.stdout().print(_run_table(found))
    else:
        console.say(f"no runs in {folder or _RUNS}; `onefill train` makes one")


def _find_runs(folder: Path | None) -> list[RunFolder]:
    from onefill.rl.run_folder import RunFolder

    if folder is not None and not folder.is_dir():
        raise BadInput(f"--folder {folder}: no such folder; give one that holds runs")
    place = folder or _RUNS
    found = (RunFolder(path) for path in sorted(place.iterdir() if place.is_dir() else ()))
    return [run for run in found if run.config_file.is_file()]


def _open(name: str, folder: Path | None) -> RunFolder:
    from onefill.rl.run_folder import RunFolder

    place = folder or _RUNS
    for path in (place / name, Path(name)):
        if RunFolder(path).config_file.is_file():
            return RunFolder(path)
    names = ", ".join(run.path.name for run in _find_runs(folder)[-5:]) or "none yet"
    raise BadInput(f"{name}: no such run in {place} (there: {names}); see `onefill runs`")


def _describe(run: RunFolder) -> dict[str, Any]:
    """What is known of a run, for the table and for JSON."""
    from onefill.rl.config_file import build_config
    from onefill.rl.metrics import MetricsLog, mean_win_rate
    from onefill.rl.run_status import FINISHED, RUNNING, read_status

    status = read_status(run)
    try:
        config = build_config(run.config_file, {})
    except BadInput as error:
        return _about(run, "unreadable", reason=str(error))
    log = MetricsLog(run.metrics)
    steps = log.read("step")
    rates = [row for kind in ("start", "win rate", "end") for row in log.read(kind)]
    goes_on = status.state not in (RUNNING, FINISHED) and any(run.checkpoints.glob("step-*"))
    return _about(
        run,
        status.state,
        reason=status.reason,
        step=steps[-1]["step"] if steps else 0,
        steps=config.steps,
        tasks=config.tasks,
        reference=config.reference,
        win_rate=mean_win_rate(rates[-1]) if rates else None,
        updated=status.updated,
        resume=f"onefill train --resume {run.path}" if goes_on else None,
    )


def _about(run: RunFolder, state: str, **known: Any) -> dict[str, Any]:
    unknown = dict.fromkeys(
        ("reason", "step", "steps", "tasks", "reference", "win_rate", "updated", "resume")
    )
    return {"name": run.path.name, "folder": str(run.path), "state": state, **unknown, **known}


def _run_table(found: list[dict[str, Any]]) -> Table:
    from rich.table import Table
    from rich.text import Text

    colours = {"running": "cyan", "finished": "green", "interrupted": "yellow"}
    table = Table(box=None)
    for heading in ("run", "state", "step", "tasks", "reference", "win rate", "last told"):
        table.add_column(heading)
    for about in found:
        rate = about["win_rate"]
        table.add_row(
            Text(about["name"], style="bold"),
            Text(about["state"], style=colours.get(about["state"], "red")),
            "–" if about["step"] is None else f"{about['step']}/{about['steps']}",
            Text(" ".join(about["tasks"] or {})),
            about["reference"] or "–",
            "–" if rate is None else f"{rate:.0%}",
            (about["updated"] or "–").replace("T", " ").removesuffix("+00:00"),
        )
    return table


def _drawn(curves: Curves, width: int) -> Iterator[str]:
    """The smoothed reward curves of each task, one below the other."""
    from onefill.rl.terminal_plot import draw_curve

    for task, dimensions in curves.items():
        for dimension, curve in dimensions.items():
            begin, end = curve.change
            yield ""
            yield f"{task} / {dimension}: P(yes) {begin:.2f} → {end:.2f}"
            smooth = curve.smoothed()
            low, high = _bounds(smooth)
            drawn = draw_curve(curve.steps, smooth, width=width, height=_HEIGHT, low=low, high=high)
            for number, line in enumerate(drawn):
                edge = {0: f"{high:.2f}", _HEIGHT - 1: f"{low:.2f}"}.get(number, "")
                yield f"{edge:>6} ┤{line}"
            yield f"{'':>6}  step {curve.steps[0]}{curve.steps[-1]:>{max(1, width - 6)}}"


def _bounds(values: list[float]) -> tuple[float, float]:
    """A tenth at least from top to bottom: less would draw noise as mountains."""
    low, high = min(values), max(values)
    missing = max(0.0, 0.1 - (high - low)) / 2
    return low - missing, high + missing


def _win_rate_table(curves: Curves) -> Table:
    from rich.table import Table

    table = Table("task", "dimension", box=None, title="Held-out win rate", title_justify="left")
    for heading in ("first", "last", "at step"):
        table.add_column(heading, justify="right")
    for task, dimensions in curves.items():
        for dimension, curve in dimensions.items():
            rates = (f"{curve.values[0]:.0%}", f"{curve.values[-1]:.0%}", str(curve.steps[-1]))
            table.add_row(task, dimension, *rates)
    return table


def _as_json(curves: Curves) -> dict[str, dict[str, dict[str, Any]]]:
    def values(curve: Curve) -> dict[str, Any]:
        return {"steps": curve.steps, "values": curve.values}

    return {
        task: {dimension: values(curve) for dimension, curve in dimensions.items()}
        for task, dimensions in curves.items()
    }

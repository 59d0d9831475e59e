"""The command ``onefill train``: teach the policy to please the judge."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onefill.cli import console
from onefill.cli.launch import launch
from onefill.cli.options import JsonFlag, Offline
from onefill.errors import BadInput
from onefill.launched import is_first, process_count
from onefill.rl import defaults

if TYPE_CHECKING:
    from rich.table import Table

    from onefill.rl.config import RunConfig
    from onefill.rl.ingredients import Ingredients
    from onefill.rl.run_folder import RunFolder
    from onefill.tasks.registry import TaskRegistry

app = typer.Typer(add_completion=False)


_TASKS = ",".join(
    name if weight == 1 else f"{name}={weight:g}" for name, weight in defaults.TASKS.items()
)
_MODEL = "NAME|FOLDER|HUB-ID"


def _option(*names: str, default: object, help: str, **more: Any) -> Any:
    """An option that is None unless typed, as only what was typed wins over a file."""
    return typer.Option(*names, show_default=str(default), help=help, **more)


@app.command()
def train(
    ctx: typer.Context,
    tasks: Annotated[
        str | None,
        _option(
            default=_TASKS,
            metavar="TASK[=WEIGHT],…",
            help="What to train, and how often each is drawn.",
        ),
    ] = None,
    steps: Annotated[
        int | None, _option(default=defaults.STEPS, min=1, help="Number of updates.")
    ] = None,
    seed: Annotated[
        int | None,
        _option(default=defaults.SEED, min=0, help="The same seed gives the same run."),
    ] = None,
    reference: Annotated[
        str | None,
        _option(
            default=defaults.REFERENCE,
            metavar="fixed|dynamic",
            help="Compare with the start model, or with a moving average.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        _option(default="runs/<date-time>", metavar="FOLDER", help="Folder of the run."),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="YAML", help="File of settings; flags win over it.")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Go on with the run in this folder.")
    ] = None,
    force_resume: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY",
            help="With --resume: go on although this differs, as the refusal names it; "
            "may be given again.",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        _option(
            default="the embedded scenes",
            metavar="PATH",
            help="Folder of pictures, or .jsonl with image, mask, prompt, task.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        _option(
            default=defaults.MODEL,
            metavar=_MODEL,
            help="The policy: an embedded name, a diffusers folder, or a hub id.",
        ),
    ] = None,
    judge: Annotated[
        str | None,
        _option(
            default=defaults.JUDGE,
            metavar=_MODEL,
            help="The judge: an embedded name, a model folder, or a hub id.",
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        _option(default=defaults.BATCH_SIZE, min=1, help="Samples of a step."),
    ] = None,
    tasks_per_step: Annotated[
        int | None,
        _option(
            default=defaults.TASKS_PER_STEP,
            min=1,
            help="Tasks drawn for a step; they share its samples.",
        ),
    ] = None,
    learning_rate: Annotated[
        float | None,
        _option("--lr", "--learning-rate", default=defaults.LEARNING_RATE, help="Of AdamW."),
    ] = None,
    lora_rank: Annotated[
        int | None,
        _option(default=defaults.LORA_RANK, min=1, help="Rank of the adapter that is trained."),
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="Train every weight instead of an adapter.")
    ] = False,
    lam: Annotated[
        float | None,
        _option(
            "--lam",
            "--lambda",
            default=defaults.LAM,
            help="P(yes) above which a result earns no more.",
        ),
    ] = None,
    tau: Annotated[
        float | None,
        _option(default=defaults.TAU, help="Share of itself a moving average keeps per step."),
    ] = None,
    eval_scenes: Annotated[
        int | None,
        _option(
            default=defaults.EVALUATION_SCENES,
            min=1,
            help="Held-out samples per task for the win rate.",
        ),
    ] = None,
    eval_every: Annotated[
        int | None,
        _option(
            default=defaults.EVALUATION_EVERY,
            min=0,
            help="Steps between win rates; 0: at both ends only.",
        ),
    ] = None,
    save_every: Annotated[
        int | None,
        _option(default=defaults.CHECKPOINT_EVERY, min=1, help="Steps between checkpoints."),
    ] = None,
    stop_on_hacking: Annotated[
        bool,
        typer.Option(
            "--stop-on-hacking", help="Save and stop when the policy seems to fool its judge."
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Only tell settings, cost of a step, and images per task; keep nothing.",
        ),
    ] = False,
    processes: Annotated[
        int | None,
        _option(
            default=1, min=1, help="Processes that share each batch; on GPUs, one for each GPU."
        ),
    ] = None,
    device: Annotated[
        str | None,
        _option(
            default="a GPU if there is one",
            metavar="NAME",
            help="Where to compute: cpu, cuda, mps.",
        ),
    ] = None,
    offline: Offline = False,
    json_output: JsonFlag = False,
) -> None:
    """Teach the policy to please the judge, and measure what it learned.

    Ctrl-C finishes the step, saves, and prints the line that goes on.
    """
    started = process_count()
    if processes is not None and started > 1 and processes != started:
        raise BadInput(
            f"--processes {processes}: a launcher has started {started} already; leave it out"
        )
    together = processes or started
    registry = console.open_registry(warns=together == started and is_first())
    flags = _flags(
        tasks=registry.parse_weights(tasks) if tasks is not None else None,
        steps=steps,
        seed=seed,
        reference=reference,
        data=str(data.absolute()) if data is not None else None,
        model=model,
        judge=judge,
        batch_size=batch_size,
        tasks_per_step=tasks_per_step,
        optimizer={"learning_rate": learning_rate},
        lora={"rank": lora_rank},
        train="full" if full else None,
        lam=lam,
        tau=tau,
        evaluation={"scenes": eval_scenes, "every": eval_every},
        checkpoints={"every": save_every},
        monitor={"stop": stop_on_hacking or None},
        device=device,
    )
    if dry_run and resume is not None:
        raise BadInput(f"--dry-run: tells of a new run; leave it out, or --resume {resume}")
    if dry_run and together > 1:
        raise BadInput("--dry-run: measures one process; leave --processes and the launcher out")
    forced = frozenset(force_resume or ())

    def prepare() -> tuple[RunFolder, RunConfig]:
        folder, settings = _open_folder(out, config, resume, flags, forced)
        settings.parts(together)
        return folder, settings

    if together > started:
        prepare()  # what is wrong with it is told before anything is started
        raise typer.Exit(launch(ctx.obj, together))
    if dry_run:
        _, settings = prepare()
        _forecast(settings, _find_ingredients(settings, registry, offline), json_output=json_output)
        return
    from onefill.cli.train_session import run_session

    done = run_session(
        prepare,
        lambda settings, speaks: _find_ingredients(settings, registry, offline, speaks=speaks),
        resume=resume is not None,
        forced=forced,
    )
    if done is None:
        return
    folder, summary = done
    if json_output:
        console.print_json(summary)
    else:
        console.stdout().print(_win_rate_table(summary))
        console.say(f"pictures, checkpoints and summary.json are in {folder.path}")


def _flags(**given: Any) -> dict[str, Any]:
    """What was typed, nested as the configuration; the rest is left out."""
    flags: dict[str, Any] = {}
    for name, value in given.items():
        if name != "tasks" and isinstance(value, dict):
            value = _flags(**value)
        if value not in (None, {}):
            flags[name] = value
    return flags


def _open_folder(
    out: Path | None,
    config: Path | None,
    resume: Path | None,
    flags: dict[str, Any],
    forced: frozenset[str],
) -> tuple[RunFolder, RunConfig]:
    from datetime import datetime

    from onefill.rl.config_file import build_config
    from onefill.rl.run_folder import default_name, new_run_folder, open_run_folder

    if resume is None:
        if forced:
            raise BadInput(f"--force-resume {min(forced)}: goes with --resume FOLDER")
        settings = build_config(config, flags)
        return new_run_folder(out or default_name(datetime.now())), settings
    for flag, value in (("--out", out), ("--config", config)):
        if value is not None:
            raise BadInput(
                f"{flag} {value}: a resumed run keeps its folder and its settings; "
                f"leave {flag} out, or --resume"
            )
    return open_run_folder(resume, flags, forced)


def _find_ingredients(
    settings: RunConfig, registry: TaskRegistry, offline: bool, *, speaks: bool = True
) -> Ingredients:
    from onefill.data.source import open_source
    from onefill.pocket import embedded
    from onefill.rl.dimensions import trained_tasks

    def say(text: str) -> None:
        if speaks:
            console.say(text)

    tasks = {name: registry.get(name, flag="tasks") for name in settings.tasks}
    kinds, trained = list(tasks.values()), list(trained_tasks(tasks, settings.dimensions).values())
    model = embedded.resolve("policies", settings.model)
    judge = embedded.resolve("judges", settings.judge)
    more_judges = tuple(embedded.resolve("judges", name) for name in settings.reward.judges)
    if settings.data is None:
        samples = open_source(embedded.scenes("train"), trained, settings.seed)
        held_out = open_source(embedded.scenes("heldout"), kinds, 0)
    else:
        data = Path(settings.data)
        samples = open_source(data, trained, settings.seed, "train")
        held_out = open_source(data, kinds, 0, "heldout")
        say(
            f"{len(samples.pictures())} pictures to train on, "
            f"{len(held_out.pictures())} others held out for the win rate"
        )
    for name in sorted(samples.borrowing):
        say(f"{name}: the data has no mask for it; it draws its own on every picture")

    from onefill.rl.ingredients import Ingredients

    return Ingredients(model, judge, tasks, samples, held_out, more_judges, offline)


def _forecast(settings: RunConfig, ingredients: Ingredients, *, json_output: bool) -> None:
    from onefill.allocator import keep_freed_memory
    from onefill.cli.train_forecast import forecast_tables
    from onefill.rl.config_file import dump_config
    from onefill.rl.dry_run import forecast

    console.say("loading the models, and taking two steps")
    keep_freed_memory()
    found = forecast(settings, ingredients)
    if json_output:
        console.print_json(found)
        return
    out = console.stdout()
    out.print(dump_config(settings), markup=False, highlight=False, soft_wrap=True)
    for table in forecast_tables(found):
        out.print(table)


def _win_rate_table(summary: dict[str, Any]) -> Table:
    from rich.table import Table

    table = Table(title="Held-out win rate against the start model")
    table.add_column("task")
    table.add_column("dimension")
    for heading in ("before", "after", "95 % interval", "samples"):
        table.add_column(heading, justify="right")
    for task, dimensions in summary["win_rate"].items():
        for dimension, found in dimensions.items():
            table.add_row(
                task,
                dimension,
                f"{found['start']:.0%}",
                f"{found['end']:.0%}",
                f"{found['low']:.0%} to {found['high']:.0%}",
                str(found["count"]),
            )
    return table

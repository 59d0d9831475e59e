"""The command ``onefill train-judge``: a judge from preference pairs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onefill.cli import console
from onefill.cli.options import Device, JsonFlag, Offline
from onefill.errors import BadInput

if TYPE_CHECKING:
    from onefill.judge.training.folder import TrainingFolder
    from onefill.judge.training.settings import JudgeTrainingSettings
    from onefill.tasks.registry import TaskRegistry

app = typer.Typer(add_completion=False)

_RATES = {"lora": 1e-4, "full": 3e-4, "scratch": 1.5e-3}
"""Peak learning rates that suit an adapter of any size, all weights of a small judge, and those of
one that starts at random."""

_EPOCHS, _EPOCHS_FROM_SCRATCH = 3, 10


class Method(StrEnum):
    """What is trained."""

    LORA = "lora"
    FULL = "full"


class Precision(StrEnum):
    """Of the weights that stay as they are."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


@app.command()
def train_judge(
    context: typer.Context,
    pairs: Annotated[
        list[Path] | None,
        typer.Option("--pairs", help="A jsonl file of pairs with winners; may be given again."),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Receives the judge.")] = None,
    base: Annotated[
        str,
        typer.Option(
            metavar="NAME|FOLDER|HUB-ID|scratch",
            help="What to start from: an embedded judge, a folder, a hub id, or scratch, which "
            "is random weights.",
        ),
    ] = "pocket",
    resume: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Go on with the interrupted training in this folder."),
    ] = None,
    method: Annotated[
        Method | None,
        typer.Option(
            help="Train an adapter, merged in the end, or every weight.",
            show_default="full for an embedded judge and from scratch, else lora",
        ),
    ] = None,
    lora_rank: Annotated[int, typer.Option(min=1, help="Rank of the adapter.")] = 16,
    validation: Annotated[
        Path | None,
        typer.Option(help="Pairs of other scenes to validate on, instead of a share of --pairs."),
    ] = None,
    validation_share: Annotated[
        float, typer.Option(help="Share of the pairs to validate on, whole scenes at a time.")
    ] = 0.1,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Updates at most.", show_default="by --epochs")
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Passes over the pairs at most.",
            show_default=f"{_EPOCHS}, from scratch {_EPOCHS_FROM_SCRATCH}",
        ),
    ] = None,
    batch: Annotated[
        int,
        typer.Option(min=1, help="Answers in an update; each is asked in both orders."),
    ] = 16,
    together: Annotated[
        int, typer.Option(min=1, help="Answers in memory at once; fewer take less memory.")
    ] = 16,
    rate: Annotated[
        float | None,
        typer.Option(
            "--rate",
            "--lr",
            help="Peak learning rate.",
            show_default=", ".join(f"{value:g} for {name}" for name, value in _RATES.items()),
        ),
    ] = None,
    every: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Steps between validations, each with a checkpoint.",
            show_default="a twentieth of the steps",
        ),
    ] = None,
    patience: Annotated[
        int, typer.Option(min=1, help="Validations without a better one before it stops.")
    ] = 5,
    show: Annotated[
        str | None,
        typer.Option(
            metavar="source,mask",
            help="What to show beside the two pictures; judging then shows it too.",
            show_default="as the base",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same judge.")] = 0,
    dtype: Annotated[
        Precision, typer.Option(help="Precision of the weights an adapter leaves alone.")
    ] = Precision.FLOAT32,
    recompute: Annotated[
        bool, typer.Option("--recompute", help="Less memory, more time: keep no activations.")
    ] = False,
    device: Device = "auto",
    offline: Offline = False,
    json_output: JsonFlag = False,
) -> None:
    """Train a judge on preference pairs, measure and calibrate it.

    Every pair is asked in both orders (Eq. 3 of the OneReward paper). Ctrl-C finishes the step,
    saves, and prints the line that goes on.
    """
    from onefill.judge.training.folder import new_folder, open_folder
    from onefill.judge.training.settings import SCRATCH, JudgeTrainingSettings
    from onefill.pocket import embedded

    registry = console.open_registry()
    if resume is not None:
        _refuse_beside_resume(context)
        folder, settings = open_folder(resume)
    else:
        if not pairs:
            raise BadInput("--pairs: name a jsonl file of pairs to train on (or --resume FOLDER)")
        if out is None:
            raise BadInput("--out: name the folder that becomes the judge, as --out my-judge")
        scratch = base == SCRATCH
        if method is None:
            method = Method.FULL if scratch or base in embedded.JUDGES else Method.LORA
        if epochs is None:
            epochs = _EPOCHS_FROM_SCRATCH if scratch else _EPOCHS
        if rate is None:
            rate = _RATES["scratch" if scratch else method.value]
        settings = JudgeTrainingSettings(
            pairs=tuple(str(path.absolute()) for path in pairs),
            validation=str(validation.absolute()) if validation else None,
            validation_share=validation_share,
            base=base if scratch else _resolve(base),
            method=method.value,
            lora_rank=lora_rank,
            steps=steps,
            epochs=epochs,
            batch=batch,
            together=together,
            rate=rate,
            every=every,
            patience=patience,
            seed=seed,
            sees=tuple(part.strip() for part in show.split(",")) if show else (),
            dtype=dtype.value,
            device=device,
            recompute=recompute,
        )
        folder = new_folder(out)
    summary = _train(settings, folder, registry, resume=resume is not None, offline=offline)
    if json_output:
        console.print_json(summary)
        return
    _show(summary, folder)


def _resolve(base: str) -> str:
    from onefill.pocket import embedded

    try:
        found = embedded.resolve("judges", base)
    except BadInput as error:
        raise BadInput(str(error).replace("--judge ", "--base ", 1)) from error
    # Kept in the folder, so that a resumed training finds it from anywhere.
    return str(Path(found).absolute()) if Path(found).is_dir() else found


def _refuse_beside_resume(context: typer.Context) -> None:
    allowed = {"resume", "offline", "json_output"}
    for name in context.params:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE" and name not in allowed:
            raise BadInput(
                f"--{name.replace('_', '-')}: a resumed training keeps its settings; leave it out, "
                "or start a new training"
            )


def _train(
    settings: JudgeTrainingSettings,
    folder: TrainingFolder,
    registry: TaskRegistry,
    *,
    resume: bool,
    offline: bool,
) -> dict[str, Any]:
    from onefill.allocator import keep_freed_memory
    from onefill.interrupt import Interrupted, listen_for_stop
    from onefill.judge.training.display import open_training_display
    from onefill.judge.training.loop import train
    from onefill.judge.training.session import open_session
    from onefill.pocket.judge.untrained import new_judge

    keep_freed_memory()
    session = open_session(
        settings,
        folder,
        registry,
        resume=resume,
        offline=offline,
        note=console.say,
        new_judge=new_judge,
    )
    begin = session.progress.step
    talk = console.stderr()
    try:
        with (
            listen_for_stop() as stop,
            open_training_display(talk, session.steps, begin) as display,
        ):
            return train(session, display, stop)
    except Interrupted as error:
        console.say(
            f"interrupted after step {session.progress.step}, and saved; go on with: "
            f"onefill train-judge --resume {folder.path}"
        )
        raise typer.Exit(error.exit_code) from error


def _show(summary: dict[str, Any], folder: TrainingFolder) -> None:
    from onefill.cli.judge_tables import accuracy_tables
    from onefill.judge.report import table_from_json

    out = console.stdout()
    for table in accuracy_tables(table_from_json(summary), summary["validation_pairs"]):
        out.print(table)
    typer.echo(
        f"best of {summary['steps']} steps: step {summary['best_step']}; calibration error "
        f"{summary['ece_before']:.3f} before, {summary['ece_after']:.3f} with temperatures "
        "(fitted on other scenes than measured)"
    )
    console.say(
        f"{folder.path} goes after --judge; its worst mistakes are in {folder.path}/report.html"
    )

"""``onefill pocket``: rebuild the embedded models, and print their figures."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from onefill.cli import console
from onefill.cli.options import Device, JsonFlag, ModelName, Seed
from onefill.errors import BadInput

app = typer.Typer(
    add_completion=False, help="Rebuild the embedded models from their sources, and score them."
)


class Stage(StrEnum):
    """A stage of the recipe, or all of them in order."""

    SCENES = "scenes"
    VAE = "vae"
    POLICY = "policy"
    DISTILLED = "distilled"
    CLASSIFIER = "classifier"
    JUDGE = "judge"
    SECOND_JUDGE = "second-judge"
    ALL = "all"


@app.command()
def build(
    stage: Annotated[Stage, typer.Option(help="Which part of the recipe to run.")] = Stage.ALL,
    minutes: Annotated[
        float | None,
        typer.Option(
            help="Time of each stage in all, earlier runs counted; default: as shipped.",
            show_default=False,
            min=0.1,
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            help="Updates of each stage in place of a time: the same weights every time.",
            show_default=False,
            min=1,
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option(help="Receives scenes/ and weights/.", file_okay=False)
    ] = Path("pocket"),
    cache: Annotated[
        Path,
        typer.Option(help="Fetched pictures and unfinished trainings.", file_okay=False),
    ] = Path("pocket-cache"),
    begin: Annotated[
        Path | None,
        typer.Option(
            help="Begin the training of the policy or a judge from the weights in this folder.",
            show_default=False,
            exists=True,
            file_okay=False,
        ),
    ] = None,
    against: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="RUN",
            help="Show the judge what this run paints beside the truth; repeatable.",
            show_default=False,
        ),
    ] = None,
    device: Device = "cpu",
    threads: Annotated[
        int | None, typer.Option(help="CPU threads; default: all.", show_default=False, min=1)
    ] = None,
    seed: Seed = 0,
) -> None:
    """Make the embedded models from pictures in free packages; a second run goes on."""
    import torch

    from onefill.cli.adapters import adapter_folder

    if against and stage not in (Stage.JUDGE, Stage.ALL):
        raise BadInput(f"--against: goes with --stage judge, not {stage.value}")
    adapters = [adapter_folder(run, "--against") for run in against or ()]

    if minutes is not None and steps is not None:
        raise BadInput("--minutes and --steps: give one of them")

    from onefill.allocator import keep_freed_memory
    from onefill.pocket.build import MINUTES, STAGES
    from onefill.pocket.build import build as run_stage
    from onefill.pocket.training_plan import Length, Plan
    from onefill.policy.device import find_device

    keep_freed_memory()
    if threads is not None:
        torch.set_num_threads(threads)
    where = find_device(device)
    for name in STAGES if stage is Stage.ALL else (stage.value,):
        usual = MINUTES[name] if steps is None else None
        length = Length(minutes=minutes or usual, steps=steps)
        console.say(f"stage {name}: {length}")
        plan = Plan(cache=cache, length=length, seed=seed, log=console.say, device=where)
        run_stage(name, out, plan, begin, adapters)


@app.command()
def score(
    model: ModelName = "pocket",
    judge: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Score this judge instead, on pairs drawn anew from the recipe's sources.",
            show_default=False,
        ),
    ] = None,
    pairs: Annotated[
        int, typer.Option(help="Held-out pairs of each task and dimension.", min=1)
    ] = 200,
    cache: Annotated[
        Path, typer.Option(help="Fetched pictures, for --judge.", file_okay=False)
    ] = Path("pocket-cache"),
    seed: Seed = 0,
    json_output: JsonFlag = False,
) -> None:
    """Print the score table of a policy on the held-out scenes, or of a judge on held-out pairs.

    Some rows need pip install 'onefill[score]'.
    """
    from onefill.pocket import embedded

    if judge is not None:
        _score_judge(embedded.resolve("judges", judge), cache, pairs, seed, json_output=json_output)
        return
    folder = embedded.resolve("policies", model)
    held_out, unseen = embedded.scenes("heldout"), embedded.scenes("unseen")

    from onefill.allocator import keep_freed_memory
    from onefill.pocket.scoring.report import score_policy

    keep_freed_memory()
    document = score_policy(folder, held_out, unseen, embedded.CLASSIFIER, seed, console.say)
    if json_output:
        console.print_json({"model": model, "seed": seed, **document})
        return
    _print_table(document["rows"])


_COLOURS = {"aim": "green", "floor": "yellow", "none": "red", None: ""}


def _print_table(rows: list[dict[str, Any]]) -> None:
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("what", ratio=3)
    table.add_column("measured", ratio=2)
    for heading in ("floor", "aim"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        measured = Text(row["measured"], style=_COLOURS[row["reached"]])
        if row.get("note"):
            measured.append(f"\n{row['note']}", style="dim")
        table.add_row(escape(row["what"]), measured, row["floor"], row["aim"])
    table.caption = "In brackets the 95 % interval."
    table.caption_justify = "left"
    console.stdout().print(table)


def _score_judge(folder: str, cache: Path, pairs: int, seed: int, *, json_output: bool) -> None:
    from onefill.pocket.contests.accuracy import judge_accuracy

    table = judge_accuracy(Path(folder), cache, pairs, seed)
    if json_output:
        console.print_json({"judge": folder, "cells": table})
        return
    for cell, entry in table.items():
        console.stdout().print(
            f"{cell}: {entry['accuracy']:.1%} of {entry['n']:.0f} pairs, both orders together "
            f"{entry['both_orders']:.1%}, order gap {entry['order_gap']:.3f}, calibration error "
            f"{entry['ece']:.3f}",
            highlight=False,
        )

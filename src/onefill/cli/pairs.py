"""``onefill pairs``: make preference pairs, check a file of them, or import somebody else's."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from onefill.cli import console
from onefill.cli.options import JsonFlag
from onefill.cli.pairs_make import make
from onefill.cli.progress import counting
from onefill.errors import BadInput

app = typer.Typer(
    add_completion=False,
    help="Make preference pairs without people, check a file of them, import somebody else's.",
)
app.command()(make)


class Layout(StrEnum):
    """How a table is stored."""

    JSONL = "jsonl"
    PARQUET = "parquet"
    HF = "hf"


@app.command()
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", show_default=False, help="A pairs file.")],
    against: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Another split, that no scene and no picture may be shared with.",
            show_default=False,
        ),
    ] = None,
    json_output: JsonFlag = False,
) -> None:
    """List every fault of a pairs file with its line; exit 2 if there is one.

    Pictures are decoded: their sizes, damaged files, pairs that are said twice or otherwise.
    """
    registry = console.open_registry()

    from onefill.pairs.check import check_pairs

    pairs, faults = 0, []
    with counting("lines") as count:
        for _, found in check_pairs(file, registry, against):
            pairs += 1
            faults += found
            count()
            if not json_output:
                for fault in found:
                    typer.echo(f"line {fault.line}: {fault.text}")
    if json_output:
        listed = [{"line": fault.line, "fault": fault.text} for fault in faults]
        console.print_json({"file": str(file), "pairs": pairs, "faults": listed})
    if faults:
        lines = len({fault.line for fault in faults})
        raise BadInput(
            f"{file}: {len(faults)} fault{'s' * (len(faults) > 1)} in {lines} of {pairs} lines; "
            "mend or delete these lines"
        )
    console.say(f"{pairs} pairs, no fault")


@app.command("import")
def import_(
    table: Annotated[
        str,
        typer.Argument(
            metavar="FILE|DATASET", show_default=False, help="A table of pairs, or a dataset's id."
        ),
    ],
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="A new folder for pairs.jsonl and pictures/.")
    ] = Path("imported"),
    layout: Annotated[
        Layout | None,
        typer.Option(help="How the table is stored.", show_default="by the file's name"),
    ] = None,
    first: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="The first picture: path or bytes.")
    ] = None,
    second: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="The second picture.")
    ] = None,
    winner: Annotated[str | None, typer.Option(metavar="COLUMN", help="Which is better.")] = None,
    values: Annotated[
        str | None,
        typer.Option(
            metavar="FIRST,SECOND[,TIE]",
            help="What the winner's column holds where the first, the second, none is better.",
        ),
    ] = None,
    prompt: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="What was asked for.")
    ] = None,
    task: Annotated[
        str, typer.Option(metavar="NAME|COLUMN", help="The edit that both are results of.")
    ] = "fill",
    dim: Annotated[
        str | None, typer.Option(metavar="NAME|COLUMN", help="What was compared.")
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Where paths start.", show_default="the table's folder"
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="Split of a Hugging Face dataset.")] = "train",
    limit: Annotated[
        int | None, typer.Option(min=1, help="Most rows to read.", show_default="all")
    ] = None,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave rows with a fault out, naming each.")
    ] = False,
    json_output: JsonFlag = False,
) -> None:
    """Turn a table with two pictures and a winner into pairs. Common columns are guessed."""
    registry = console.open_registry()

    from onefill.pairs.columns import Asked
    from onefill.pairs.importing import import_pairs
    from onefill.pairs.tables import guess_layout, read_table

    meanings = tuple(part.strip() for part in (values or "").split(",") if part.strip())
    if values is not None and not (len(set(meanings)) == len(meanings) and len(meanings) in (2, 3)):
        raise BadInput(f"--values {values}: give two or three different values, as 1,0 or a,b,tie")
    asked = Asked(
        first=first,
        second=second,
        winner=winner,
        prompt=prompt,
        task=task,
        dim=dim,
        values=meanings,
    )
    stored = layout.value if layout is not None else guess_layout(table)
    near = Path(table)
    if images is None:
        images = near if near.is_dir() else near.parent if near.exists() else Path()
    with counting("rows") as count:
        found = import_pairs(
            read_table(table, stored, split),
            asked,
            registry,
            out,
            images=images,
            limit=limit,
            on_bad=(lambda error: console.warn(f"left out: {error}")) if skip_bad else None,
            on_row=count,
        )
    console.say(f"taken for: {found.columns.told()}")
    console.say(f"{found.pairs} pairs, {found.skipped} rows left out")
    if json_output:
        console.print_json(
            {"pairs": str(out / "pairs.jsonl"), "count": found.pairs, "skipped": found.skipped}
        )
        return
    typer.echo(out / "pairs.jsonl")

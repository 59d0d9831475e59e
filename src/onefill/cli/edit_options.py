"""The options of ``onefill edit``, in the groups that its help shows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

_WHERE = "Where to paint"
_EXTEND = "Extend"
_PAINT = "How to paint"
_RESULTS = "Results"
_MANY = "Many edits"

Photograph = Annotated[
    Path | None,
    typer.Argument(
        help="The photograph, or a folder of them with --mask FOLDER; none with --jobs.",
        show_default=False,
    ),
]
Prompts = Annotated[
    list[str] | None,
    typer.Option(
        metavar="WORDS",
        help="What to paint; removal needs none. With --each-region one for all, or one for each.",
    ),
]
TaskName = Annotated[
    str | None,
    typer.Option(
        metavar="TASK",
        help="Kind of edit; see `onefill tasks`. Default: fill; extend with --to or --expand; "
        "text with --text.",
    ),
]
TextWords = Annotated[
    str | None,
    typer.Option(metavar="WORDS", help="Words to write into the picture: the task text."),
]
MaskFile = Annotated[
    Path | None,
    typer.Option(
        help="Image of the same size; white is painted, black is kept.",
        rich_help_panel=_WHERE,
    ),
]
Boxes = Annotated[
    list[str] | None,
    typer.Option(
        metavar="X,Y,W,H",
        help="A rectangle, in pixels or percent: 25%,10%,200,200. May be given again.",
        rich_help_panel=_WHERE,
    ),
]
Polygons = Annotated[
    list[str] | None,
    typer.Option(
        metavar="'X,Y X,Y …'",
        help="Three corners or more, in pixels or percent. May be given again.",
        rich_help_panel=_WHERE,
    ),
]
MaskAlpha = Annotated[
    str | None,
    typer.Option(
        metavar="PART",
        help="Take the mask from an alpha channel: paint what is opaque, or transparent. "
        "Without --mask, the photograph's own.",
        rich_help_panel=_WHERE,
    ),
]
InvertMask = Annotated[
    bool,
    typer.Option("--invert-mask", help="Paint all that is not masked.", rich_help_panel=_WHERE),
]
DrawMask = Annotated[
    bool,
    typer.Option(
        "--draw-mask",
        help="Let the task draw a mask, as it does in training.",
        rich_help_panel=_WHERE,
    ),
]
EachRegion = Annotated[
    bool,
    typer.Option(
        "--each-region",
        help="Paint separate regions one after another, each from close by.",
        rich_help_panel=_WHERE,
    ),
]
Grow = Annotated[
    str | None,
    typer.Option(
        metavar="LENGTH",
        help="Grow the mask by pixels, or by percent of a square as large. "
        "Default for removal: 8%, and a shadow on even ground where one is plain; else 0.",
        rich_help_panel=_WHERE,
    ),
]
ToShape = Annotated[
    str | None,
    typer.Option(metavar="SHAPE", help="16:9, or pixels as 1920x1080.", rich_help_panel=_EXTEND),
]
ExpandSides = Annotated[
    str | None,
    typer.Option(
        metavar="SIDES",
        help="left=20%,top=128: what to add to left, right, top, bottom or all.",
        rich_help_panel=_EXTEND,
    ),
]
Anchor = Annotated[
    str | None,
    typer.Option(
        metavar="PLACE",
        help="Where the picture stands in --to: center, left, top-right …",
        rich_help_panel=_EXTEND,
    ),
]
Steps = Annotated[
    int | None,
    typer.Option(min=1, help="Denoising steps; default: the model's.", rich_help_panel=_PAINT),
]
Guidance = Annotated[
    float | None,
    typer.Option(
        "--guidance",
        "--true-cfg",
        min=1.0,
        help="True guidance scale, 1 is off; default: the model's.",
        rich_help_panel=_PAINT,
    ),
]
Negative = Annotated[
    str | None,
    typer.Option(
        metavar="WORDS",
        help="What guidance leads away from; default: the model's.",
        rich_help_panel=_PAINT,
    ),
]
Strength = Annotated[
    float | None,
    typer.Option(
        min=0.05,
        max=1.0,
        help="Begin from the surroundings carried into the mask, with this much noise; "
        "1 is noise alone. Default: the model's for the task.",
        rich_help_panel=_PAINT,
    ),
]
Feather = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=2048,
        metavar="PIXELS",
        help="Width of the blended band around the mask; default: one pixel of the model.",
        rich_help_panel=_PAINT,
    ),
]
Count = Annotated[
    int,
    typer.Option(
        "-n", "--count", min=1, max=1000, help="Results to make.", rich_help_panel=_RESULTS
    ),
]
Rank = Annotated[
    bool,
    typer.Option(
        "--rank",
        help="Let the judge order the results, best first, and write the ranking.",
        rich_help_panel=_RESULTS,
    ),
]
RankDims = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="With --rank: what counts; may be given again. Default: all that the task has.",
        rich_help_panel=_RESULTS,
    ),
]
Keep = Annotated[
    int | None,
    typer.Option(min=1, help="With --rank: write the best so many only.", rich_help_panel=_RESULTS),
]
RankJudge = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|FOLDER|HUB-ID",
        help="With --rank: who judges. Default: pocket.",
        rich_help_panel=_RESULTS,
    ),
]
Compare = Annotated[
    bool,
    typer.Option("--compare", help="Write a sheet of before and after.", rich_help_panel=_RESULTS),
]
CheckText = Annotated[
    bool,
    typer.Option(
        "--check-text",
        help="Read back what the task text wrote, and say what it reads (extra: ocr).",
        rich_help_panel=_RESULTS,
    ),
]
Output = Annotated[
    str | None,
    typer.Option(
        "-o",
        "--output",
        metavar="PATH",
        help="A .png, .jpg or .webp file, a folder (dir/), or a pattern such as "
        "'out/{stem}-{seed}.png' with {stem}, {task}, {seed} or {n}. "
        "Default: <stem>-<task>-<seed>.png in the current folder, never replacing a file.",
        rich_help_panel=_RESULTS,
    ),
]
NoMetadata = Annotated[
    bool,
    typer.Option(
        "--no-metadata",
        help="Leave out of the results how they were made.",
        rich_help_panel=_RESULTS,
    ),
]
SaveDebug = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="Save the crop and both masks there as well.",
        rich_help_panel=_RESULTS,
    ),
]
JobsFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="A jsonl file of edits, one a line, for which the other options hold where it "
        "says nothing; needs -o.",
        rich_help_panel=_MANY,
    ),
]
SkipExisting = Annotated[
    bool,
    typer.Option(
        "--skip-existing",
        help="Leave out what an earlier run has done; what has changed since is painted again.",
        rich_help_panel=_MANY,
    ),
]
OnError = Annotated[
    str,
    typer.Option(
        metavar="WHAT",
        help="stop at the first edit that fails, or continue and list them at the end.",
        rich_help_panel=_MANY,
    ),
]
AllowOutside = Annotated[
    bool,
    typer.Option(
        "--allow-outside",
        help="Let --jobs name files outside its own folder and that of -o.",
        rich_help_panel=_MANY,
    ),
]
AdapterFolder = Annotated[
    Path | None,
    typer.Option(
        metavar="FOLDER",
        help="A finished training run, its adapter folder, or pocket-distilled.",
    ),
]

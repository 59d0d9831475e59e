"""Options that several commands share, so that they look and mean the same everywhere."""

from __future__ import annotations

from typing import Annotated

import typer

_MODEL = "NAME|FOLDER|HUB-ID"

ModelName = Annotated[
    str,
    typer.Option(
        "--model",
        metavar=_MODEL,
        help="The policy: an embedded name, a diffusers folder, or a hub id.",
    ),
]
JudgeName = Annotated[
    str,
    typer.Option(
        "--judge",
        metavar=_MODEL,
        help="The judge: an embedded name, a model folder, or a hub id.",
    ),
]
JsonFlag = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="The same seed gives the same result.")]
Device = Annotated[
    str, typer.Option("--device", metavar="NAME", help="Where to compute: cpu, cuda, mps.")
]
Offline = Annotated[
    bool, typer.Option("--offline", help="Never ask a model hub; use files on this machine.")
]
JudgeDtype = Annotated[
    str,
    typer.Option(
        "--dtype",
        metavar="NAME",
        help="The judge's numbers: float32, bfloat16, float16. Half as wide, half the memory.",
    ),
]
Quantize = Annotated[
    str | None,
    typer.Option(
        "--quantize",
        metavar="NAME",
        help="Fewer bits for the judge's weights: bnb-8bit, bnb-4bit, torchao-int8.",
    ),
]
PairsTogether = Annotated[
    int,
    typer.Option(
        "--batch", min=1, help="Pairs asked together; fewer take less memory, more are faster."
    ),
]

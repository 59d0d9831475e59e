"""The command ``onefill export``: what a run has trained, for others to load."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from onefill.cli import console
from onefill.cli.options import Offline
from onefill.errors import BadInput

app = typer.Typer(add_completion=False)


class Form(StrEnum):
    """What is written."""

    ADAPTER = "adapter"
    TRANSFORMER = "transformer"
    PIPELINE = "pipeline"


class Layout(StrEnum):
    """Who reads an adapter."""

    DIFFUSERS = "diffusers"
    PEFT = "peft"
    COMFY = "comfy"


@app.command()
def export(
    run: Annotated[
        str, typer.Argument(metavar="RUN", show_default=False, help="A run's name, or its folder.")
    ],
    to: Annotated[
        Form,
        typer.Option(help="A LoRA, a transformer with it worked in, or the whole pipeline."),
    ] = Form.ADAPTER,
    layout: Annotated[
        Layout, typer.Option("--format", help="Of an adapter: who is to read it.")
    ] = Layout.DIFFUSERS,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="PATH", show_default="RUN-FORM", help="Must not exist yet."
        ),
    ] = None,
    checkpoint: Annotated[
        str,
        typer.Option(metavar="last|best|STEP", help="Which checkpoint; best by win rate."),
    ] = "last",
    last_update: Annotated[
        bool,
        typer.Option("--last-update", help="Its weights themselves, not their moving average."),
    ] = False,
    offline: Offline = False,
) -> None:
    """Write what a run has trained as an adapter, a transformer or a pipeline.

    Stock diffusers loads each; --format comfy is for ComfyUI, a file in place of a folder. The run
    need not be finished. Prints the path.
    """
    from onefill.pocket import embedded
    from onefill.rl.config_file import build_config
    from onefill.rl.run_folder import RunFolder

    if to is not Form.ADAPTER and layout is not Layout.DIFFUSERS:
        raise BadInput(f"--format {layout.value}: goes with --to adapter; leave it out")
    folder = next(
        (
            f
            for f in (RunFolder(Path("runs") / run), RunFolder(Path(run)))
            if f.config_file.is_file()
        ),
        None,
    )
    if folder is None:
        raise BadInput(f"{run}: no such run; see `onefill runs`, or give its folder")
    target = output or Path(f"{folder.path.absolute().name}-{to.value}{_ending(layout)}")
    if target.exists():
        raise BadInput(f"-o {target}: is there already; choose another name")
    config = build_config(folder.config_file, {})

    from onefill.rl.export import trained_weights, write_adapter, write_model

    weights = trained_weights(folder, config, checkpoint, last_update=last_update)
    if to is Form.ADAPTER:
        write_adapter(weights, config, layout.value, target)
    else:
        model = embedded.resolve("policies", config.model)
        whole = to is Form.PIPELINE
        write_model(weights, config, model, target, whole=whole, offline=offline)
    console.say(_hint(to, layout, target))
    typer.echo(target)


def _ending(layout: Layout) -> str:
    return {Layout.COMFY: "-comfy.safetensors", Layout.PEFT: "-peft"}.get(layout, "")


def _hint(to: Form, layout: Layout, target: Path) -> str:
    if layout is Layout.COMFY:
        return "put it into ComfyUI's models/loras"
    if layout is Layout.PEFT:
        return "PeftModel.from_pretrained(transformer, …) reads it"
    return {
        Form.ADAPTER: f"`onefill edit --adapter {target}` uses it; "
        "FluxFillPipeline.load_lora_weights reads it",
        Form.TRANSFORMER: "FluxTransformer2DModel.from_pretrained reads it",
        Form.PIPELINE: f"`onefill edit --model {target}` uses it; "
        "FluxFillPipeline.from_pretrained reads it",
    }[to]

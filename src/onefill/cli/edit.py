"""The command ``onefill edit``: paint inside a mask of a photograph."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onefill.cli import console
from onefill.cli.options import Device, JsonFlag, ModelName, Offline, Seed
from onefill.errors import BadInput

if TYPE_CHECKING:
    from onefill.edit.job import EditResult, Sampling
    from onefill.edit.request import EditPlan
    from onefill.policy.flux_fill import FluxFillPolicy

app = typer.Typer(add_completion=False)


@app.command()
def edit(
    image: Annotated[Path, typer.Argument(help="The photograph.", show_default=False)],
    mask: Annotated[
        Path | None,
        typer.Option(help="Image of the same size; white is painted, black is kept."),
    ] = None,
    prompt: Annotated[
        str | None, typer.Option(metavar="WORDS", help="What to paint; removal needs none.")
    ] = None,
    task: Annotated[
        str, typer.Option(metavar="TASK", help="Kind of edit; see `onefill tasks`.")
    ] = "fill",
    to: Annotated[
        str | None,
        typer.Option(metavar="SHAPE", help="With --task extend: 16:9, or pixels as 1920x1080."),
    ] = None,
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="Results to make.")] = 1,
    seed: Seed = 0,
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            metavar="PATH",
            help="A .png, .jpg or .webp file, a folder (dir/), or a pattern such as "
            "'out/{stem}-{seed}.png' with {stem}, {task}, {seed} or {n}. "
            "Default: <stem>-<task>-<seed>.png in the current folder, never replacing a file.",
        ),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Denoising steps; default: the model's.")
    ] = None,
    guidance: Annotated[
        float | None,
        typer.Option(min=1.0, help="True guidance scale, 1 is off; default: the model's."),
    ] = None,
    negative: Annotated[
        str | None,
        typer.Option(metavar="WORDS", help="What guidance leads away from; default: the model's."),
    ] = None,
    strength: Annotated[
        float | None,
        typer.Option(
            min=0.05,
            max=1.0,
            help="Begin from the surroundings carried into the mask, with this much noise; "
            "1 is noise alone. Default: the model's for the task.",
        ),
    ] = None,
    feather: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=2048,
            metavar="PIXELS",
            help="Width of the blended band around the mask; default: one pixel of the model.",
        ),
    ] = None,
    model: ModelName = "pocket",
    adapter: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="A finished training run, or its adapter folder."),
    ] = None,
    device: Device = "cpu",
    offline: Offline = False,
    save_debug: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Save the crop and both masks there as well."),
    ] = None,
    json_output: JsonFlag = False,
) -> None:
    """Paint inside a mask of a photograph; every other pixel stays.

    Prints the path of each result.
    """
    from onefill.edit.request import EditRequest, plan_edit
    from onefill.pocket.embedded import resolve

    registry = console.open_registry()
    registry.get(task)
    plan = plan_edit(
        EditRequest(
            image=image,
            task=registry.tasks[task],
            mask=mask,
            words=prompt,
            to=to,
            count=count,
            seed=seed,
            output=output,
            feather=feather,
            debug=save_debug,
        )
    )
    folder = resolve("policies", model)
    weights = None if adapter is None else _adapter_folder(adapter)

    from onefill.edit.job import Sampling

    sampling = Sampling(steps=steps, guidance=guidance, negative=negative, strength=strength)
    results = _carry_out(
        plan, sampling, folder, weights, device=device, offline=offline, quiet=json_output
    )
    if json_output:
        console.print_json(
            {
                "images": [
                    {"path": str(r.path), "seed": r.seed, "width": r.width, "height": r.height}
                    for r in results
                ]
            }
        )


def _adapter_folder(path: Path) -> Path:
    """The adapter of a run folder, or the folder itself if it is one."""
    for folder in (path / "adapter", path):
        if (folder / "pytorch_lora_weights.safetensors").is_file():
            return folder
    raise BadInput(
        f"--adapter {path}: no trained adapter in it; give the folder of a finished "
        "`onefill train` run"
    )


def _carry_out(
    plan: EditPlan,
    sampling: Sampling,
    model: str,
    adapter: Path | None,
    *,
    device: str,
    offline: bool,
    quiet: bool,
) -> list[EditResult]:
    from onefill.edit.job import run_edit
    from onefill.policy.loading import load_policy

    policy = load_policy(model, device=device, offline=offline)
    if adapter is not None:
        policy.load_adapter(adapter)
    results: list[EditResult] = []
    for result in run_edit(plan, policy, sampling):
        # Only now: a prompt that turns out too long leaves its own line and no other.
        if not results:
            _remark(plan, sampling, policy)
        results.append(result)
        if not quiet:
            typer.echo(result.path)
    return results


def _remark(plan: EditPlan, sampling: Sampling, policy: FluxFillPolicy) -> None:
    for note in plan.notes:
        console.say(note)
    for text in filter(None, (plan.prompt, sampling.negative)):
        for word, nearest in policy.unknown_words(text):
            console.warn(f"{word!r} is no word this model knows; the nearest is {nearest!r}")

"""The command ``onefill edit``: paint inside a mask of a photograph."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onefill.cli import console
from onefill.cli.options import Device, JsonFlag, ModelName, Offline, Seed
from onefill.errors import BadInput

if TYPE_CHECKING:
    from onefill.edit.job import EditResult, Signature
    from onefill.edit.painting import Sampling
    from onefill.edit.request import EditPlan
    from onefill.policy.flux_fill import FluxFillPolicy
    from onefill.tasks.registry import RegisteredTask, TaskRegistry

app = typer.Typer(add_completion=False)

_WHERE = "Where to paint"
_EXTEND = "Extend"
_PAINT = "How to paint"
_RESULTS = "Results"


@app.command()
def edit(
    image: Annotated[Path, typer.Argument(help="The photograph.", show_default=False)],
    prompt: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WORDS",
            help="What to paint; removal needs none. With --each-region one for all, or one for "
            "each.",
        ),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            metavar="TASK",
            help="Kind of edit; see `onefill tasks`. Default: fill; extend with --to or --expand; "
            "text with --text.",
        ),
    ] = None,
    text: Annotated[
        str | None,
        typer.Option(metavar="WORDS", help="Words to write into the picture: the task text."),
    ] = None,
    mask: Annotated[
        Path | None,
        typer.Option(
            help="Image of the same size; white is painted, black is kept.",
            rich_help_panel=_WHERE,
        ),
    ] = None,
    box: Annotated[
        list[str] | None,
        typer.Option(
            metavar="X,Y,W,H",
            help="A rectangle, in pixels or percent: 25%,10%,200,200. May be given again.",
            rich_help_panel=_WHERE,
        ),
    ] = None,
    polygon: Annotated[
        list[str] | None,
        typer.Option(
            metavar="'X,Y X,Y …'",
            help="Three corners or more, in pixels or percent. May be given again.",
            rich_help_panel=_WHERE,
        ),
    ] = None,
    mask_alpha: Annotated[
        str | None,
        typer.Option(
            metavar="PART",
            help="Take the mask from an alpha channel: paint what is opaque, or transparent. "
            "Without --mask, the photograph's own.",
            rich_help_panel=_WHERE,
        ),
    ] = None,
    invert_mask: Annotated[
        bool,
        typer.Option("--invert-mask", help="Paint all that is not masked.", rich_help_panel=_WHERE),
    ] = False,
    draw_mask: Annotated[
        bool,
        typer.Option(
            "--draw-mask",
            help="Let the task draw a mask, as it does in training.",
            rich_help_panel=_WHERE,
        ),
    ] = False,
    each_region: Annotated[
        bool,
        typer.Option(
            "--each-region",
            help="Paint separate regions one after another, each from close by.",
            rich_help_panel=_WHERE,
        ),
    ] = False,
    grow: Annotated[
        str | None,
        typer.Option(
            metavar="LENGTH",
            help="Grow the mask by pixels, or by percent of a square as large. "
            "Default: 8% for removal, so that shadows go too; else 0.",
            rich_help_panel=_WHERE,
        ),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            metavar="SHAPE", help="16:9, or pixels as 1920x1080.", rich_help_panel=_EXTEND
        ),
    ] = None,
    expand: Annotated[
        str | None,
        typer.Option(
            metavar="SIDES",
            help="left=20%,top=128: what to add to left, right, top, bottom or all.",
            rich_help_panel=_EXTEND,
        ),
    ] = None,
    anchor: Annotated[
        str | None,
        typer.Option(
            metavar="PLACE",
            help="Where the picture stands in --to: center, left, top-right …",
            rich_help_panel=_EXTEND,
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(min=1, help="Denoising steps; default: the model's.", rich_help_panel=_PAINT),
    ] = None,
    guidance: Annotated[
        float | None,
        typer.Option(
            "--guidance",
            "--true-cfg",
            min=1.0,
            help="True guidance scale, 1 is off; default: the model's.",
            rich_help_panel=_PAINT,
        ),
    ] = None,
    negative: Annotated[
        str | None,
        typer.Option(
            metavar="WORDS",
            help="What guidance leads away from; default: the model's.",
            rich_help_panel=_PAINT,
        ),
    ] = None,
    strength: Annotated[
        float | None,
        typer.Option(
            min=0.05,
            max=1.0,
            help="Begin from the surroundings carried into the mask, with this much noise; "
            "1 is noise alone. Default: the model's for the task.",
            rich_help_panel=_PAINT,
        ),
    ] = None,
    feather: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=2048,
            metavar="PIXELS",
            help="Width of the blended band around the mask; default: one pixel of the model.",
            rich_help_panel=_PAINT,
        ),
    ] = None,
    count: Annotated[
        int, typer.Option("-n", "--count", min=1, help="Results to make.", rich_help_panel=_RESULTS)
    ] = 1,
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
            rich_help_panel=_RESULTS,
        ),
    ] = None,
    no_metadata: Annotated[
        bool,
        typer.Option(
            "--no-metadata",
            help="Leave out of the results how they were made.",
            rich_help_panel=_RESULTS,
        ),
    ] = False,
    save_debug: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Save the crop and both masks there as well.",
            rich_help_panel=_RESULTS,
        ),
    ] = None,
    json_output: JsonFlag = False,
    model: ModelName = "pocket",
    adapter: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="A finished training run, or its adapter folder."),
    ] = None,
    device: Device = "cpu",
    offline: Offline = False,
) -> None:
    """Paint inside a mask of a photograph; every other pixel stays.

    Prints the path of each result.
    """
    from onefill.edit.region import Region
    from onefill.edit.request import EditRequest, plan_edit
    from onefill.pocket.embedded import resolve

    registry = console.open_registry()
    words = _choose_words(prompt, text)
    plan = plan_edit(
        EditRequest(
            image=image,
            task=_choose_task(registry, task, text=text, enlarges=bool(to or expand)),
            mask=mask,
            mask_alpha=mask_alpha,
            regions=(
                *(Region(box=each) for each in box or ()),
                *(Region(polygon=each) for each in polygon or ()),
            ),
            invert=invert_mask,
            draw_mask=draw_mask,
            each_region=each_region,
            grow=grow,
            words=words[0] if len(words) == 1 else None,
            each_words=tuple(words) if len(words) > 1 else (),
            to=to,
            expand=expand,
            anchor=anchor,
            count=count,
            seed=seed,
            output=output,
            feather=feather,
            debug=save_debug,
        )
    )
    folder = resolve("policies", model)
    weights = None if adapter is None else _adapter_folder(adapter)

    from onefill.edit.job import Signature
    from onefill.edit.painting import Sampling

    sampling = Sampling(steps=steps, guidance=guidance, negative=negative, strength=strength)
    signature = Signature(model=model, adapter=None if adapter is None else str(adapter))
    results = _carry_out(
        plan,
        sampling,
        None if no_metadata else signature,
        _load(folder, weights, device=device, offline=offline),
        quiet=json_output,
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


def _choose_words(prompt: list[str] | None, text: str | None) -> list[str]:
    if text is None:
        return list(prompt or ())
    if prompt:
        raise BadInput("--text and --prompt: both say what to write; leave one of them out")
    return [text]


def _choose_task(
    registry: TaskRegistry, name: str | None, *, text: str | None, enlarges: bool
) -> RegisteredTask:
    if text is not None and name not in (None, "text"):
        raise BadInput(f"--text: is the task text; leave --task {name} out, or give --prompt")
    if name is None:
        name = "text" if text is not None else "extend" if enlarges else "fill"
    registry.get(name)
    return registry.tasks[name]


def _adapter_folder(path: Path) -> Path:
    """The adapter of a run folder, or the folder itself if it is one."""
    for folder in (path / "adapter", path):
        if (folder / "pytorch_lora_weights.safetensors").is_file():
            return folder
    raise BadInput(
        f"--adapter {path}: no trained adapter in it; give the folder of a finished "
        "`onefill train` run"
    )


def _load(model: str, adapter: Path | None, *, device: str, offline: bool) -> FluxFillPolicy:
    from onefill.policy.loading import load_policy

    policy = load_policy(model, device=device, offline=offline)
    if adapter is not None:
        policy.load_adapter(adapter)
    return policy


def _carry_out(
    plan: EditPlan,
    sampling: Sampling,
    signature: Signature | None,
    policy: FluxFillPolicy,
    *,
    quiet: bool,
) -> list[EditResult]:
    from onefill.edit.job import run_edit

    results: list[EditResult] = []
    for result in run_edit(plan, policy, sampling, signature):
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
    for text in filter(None, (*(step.prompt for step in plan.passes), sampling.negative)):
        for word, nearest in policy.unknown_words(text):
            console.warn(f"{word!r} is no word this model knows; the nearest is {nearest!r}")

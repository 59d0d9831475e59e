"""The command ``onefill edit``: paint inside a mask of a photograph."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from onefill.cli import console
from onefill.cli.adapters import adapter_folder
from onefill.cli.edit_options import (
    AdapterFolder,
    AllowOutside,
    Anchor,
    Boxes,
    CheckText,
    Compare,
    Count,
    DrawMask,
    EachRegion,
    ExpandSides,
    Feather,
    Grow,
    Guidance,
    InvertMask,
    JobsFile,
    Keep,
    MaskAlpha,
    MaskFile,
    Negative,
    NoMetadata,
    OnError,
    Output,
    Photograph,
    Polygons,
    Prompts,
    Rank,
    RankDims,
    RankJudge,
    SaveDebug,
    SkipExisting,
    Steps,
    Strength,
    TaskName,
    TextWords,
    ToShape,
)
from onefill.cli.model_options import (
    AdapterScale,
    Offload,
    PolicyDtype,
    PolicyName,
    PolicyQuantize,
    TransformerName,
    TransformerSubfolder,
    Vram,
    choose_model,
    deciding_weights,
    load_model,
    name_adapter,
    name_model,
)
from onefill.cli.options import Device, JsonFlag, Offline, Seed
from onefill.errors import BadInput
from onefill.launched import process_count

if TYPE_CHECKING:
    from onefill.judge.model import Judge
    from onefill.policy.flux_fill import FluxFillPolicy

app = typer.Typer(add_completion=False)


@app.command()
def edit(
    image: Photograph = None,
    prompt: Prompts = None,
    task: TaskName = None,
    text: TextWords = None,
    mask: MaskFile = None,
    box: Boxes = None,
    polygon: Polygons = None,
    mask_alpha: MaskAlpha = None,
    invert_mask: InvertMask = False,
    draw_mask: DrawMask = False,
    each_region: EachRegion = False,
    grow: Grow = None,
    to: ToShape = None,
    expand: ExpandSides = None,
    anchor: Anchor = None,
    steps: Steps = None,
    guidance: Guidance = None,
    negative: Negative = None,
    strength: Strength = None,
    feather: Feather = None,
    count: Count = 1,
    seed: Seed = 0,
    rank: Rank = False,
    dim: RankDims = None,
    keep: Keep = None,
    judge: RankJudge = None,
    compare: Compare = False,
    check_text: CheckText = False,
    output: Output = None,
    no_metadata: NoMetadata = False,
    save_debug: SaveDebug = None,
    json_output: JsonFlag = False,
    jobs: JobsFile = None,
    skip_existing: SkipExisting = False,
    on_error: OnError = "stop",
    allow_outside: AllowOutside = False,
    model: PolicyName = "pocket",
    transformer: TransformerName = None,
    transformer_subfolder: TransformerSubfolder = None,
    adapter: AdapterFolder = None,
    adapter_scale: AdapterScale = 1.0,
    vram: Vram = None,
    dtype: PolicyDtype = None,
    offload: Offload = None,
    quantize: PolicyQuantize = None,
    device: Device = "cpu",
    offline: Offline = False,
) -> None:
    """Paint inside a mask of a photograph; every other pixel stays.

    Prints the path of each result; of a ranking, best first.
    """
    from onefill.cli.edit_finish import Finisher, FinishOptions
    from onefill.cli.edit_wishes import BatchOptions, PaintWishes
    from onefill.edit.processes import own_device
    from onefill.edit.region import Region
    from onefill.edit.request import EditRequest, choose_task
    from onefill.pocket.embedded import resolve

    registry = console.open_registry()
    words = _choose_words(prompt, text)
    request = EditRequest(
        image=image or Path(),
        task=choose_task(registry, task, text=text, enlarges=bool(to or expand)),
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
    wanted = FinishOptions(
        rank=rank,
        dims=tuple(dim or ()),
        keep=keep,
        judge=judge,
        compare=compare,
        check_text=check_text,
    )
    choice = choose_model(
        model,
        transformer=transformer,
        transformer_subfolder=transformer_subfolder,
        adapter=None if adapter is None else adapter_folder(adapter),
        adapter_scale=adapter_scale,
        dtype=dtype,
        offload=offload,
        quantize=quantize,
        vram=vram,
        device=device,
        offline=offline,
    )

    def load() -> FluxFillPolicy:
        return load_model(replace(choice, device=own_device(choice.device)))

    def load_judge() -> Judge:
        from onefill.judge.loading import load_judge

        return load_judge(
            resolve("judges", judge or "pocket"), device=own_device(device), offline=offline
        )

    wishes = PaintWishes(
        steps=steps,
        guidance=guidance,
        negative=negative,
        strength=strength,
        model=None if no_metadata else name_model(model, transformer, transformer_subfolder),
        adapter=name_adapter(adapter, adapter_scale),
        weights=deciding_weights(choice, model),
    )
    many = BatchOptions(
        jobs=jobs,
        skip_existing=skip_existing,
        on_error=on_error,
        allow_outside=allow_outside,
        ranked=rank,
        compared=compare,
        signed=not no_metadata,
        task=task,
    )
    with Finisher(wanted, registry, load_judge) as finisher:
        if jobs is not None or (image is not None and image.is_dir()):
            from onefill.cli.edit_batch import edit_many

            edit_many(image, request, registry, finisher, load, wishes, many, json_output)
        else:
            from onefill.cli.edit_one import edit_one

            if image is None:
                raise BadInput("image: name the photograph to edit, or --jobs FILE")
            if process_count() > 1:
                raise BadInput(
                    f"image {image}: several processes share a folder or --jobs FILE, and one "
                    "photograph is none; start one process"
                )
            many.refuse_for_one()
            edit_one(request, finisher, load, wishes, json_output)


def _choose_words(prompt: list[str] | None, text: str | None) -> list[str]:
    if text is None:
        return list(prompt or ())
    if prompt:
        raise BadInput("--text and --prompt: both say what to write; leave one of them out")
    return [text]

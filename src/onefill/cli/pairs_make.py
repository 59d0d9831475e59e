"""``onefill pairs make``: preference pairs from pictures, embedded scenes or a policy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onefill.cli import console
from onefill.cli.options import Device, JsonFlag, JudgeName, ModelName, Offline, Seed
from onefill.cli.progress import open_bar
from onefill.errors import BadInput

if TYPE_CHECKING:
    from onefill.interrupt import StopRequest
    from onefill.pairs.from_policy import Labeller
    from onefill.pairs.output import PairsFolder
    from onefill.pairs.subject import Material
    from onefill.tasks.types import Task


class From(StrEnum):
    """What pairs are made of."""

    IMAGES = "images"
    POCKET = "pocket"
    POLICY = "policy"


class Part(StrEnum):
    """Which pictures are used."""

    ALL = "all"
    TRAIN = "train"
    HELDOUT = "heldout"


_ONLY_DAMAGE = {"size": "--size", "fonts": "--fonts", "strengths": "--strengths"}
_ONLY_POLICY = {
    "model": "--model",
    "candidates": "--candidates",
    "batch": "--batch",
    "negative": "--negative",
    "judge_name": "--judge",
    "unlabelled": "--unlabelled",
    "margin": "--margin",
}
_USUAL_SIZE = 512


def make(
    ctx: typer.Context,
    path: Annotated[
        Path | None,
        typer.Argument(metavar="DATA", help="The same as --data.", show_default=False),
    ] = None,
    source: Annotated[
        From | None,
        typer.Option(
            "--from",
            help="Damage to good pictures, damage to the embedded scenes, or a policy's results.",
            show_default="images with --data, otherwise pocket",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="PATH",
            help="Folder of pictures, or .jsonl with image, mask, prompt, task.",
            show_default="the embedded scenes",
        ),
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="How many pairs.")] = 1000,
    tasks: Annotated[
        str,
        typer.Option(metavar="TASK[=WEIGHT],…", help="Which edits, and how often each is drawn."),
    ] = "fill,extend,removal,text",
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Receives pairs.jsonl and pictures/.")
    ] = Path("pairs"),
    part: Annotated[
        Part, typer.Option(help="All pictures, or those that train uses, or that it tests on.")
    ] = Part.ALL,
    size: Annotated[
        int | None,
        typer.Option(
            min=32, help="Largest side of the squares cut from pictures.", show_default="512"
        ),
    ] = None,
    fonts: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE|FOLDER", help="Fonts that words are written with.", show_default=False
        ),
    ] = None,
    strengths: Annotated[
        str, typer.Option(metavar="LOW-HIGH", help="How strong damage is, above 0 and up to 1.")
    ] = "0.2-1",
    model: ModelName = "pocket",
    candidates: Annotated[
        int, typer.Option(min=2, max=64, help="Results of each edit by the policy.")
    ] = 4,
    batch: Annotated[int, typer.Option(min=1, help="Edits that are painted together.")] = 8,
    negative: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WORDS", help="Further negative prompts to draw from.", show_default=False
        ),
    ] = None,
    judge_name: JudgeName = "pocket",
    unlabelled: Annotated[
        bool, typer.Option("--unlabelled", help="Ask no judge; keep all pairs for people.")
    ] = False,
    margin: Annotated[
        float,
        typer.Option(min=0, max=0.5, help="Drop verdicts nearer to one half than this."),
    ] = 0.15,
    seed: Seed = 0,
    device: Device = "auto",
    offline: Offline = False,
    json_output: JsonFlag = False,
) -> None:
    """Make preference pairs without people. A second run goes on where the first one stopped.

    From pictures: each is taken for a good result, and damaged in one dimension by degrees; from
    a policy: several results of each edit, of which a judge names the best and the worst.
    """
    if path is not None and data is not None:
        raise BadInput(f"{path} and --data {data}: name the pictures once")
    data = path or data
    source = source or (From.POCKET if data is None else From.IMAGES)
    if data == Path("pocket") and not data.exists():
        data = None
    if source == From.POCKET and data is not None:
        raise BadInput(f"--from pocket has pictures of its own; leave {data} out, or --from images")
    strange = _ONLY_DAMAGE if source == From.POLICY else _ONLY_POLICY
    for name, flag in strange.items():
        if ctx.get_parameter_source(name).name == "COMMANDLINE":  # type: ignore[union-attr]
            raise BadInput(f"{flag}: has no meaning with --from {source}; leave it out")
    if unlabelled:
        for name in ("judge_name", "margin"):
            if ctx.get_parameter_source(name).name == "COMMANDLINE":  # type: ignore[union-attr]
                flag = _ONLY_POLICY[name]
                raise BadInput(f"{flag}: has no meaning with --unlabelled; leave one out")
    if size is not None and data is None:
        raise BadInput(f"--size {size}: the embedded scenes have one size; leave it out")
    registry = console.open_registry()
    weights = registry.parse_weights(tasks)
    chosen = {name: registry.get(name) for name in weights}

    from onefill.pairs.output import PairsFolder

    folder = PairsFolder(out)
    settings: dict[str, Any] = {
        "from": str(From.POCKET if source == From.IMAGES and data is None else source),
        "data": str(data.resolve()) if data is not None else None,
        "part": str(part),
        "tasks": weights,
        "seed": seed,
    }
    if source == From.POLICY:
        settings |= {
            "model": model,
            "candidates": candidates,
            "batch": batch,
            "negative": negative or [],
            "judge": None if unlabelled else judge_name,
            "margin": None if unlabelled else margin,
        }
        pairs = _paint(folder, settings, data, part, chosen, count, device, offline)
    else:
        low, high = _range(strengths)
        settings |= {
            "size": size,
            "fonts": [str(font.resolve()) for font in fonts or []],
            "strengths": [low, high],
        }
        pairs = _damage(folder, settings, data, part, chosen, count, fonts or [])
    if json_output:
        console.print_json({"pairs": str(folder.pairs), "count": pairs, "settings": settings})
        return
    console.say(
        f"{pairs} pairs; train a judge on them with: onefill train-judge --pairs {folder.pairs}"
    )
    typer.echo(folder.pairs)


def _damage(
    folder: PairsFolder,
    settings: Mapping[str, Any],
    data: Path | None,
    part: Part,
    tasks: Mapping[str, Task],
    count: int,
    fonts: list[Path],
) -> int:
    from onefill.pairs.from_images import find_cells, make_pairs
    from onefill.pairs.lettering import built_in_font, open_fonts
    from onefill.pairs.photographs import open_photographs
    from onefill.pairs.scenes import EmbeddedScenes

    material: Material
    if data is None:
        scenes = EmbeddedScenes(part.value, open_fonts(fonts) if fonts else built_in_font())
        if "text" in tasks and scenes.unwritten:
            console.say(
                f"text: {', '.join(scenes.unwritten)} cannot be written with this font and "
                "are left out; --fonts names others"
            )
        material = scenes
    else:
        size = settings["size"] or _USUAL_SIZE
        material = open_photographs(data, part.value, size, open_fonts(fonts) if fonts else None)
    cells, left_out = find_cells(tasks, material)
    for line in left_out:
        console.say(line)
    written = folder.open({**settings, "pictures": material.fingerprint()})
    low, high = settings["strengths"]
    with _progress(folder, written.pairs, count) as (step, stop):

        def on_pair() -> None:
            step(1)
            stop.check()

        make_pairs(
            folder,
            material,
            tasks,
            settings["tasks"],
            cells,
            count=count,
            start=written.pairs,
            seed=settings["seed"],
            strengths=(low, high),
            on_pair=on_pair,
        )
    return max(count, written.pairs)


def _paint(
    folder: PairsFolder,
    settings: Mapping[str, Any],
    data: Path | None,
    part: Part,
    tasks: Mapping[str, Task],
    count: int,
    device: str,
    offline: bool,
) -> int:
    from onefill.data.source import open_source
    from onefill.pocket import embedded

    model = embedded.resolve("policies", settings["model"])
    judge_name = settings["judge"]
    judge_folder = embedded.resolve("judges", judge_name) if judge_name is not None else None
    kinds = list(tasks.values())
    if data is None:
        data = embedded.scenes("heldout" if part == Part.HELDOUT else "train")
        samples = open_source(data, kinds, settings["seed"])
    else:
        samples = open_source(data, kinds, settings["seed"], part.value)
    for name in sorted(samples.borrowing):
        console.say(f"{name}: the data has no mask for it; it draws its own on every picture")
    console.say("loading the models")

    from onefill.judge.loading import load_judge, pick_device
    from onefill.pairs.from_policy import Plan, label_with, leave_for_people, make_candidate_pairs
    from onefill.policy.loading import load_policy

    where = str(pick_device(device))
    policy = load_policy(model, device=where, offline=offline)
    labeller: Labeller = leave_for_people
    if judge_folder is not None:
        judge = load_judge(judge_folder, device=where, offline=offline)
        labeller = label_with(judge, settings["margin"])
    written = folder.open({**settings, "pictures": samples.fingerprint()[:8]})
    plan = Plan(
        count=count,
        candidates=settings["candidates"],
        batch=settings["batch"],
        negatives=tuple(settings["negative"]),
        seed=settings["seed"],
    )
    made = written.pairs
    root = data if data.is_dir() else data.parent
    with _progress(folder, made, count) as (step, stop):

        def on_pairs(number: int) -> None:
            nonlocal made
            made += number
            step(number)
            stop.check()

        make_candidate_pairs(
            folder, policy, samples, root, tasks, settings["tasks"], labeller, plan, written,
            on_pairs,
        )  # fmt: skip
    return made


@contextmanager
def _progress(
    folder: PairsFolder, done: int, count: int
) -> Iterator[tuple[Callable[[int], None], StopRequest]]:
    """A bar on stderr, and a stop that waits for the pair at hand."""
    from onefill.interrupt import Interrupted, listen_for_stop

    if done:
        console.say(f"{done} pairs are there; going on from there")
    try:
        with listen_for_stop() as stop, open_bar() as bar:
            task = bar.add_task("pairs", total=count, completed=done)
            yield (lambda number: bar.advance(task, number)), stop
    except Interrupted as error:
        console.say(f"interrupted, and saved; the same command goes on with {folder.path}")
        raise typer.Exit(error.exit_code) from error


def _range(text: str) -> tuple[float, float]:
    low, dash, high = text.partition("-")
    try:
        ends = float(low), float(high if dash else low)
    except ValueError:
        ends = (0.0, 0.0)
    if not 0 < ends[0] <= ends[1] <= 1:
        raise BadInput(f"--strengths {text}: give two numbers above 0 and up to 1, as 0.2-1")
    return ends

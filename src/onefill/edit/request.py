"""What an edit is asked to do, and the plan made of it before any model is loaded.

Everything that can be wrong with the input is found here, where neither torch nor a model is
needed, so that a mistake costs a moment and leaves no file behind.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from onefill.edit.canvas import Canvas
from onefill.edit.decode import Photo, open_photo
from onefill.edit.encode import check_output
from onefill.edit.output import name_outputs
from onefill.edit.passes import Pass, plan_extension, plan_regions
from onefill.edit.region import ALPHA_PARTS, Region
from onefill.errors import BadInput
from onefill.images import check_target
from onefill.tasks.registry import BUILT_IN, RegisteredTask, TaskRegistry
from onefill.tasks.types import Mask

_EXTEND = "extend"
_SEEDS = 2**63  # torch's generators take no larger one


@dataclass(frozen=True, kw_only=True)
class EditRequest:
    """One photograph to edit, as asked for.

    Attributes:
        image: the photograph.
        task: what kind of edit, and who brought it.
        mask: image file of the photograph's size, white where the model paints.
        mask_alpha: "opaque" or "transparent": which part of the mask's alpha channel is painted,
            or of the photograph's own if nothing else says where.
        regions: further places to paint.
        invert: paint all that is not masked.
        draw_mask: let the task draw the mask.
        each_region: paint regions one after another, each in its own crop.
        grow: how far masks are grown, as "12" or "8%"; None is usual for the task, and takes
            a removal's shadow along.
        words: what the user typed as the prompt.
        each_words: a prompt for each region, with ``each_region``.
        to: shape to extend to, as "16:9" or "1920x1080".
        expand: sides to extend, as "left=20%,top=128".
        anchor: where the picture stands in the shape of ``to``; None is its middle.
        count: results wanted, at least 1.
        seed: of the first result; the others take the numbers after it.
        output: file, folder or pattern; see ``name_outputs``.
        feather: width of the blended band in pixels; None picks it from the crop's scale.
        debug: folder that receives what the model saw and how it was stitched.
    """

    image: Path
    task: RegisteredTask
    mask: Path | None = None
    mask_alpha: str | None = None
    regions: tuple[Region, ...] = ()
    invert: bool = False
    draw_mask: bool = False
    each_region: bool = False
    grow: str | None = None
    words: str | None = None
    each_words: tuple[str, ...] = ()
    to: str | None = None
    expand: str | None = None
    anchor: str | None = None
    count: int = 1
    seed: int = 0
    output: str | None = None
    feather: int | None = None
    debug: Path | None = None

    @property
    def all_regions(self) -> tuple[Region, ...]:
        """Every place named, the mask first."""
        return (*(() if self.mask is None else (Region(mask=self.mask),)), *self.regions)

    @property
    def enlarges(self) -> bool:
        """Whether the canvas becomes larger than the photograph."""
        return self.to is not None or self.expand is not None

    @property
    def paints_own_alpha(self) -> bool:
        """Whether the mask is the photograph's own alpha channel."""
        return self.mask_alpha is not None and not self.all_regions

    @property
    def draws_mask(self) -> bool:
        """Whether the task is to draw the mask, because it was asked to or as nobody else does."""
        return self.draw_mask or not (self.all_regions or self.paints_own_alpha)


@dataclass(frozen=True, kw_only=True)
class EditPlan:
    """An edit whose inputs are read and found good.

    Attributes:
        photo: the photograph and its metadata.
        canvas: what is painted on: the photograph, or an enlargement of it.
        passes: paintings in order, each seeing the ones before.
        task: its name.
        seeds: one for each result.
        outputs: one path for each result.
        feather: see ``EditRequest``.
        debug: see ``EditRequest``.
        notes: what the user should know, one line each.
    """

    photo: Photo
    canvas: Canvas
    passes: list[Pass]
    task: str
    seeds: list[int]
    outputs: list[Path]
    feather: int | None
    debug: Path | None
    notes: list[str]

    @property
    def prompt(self) -> str:
        """Text for the model; of regions with their own, one after another."""
        return "; ".join(dict.fromkeys(step.prompt for step in self.passes))

    def whole_mask(self) -> Mask:
        """All that any pass paints, on the canvas: (H, W)."""
        mask = np.zeros((self.canvas.box.height, self.canvas.box.width), np.bool_)
        for step in self.passes:
            mask[step.bounds.slices] |= step.mask
        return mask


def choose_task(
    registry: TaskRegistry, name: str | None, *, text: str | None, enlarges: bool
) -> RegisteredTask:
    """The task named, or the one that what else was typed speaks of.

    Args:
        registry: the tasks.
        name: as typed, if it was.
        text: words to be written into the picture.
        enlarges: whether the canvas is to become larger.

    Raises:
        BadInput: there is no such task, or it is not the one that writes, or there are no words.
    """
    if text is not None and not text.strip():
        raise BadInput("--text: says nothing; give the words to write, as --text OPEN")
    if text is not None and name not in (None, "text"):
        raise BadInput(f"--text: is the task text; leave --task {name} out, or give --prompt")
    if name is None:
        name = "text" if text is not None else "extend" if enlarges else "fill"
    registry.get(name)
    return registry.tasks[name]


def plan_edit(request: EditRequest) -> EditPlan:
    """Read and check everything the request names; writes nothing.

    Raises:
        BadInput: anything named cannot be used, or something needed is missing.
        OnefillError: a third party's task failed to draw its mask.
    """
    task = request.task.task
    if not any((request.each_words, *(region.words for region in request.regions))):
        task.prompt.render(request.words)  # refuses missing words before the photograph is read
    _check_wanted(request)
    photo = open_photo(request.image)
    notes = list(photo.notes)
    if request.enlarges:
        canvas, passes = plan_extension(request, photo.canvas)
    else:
        canvas, passes, more = plan_regions(request, photo.canvas)
        notes += more
    seeds = list(range(request.seed, request.seed + request.count))
    outputs = name_outputs(request.output, image=request.image, task=task.name, seeds=seeds)
    for path in outputs:
        check_output(path, photo, canvas.box.width, canvas.box.height)
        _check_not_an_input(path, request)
    if request.debug is not None:
        check_target(request.debug / "crop.png", flag="--save-debug")
    return EditPlan(
        photo=photo,
        canvas=canvas,
        passes=passes,
        task=task.name,
        seeds=seeds,
        outputs=outputs,
        feather=request.feather,
        debug=request.debug,
        notes=notes,
    )


def _check_wanted(request: EditRequest) -> None:
    if request.seed + request.count > _SEEDS:
        raise BadInput(f"--seed {request.seed}: too large; stay below {_SEEDS - request.count}")
    if request.mask_alpha not in (None, *ALPHA_PARTS):
        raise BadInput(f"--mask-alpha {request.mask_alpha}: choose from {', '.join(ALPHA_PARTS)}")
    if request.enlarges:
        _check_extension(request)
        return
    if request.anchor is not None:
        raise BadInput(f"--anchor {request.anchor}: goes with --to; add a shape, as --to 16:9")
    places = request.all_regions or request.paints_own_alpha
    if request.draw_mask and places:
        raise BadInput("--draw-mask: the task draws the mask, so it takes no other; leave one out")
    if request.each_words and not request.each_region:
        raise BadInput("--prompt: given more than once; add --each-region, or give one")
    if places or request.draw_mask:
        return
    if request.invert or request.each_region:
        flag = "--invert-mask" if request.invert else "--each-region"
        raise BadInput(f"{flag}: goes with a mask; add --mask, --box or --polygon")
    name = request.task.task.name
    if request.task.distribution == BUILT_IN:
        if name == _EXTEND:
            raise BadInput(f"--to: task {name!r} needs a shape; add one, as --to 16:9")
        raise BadInput(
            f"--mask: task {name!r} needs one; give an image of the same size, white where to "
            "paint, or --box x,y,width,height"
        )


def _check_extension(request: EditRequest) -> None:
    flag = "--to" if request.to is not None else "--expand"
    if request.to is not None and request.expand is not None:
        raise BadInput("--to and --expand: both say how far; leave one of them out")
    if request.expand is not None and request.anchor is not None:
        raise BadInput("--anchor: goes with --to; --expand names the sides already")
    places = request.all_regions or request.mask_alpha or request.draw_mask
    if places or request.invert or request.each_region or request.grow is not None:
        raise BadInput(
            f"{flag}: paints all that is new, so it takes no mask; leave one of them out"
        )
    if request.each_words:
        raise BadInput("--prompt: given more than once; an extension takes one")
    name = request.task.task.name
    if request.task.distribution == BUILT_IN and name != _EXTEND:
        raise BadInput(f"{flag}: task {name!r} does not enlarge; write --task {_EXTEND}")


def _check_not_an_input(path: Path, request: EditRequest) -> None:
    masks = [region.mask for region in request.all_regions]
    for source in (request.image, *masks):
        if source is not None and path.exists() and path.samefile(source):
            raise BadInput(f"-o {path}: would replace the input; choose another name")

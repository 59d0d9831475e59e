"""What an edit is asked to do, and the plan made of it before any model is loaded.

Everything that can be wrong with the input is found here, where neither torch nor a model is
needed, so that a mistake costs a moment and leaves no file behind.
"""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from onefill.edit.canvas import Canvas
from onefill.edit.crop import Box
from onefill.edit.decode import Photo, open_photo
from onefill.edit.encode import check_output
from onefill.edit.extend import centre, plan_passes, target_size
from onefill.edit.output import name_outputs
from onefill.errors import BadInput, OnefillError
from onefill.images import check_target, read_mask
from onefill.tasks.registry import BUILT_IN, RegisteredTask
from onefill.tasks.types import Mask, MaskOptions

_EXTEND = "extend"
_SEEDS = 2**63  # torch's generators take no larger one


@dataclass(frozen=True, kw_only=True)
class EditRequest:
    """One photograph to edit, as asked for.

    Attributes:
        image: the photograph.
        task: what kind of edit, and who brought it.
        mask: image file of the photograph's size, white where the model paints.
        words: what the user typed as the prompt.
        to: shape to extend to, as "16:9" or "1920x1080".
        count: results wanted, at least 1.
        seed: of the first result; the others take the numbers after it.
        output: file, folder or pattern; see ``name_outputs``.
        feather: width of the blended band in pixels; None picks it from the crop's scale.
        debug: folder that receives what the model saw and how it was stitched.
    """

    image: Path
    task: RegisteredTask
    mask: Path | None = None
    words: str | None = None
    to: str | None = None
    count: int = 1
    seed: int = 0
    output: str | None = None
    feather: int | None = None
    debug: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Pass:
    """One painting: the mask of a part of the canvas; the rest of the canvas is not looked at.

    ``mask`` has the shape (bounds.height, bounds.width).
    """

    bounds: Box
    mask: Mask


@dataclass(frozen=True, kw_only=True)
class EditPlan:
    """An edit whose inputs are read and found good.

    Attributes:
        photo: the photograph and its metadata.
        canvas: what is painted on: the photograph, or an enlargement of it.
        passes: paintings in order, each seeing the ones before.
        task: its name.
        prompt: text for the model.
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
    prompt: str
    seeds: list[int]
    outputs: list[Path]
    feather: int | None
    debug: Path | None
    notes: list[str]


def plan_edit(request: EditRequest) -> EditPlan:
    """Read and check everything the request names; writes nothing.

    Raises:
        BadInput: anything named cannot be used, or something needed is missing.
        OnefillError: a third party's task failed to draw its mask.
    """
    task = request.task.task
    prompt = task.prompt.render(request.words)
    _check_wanted(request)
    photo = open_photo(request.image)
    notes = list(photo.notes)
    if request.to is not None:
        canvas, passes = _plan_extension(request, photo.canvas)
    else:
        canvas = photo.canvas
        if request.mask is not None:
            mask = read_mask(request.mask, (canvas.box.width, canvas.box.height))
        else:
            mask = _draw_mask(request, canvas, {}, request.seed)
            notes.append(f"no --mask given: task {task.name!r} drew one with seed {request.seed}")
        passes = [Pass(bounds=canvas.box, mask=mask)]
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
        prompt=prompt,
        seeds=seeds,
        outputs=outputs,
        feather=request.feather,
        debug=request.debug,
        notes=notes,
    )


def _check_wanted(request: EditRequest) -> None:
    if request.seed + request.count > _SEEDS:
        raise BadInput(f"--seed {request.seed}: too large; stay below {_SEEDS - request.count}")
    name = request.task.task.name
    built_in = request.task.distribution == BUILT_IN
    if request.to is not None and request.mask is not None:
        raise BadInput("--to: paints all that is new, so it takes no --mask; leave one of them out")
    if request.to is not None and built_in and name != _EXTEND:
        raise BadInput(f"--to: task {name!r} does not enlarge; add --task {_EXTEND}")
    if request.to is None and request.mask is None and built_in:
        if name == _EXTEND:
            raise BadInput(f"--to: task {name!r} needs a shape; add one, as --to 16:9")
        raise BadInput(
            f"--mask: task {name!r} needs one; give an image of the same size, white where to paint"
        )


def _plan_extension(request: EditRequest, picture: Canvas) -> tuple[Canvas, list[Pass]]:
    width, height = picture.box.width, picture.box.height
    size = target_size(request.to or "", width, height)
    keep = centre(width, height, size)
    canvas = picture.enlarge(*size, keep)
    passes = []
    for number, bounds in enumerate(plan_passes(keep, size)):
        inner = Box(keep.x - bounds.x, keep.y - bounds.y, keep.width, keep.height)
        part = Canvas(canvas.pixels[bounds.slices])
        mask = _draw_mask(request, part, {"keep": tuple(inner)}, request.seed + number)
        # Nothing is there yet outside the kept box: a task may paint less only inside it.
        new = np.ones_like(mask)
        new[inner.slices] = False
        passes.append(Pass(bounds=bounds, mask=mask | new))
        keep = bounds
    return canvas, passes


def _draw_mask(request: EditRequest, canvas: Canvas, options: MaskOptions, seed: int) -> Mask:
    try:
        # A plugin that prints must not spoil the document that stdout is kept for.
        with contextlib.redirect_stdout(sys.stderr):
            return request.task.task.draw_mask(
                canvas.view(canvas.box), np.random.default_rng(seed), options
            )
    except OnefillError:
        raise
    # Third-party code: whatever it raises, the user needs to know whose it is.
    except Exception as error:
        raise OnefillError(
            f"task {request.task.task.name!r} of {request.task.distribution} failed to draw a "
            f"mask ({type(error).__name__}: {error}); give one with --mask"
        ) from error


def _check_not_an_input(path: Path, request: EditRequest) -> None:
    for source in (request.image, request.mask):
        if source is not None and path.exists() and path.samefile(source):
            raise BadInput(f"-o {path}: would replace the input; choose another name")

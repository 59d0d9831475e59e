"""What is painted, in order: the masks of an edit, made from what was asked for."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from onefill.edit.canvas import Canvas
from onefill.edit.crop import Box
from onefill.edit.extend import expand_sides, place, plan_passes, target_size
from onefill.edit.grow import USUAL_GROWTH, grow_mask
from onefill.edit.region import alpha_mask, draw_region, show_painted
from onefill.edit.separate import MOST_REGIONS, separate_regions
from onefill.edit.shadow import find_shadow
from onefill.errors import BadInput, OnefillError
from onefill.tasks.registry import BUILT_IN
from onefill.tasks.types import Mask, MaskOptions

if TYPE_CHECKING:
    from onefill.edit.request import EditRequest


@dataclass(frozen=True, kw_only=True)
class Pass:
    """One painting: the mask of a part of the canvas; the rest of the canvas is not looked at.

    Attributes:
        bounds: that part.
        mask: (bounds.height, bounds.width), True where the model paints.
        prompt: text for the model.
    """

    bounds: Box
    mask: Mask
    prompt: str


@dataclass(frozen=True)
class _Wish:
    mask: Mask
    words: str | None


def plan_extension(request: EditRequest, picture: Canvas) -> tuple[Canvas, list[Pass]]:
    """The enlarged canvas, and the passes that fill it from the picture outwards.

    Raises:
        BadInput: the shape cannot be had.
        OnefillError: a third party's task failed to draw its mask.
    """
    width, height = picture.box.width, picture.box.height
    if request.expand is not None:
        size, keep = expand_sides(request.expand, width, height)
    else:
        size = target_size(request.to or "", width, height)
        keep = place(width, height, size, request.anchor or "center")
    prompt = request.task.task.prompt.render(request.words)
    canvas = picture.enlarge(*size, keep)
    passes = []
    for number, bounds in enumerate(plan_passes(keep, size)):
        inner = Box(keep.x - bounds.x, keep.y - bounds.y, keep.width, keep.height)
        part = Canvas(canvas.pixels[bounds.slices])
        mask = _draw_mask(request, part, {"keep": tuple(inner)}, request.seed + number)
        # Nothing is there yet outside the kept box: a task may paint less only inside it.
        new = np.ones_like(mask)
        new[inner.slices] = False
        passes.append(Pass(bounds=bounds, mask=mask | new, prompt=prompt))
        keep = bounds
    return canvas, passes


def plan_regions(request: EditRequest, picture: Canvas) -> tuple[Canvas, list[Pass], list[str]]:
    """The canvas, one pass for all that is masked or one for each region, and notes.

    Raises:
        BadInput: a mask cannot be used, or prompts and regions are not as many.
        OnefillError: a third party's task failed to draw its mask.
    """
    notes: list[str] = []
    if request.draws_mask:
        mask = _draw_mask(request, picture, {}, request.seed)
        wishes = [_Wish(mask, None)]
        if not request.draw_mask:
            name, seed = request.task.task.name, request.seed
            notes.append(f"no --mask given: task {name!r} drew one with seed {seed}")
    elif request.paints_own_alpha:
        mask = alpha_mask(picture, request.mask_alpha or "", where=f"image {request.image}")
        wishes = [_Wish(mask, None)]
    else:
        size = (picture.box.width, picture.box.height)
        wishes = [
            _Wish(draw_region(region, size, request.mask_alpha), region.words)
            for region in request.all_regions
        ]
    wishes, more = _grow(request, _separate(request, wishes), picture)
    notes += more
    if request.paints_own_alpha:
        for wish in wishes:
            picture = show_painted(picture, wish.mask)
    render = request.task.task.prompt.render
    passes = [
        Pass(bounds=picture.box, mask=wish.mask, prompt=render(words))
        for wish, words in zip(wishes, _words(request, wishes), strict=True)
    ]
    return picture, passes, notes


def _separate(request: EditRequest, wishes: list[_Wish]) -> list[_Wish]:
    """One wish for all regions, or one for each: a mask's as they lie, others as given."""
    if not request.each_region or request.invert:
        whole = np.logical_or.reduce([wish.mask for wish in wishes])
        if request.invert:
            whole = ~whole
            if not whole.any():
                raise BadInput("--invert-mask: the mask covers all, so nothing is left to paint")
        if not request.each_region:
            return [_Wish(whole, None)]
        return [_Wish(mask, None) for mask in separate_regions(whole)]
    separated = []
    regions = request.all_regions or (None,) * len(wishes)
    for wish, region in zip(wishes, regions, strict=True):
        # A box is one region by what it is; so is a mask with words of its own.
        if (region is None or region.mask is not None) and wish.words is None:
            separated += [_Wish(mask, None) for mask in separate_regions(wish.mask)]
        else:
            separated.append(wish)
    if len(separated) > MOST_REGIONS:
        raise BadInput(
            f"--each-region: {len(separated)} regions, and at most {MOST_REGIONS} are painted one "
            "by one; leave some out"
        )
    return separated


def _grow(
    request: EditRequest, wishes: list[_Wish], picture: Canvas
) -> tuple[list[_Wish], list[str]]:
    """The masks as they are painted, and notes; as usual a shadow goes too, if one is found."""
    usual = USUAL_GROWTH.get(request.task.task.name)
    if request.grow is not None:
        return [replace(wish, mask=grow_mask(wish.mask, request.grow)) for wish in wishes], []
    if usual is None or request.task.distribution != BUILT_IN:
        return wishes, []
    notes = []
    grown = []
    for wish in wishes:
        shadow = find_shadow(picture, wish.mask)
        if shadow.any():
            share = np.count_nonzero(shadow) / np.count_nonzero(wish.mask)
            notes.append(
                f"image {request.image}: a shadow {share:.0%} as large as the mask goes too; "
                f"--grow {usual} leaves it"
            )
        grown.append(replace(wish, mask=grow_mask(wish.mask | shadow, usual)))
    return grown, notes


def _words(request: EditRequest, wishes: list[_Wish]) -> list[str | None]:
    if request.each_words:
        if len(request.each_words) != len(wishes):
            raise BadInput(
                f"--prompt: {len(request.each_words)} prompts for {len(wishes)} "
                f"region{'s' if len(wishes) > 1 else ''}; give one for all, or one for each"
            )
        return list(request.each_words)
    return [request.words if wish.words is None else wish.words for wish in wishes]


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

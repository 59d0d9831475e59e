"""Removals and extensions: how near they come to what was there, beside ways without learning."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from onefill.pocket.scoring.background_kinds import KINDS, kind_of
from onefill.pocket.scoring.held_out import HeldOut, Pictures, as_tensor, paint
from onefill.pocket.scoring.inpainting import (
    EXTEND,
    REMOVAL,
    SIMPLE,
    Fill,
    have_opencv,
    have_patch_match,
)
from onefill.pocket.scoring.measures import bootstrap, psnr
from onefill.pocket.scoring.perceptual import Perceptual
from onefill.pocket.scoring.table import (
    DECIBEL,
    DISTANCE,
    NEEDS_PACKAGES,
    Figure,
    Figures,
    Unmeasured,
    in_words,
)
from onefill.policy.flux_fill import FluxFillPolicy

EDIT = "edit"

Values = dict[str, NDArray[np.float64]]
"""Who filled the hole to a figure of every scene, (N,)."""

Means = dict[str, dict[str, float]]
"""Measure to who filled the hole to the mean."""


def score_removal(
    policy: FluxFillPolicy, scenes: HeldOut, perceptual: Perceptual | None, seed: int
) -> tuple[Figures, dict[str, Means]]:
    """PSNR and LPIPS inside the mask to the true background, by kind of background.

    Returns:
        The figures: an edit's LPIPS divided by that of the method with the least mean on the
        scenes of that kind, and its PSNR less the best method's. And the means of all by kind.
    """
    methods = REMOVAL if have_opencv() and have_patch_match() else {}
    results = _results(policy, scenes, seed, {**methods, **SIMPLE})
    masks, truths = scenes.masks, scenes.truths
    measured = {"psnr": {name: decibels(made, truths, masks) for name, made in results.items()}}
    if perceptual is not None:
        measured["lpips"] = {
            name: apart(perceptual, made, truths, masks) for name, made in results.items()
        }
    kinds = np.array([kind_of(*case) for case in zip(truths, masks, strict=True)])
    figures: dict[str, Figure | Unmeasured] = {}
    means: dict[str, Means] = {}
    for kind in KINDS:
        places = np.flatnonzero(kinds == kind)
        means[kind] = _means(measured, places)
        for measure in ("lpips", "psnr"):
            figures[f"removal/{kind}/{measure}"] = _beside(measured, measure, methods, places)
    return figures, means


def score_extend(
    policy: FluxFillPolicy, scenes: HeldOut, perceptual: Perceptual | None, seed: int
) -> tuple[Figures, Means]:
    """LPIPS of whole pictures to the true ones: an edit's divided by the best method's."""
    methods = EXTEND if have_opencv() else {}
    results = _results(policy, scenes, seed, methods)
    everywhere = np.ones_like(scenes.masks)
    measured = {}
    if perceptual is not None:
        measured["lpips"] = {
            name: apart(perceptual, made, scenes.truths, everywhere)
            for name, made in results.items()
        }
    places = np.arange(len(scenes))
    figure = _beside(measured, "lpips", methods, places)
    return {"extend/lpips": figure}, _means(measured, places)


def _results(
    policy: FluxFillPolicy, scenes: HeldOut, seed: int, methods: Mapping[str, Fill]
) -> dict[str, Pictures]:
    """What an edit and each method make of the scenes."""
    cases = list(zip(scenes.pictures, scenes.masks, strict=True))
    filled = {name: np.stack([fill(*case) for case in cases]) for name, fill in methods.items()}
    return {EDIT: paint(policy, scenes, seed), **filled}


def decibels(pictures: Pictures, truths: Pictures, where: NDArray[np.bool_]) -> NDArray[np.float64]:
    """PSNR in dB of every picture to its truth, (N,), over the pixels of ``where``."""
    cases = zip(pictures, truths, where, strict=True)
    return np.array([psnr(picture[m], truth[m]) for picture, truth, m in cases])


def apart(
    perceptual: Perceptual, pictures: Pictures, truths: Pictures, where: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """LPIPS of every picture to its truth, (N,): the mean over the pixels of ``where``."""
    maps = perceptual(as_tensor(pictures), as_tensor(truths)).numpy()
    return np.array([values[inside].mean() for values, inside in zip(maps, where, strict=True)])


def _means(measured: Mapping[str, Values], places: NDArray[np.int_]) -> Means:
    if not len(places):
        return {}
    return {
        measure: {name: float(values[places].mean()) for name, values in found.items()}
        for measure, found in measured.items()
    }


def _beside(
    measured: Mapping[str, Values],
    measure: str,
    methods: Mapping[str, Fill],
    places: NDArray[np.int_],
) -> Figure | Unmeasured:
    """An edit beside the method with the best mean on some scenes.

    LPIPS, of which less is better, as a quotient; PSNR as a difference. The interval draws
    scenes anew and the best method with them.
    """
    if not methods or measure not in measured:
        return NEEDS_PACKAGES
    if not len(places):
        return Unmeasured("none of the held-out scenes is of that kind")
    values, lower = measured[measure], measure == "lpips"

    def mean(name: str, chosen: NDArray[np.int_]) -> float:
        return float(values[name][chosen].mean())

    def best(chosen: NDArray[np.int_]) -> str:
        return min(methods, key=lambda name: mean(name, chosen) * (1 if lower else -1))

    def beside(drawn: NDArray[np.int_]) -> float:
        chosen = places[drawn]
        ours, theirs = mean(EDIT, chosen), mean(best(chosen), chosen)
        return ours / theirs if lower else ours - theirs

    low, high = bootstrap(beside, len(places))
    unit, winner = DISTANCE if lower else DECIBEL, best(places)
    ours, theirs = in_words(unit, mean(EDIT, places)), in_words(unit, mean(winner, places))
    return Figure(
        value=beside(np.arange(len(places))),
        low=low,
        high=high,
        count=len(places),
        note=f"{ours} against {theirs} of {winner}",
    )

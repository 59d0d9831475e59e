"""Fills: whether a stranger names what was painted, in colours never trained too, and its seam."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from onefill.pocket.material.vocabulary import WORDS
from onefill.pocket.scoring.classifier import Classifier, views_of
from onefill.pocket.scoring.colour_check import colour_of
from onefill.pocket.scoring.held_out import HeldOut, Pictures, as_tensor, paint
from onefill.pocket.scoring.measures import bootstrap
from onefill.pocket.scoring.table import Figure, Figures, share_of
from onefill.policy.flux_fill import FluxFillPolicy
from onefill.rl.monitor import seam_error

_BATCH = 250


def score_fill(
    policy: FluxFillPolicy, scenes: HeldOut, classifier: Classifier, seed: int
) -> Figures:
    """Things named out of the whole vocabulary, by the classifier, and the error of the seams.

    The classifier's word on true composites, with the drawings that are held out, says what its
    word on fills is worth. The seam error is the mean step between the pixels on either side of
    the mask's edge; its mean over all fills is divided by that over the true composites of the
    same scenes, which have a step there too, of texture and slopes.
    """
    painted = paint(policy, scenes, seed)
    seams, true_seams = _seams(painted, scenes), _seams(scenes.truths, scenes)

    def ratio(places: NDArray[np.int_]) -> float:
        return float(seams[places].mean() / true_seams[places].mean())

    low, high = bootstrap(ratio, len(scenes))
    note = f"{255 * seams.mean():.1f} grey levels against {255 * true_seams.mean():.1f}"
    return {
        "fill/named": share_of(named(classifier, painted, scenes)),
        "fill/classifier": share_of(named(classifier, scenes.truths, scenes)),
        "fill/seam": Figure(
            value=ratio(np.arange(len(scenes))), low=low, high=high, count=len(scenes), note=note
        ),
    }


def _seams(pictures: Pictures, scenes: HeldOut) -> NDArray[np.float64]:
    images = as_tensor(pictures).split(1)
    return np.array(
        [seam_error(*case) for case in zip(images, scenes.batch.masks.split(1), strict=True)]
    )


def score_unseen(
    policy: FluxFillPolicy, scenes: HeldOut, classifier: Classifier, seed: int
) -> Figures:
    """Things asked for in a colour that they were never trained in: named, and of that colour."""
    figures = {}
    for key, pictures in (
        ("unseen/right", paint(policy, scenes, seed)),
        ("unseen/checks", scenes.truths),
    ):
        word, colour = named(classifier, pictures, scenes), coloured(pictures, scenes)
        note = f"named {word.mean():.1%}, in that colour {colour.mean():.1%}"
        figures[key] = share_of(word & colour, note)
    return figures


def named(classifier: Classifier, pictures: Pictures, scenes: HeldOut) -> NDArray[np.bool_]:
    """Whether the classifier's first word of the vocabulary is the scene's, (N,)."""
    views = views_of(pictures, scenes.masks).split(_BATCH)
    found = torch.cat([classifier.look(part).argmax(1) for part in views])
    return np.array([WORDS[w] == row["word"] for w, row in zip(found, scenes.rows, strict=True)])


def coloured(pictures: Pictures, scenes: HeldOut) -> NDArray[np.bool_]:
    """Whether what differs from the picture handed in has the scene's colour, (N,)."""
    cases = zip(pictures, scenes.pictures, scenes.masks, scenes.rows, strict=True)
    return np.array([colour_of(p, b, m) == row["colour"] for p, b, m, row in cases])

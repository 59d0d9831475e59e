"""What a trained run is measured by: a second judge, and measures that are no judge.

Start model and trained model paint the same held-out scenes from the same noise, as an edit does:
its number of steps, from where an edit of the task begins. All measures but one see the pictures
that an edit hands out, colours and fine detail matched to the surroundings, but for the pieces laid
over a removal, which would hide what was learned; drift sees what the
model painted, as an edit puts back every pixel outside the mask. Names of what ``measure_run``
finds:

- ``TASK/DIMENSION``: how often the second judge prefers the trained model's picture.
- ``TASK seam``: the step across the mask's edge, as a ratio to the start model's; below 1 is
  better.
- ``TASK drift``: change outside the mask before the sample's own pixels are put back, as a ratio
  to the start model's; below 1 is better.
- ``removal dB``: change of the PSNR inside the mask to the true background.
- ``removal LPIPS``: distance inside the mask to the true background by a learned measure
  (``onefill.pocket.scoring.perceptual``), as a ratio to the start model's; below 1 is better. Only
  where its weights are installed.
- ``fill named``: share of things that a separately trained classifier names, and ``fill named at
  start`` in the start model's pictures. Where nearly all are named at once, the share says little,
  and ``fill surer`` more: by how much the classifier's logarithm of the probability of the right
  word has grown, in the mean; above 0 is better.
- ``fill contrast``: standard deviation of the colours inside the mask, as a ratio to the start
  model's. A thing that fades into its surroundings has less than the true one has.
- ``text read``: share of written words that an OCR library reads without a wrong letter, and
  ``text read at start``. Only where the library is installed.

A run lacks what belongs to tasks that it did not train.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from onefill.edit.reading import Reader, missing_packages, open_reader
from onefill.judge.loading import load_judge
from onefill.pocket import embedded
from onefill.pocket.contests.painted import through_vae
from onefill.pocket.contests.pairs import ALIGNMENT, DIMENSIONS, LABELS, NOTHING, TASK_DIMENSIONS
from onefill.pocket.judge.second import SecondJudge, load_second_judge
from onefill.pocket.material import vocabulary
from onefill.pocket.scoring.background import apart, decibels
from onefill.pocket.scoring.classifier import Classifier, load_classifier, views_of
from onefill.pocket.scoring.held_out import (
    HeldOut,
    Pictures,
    as_tensor,
    hand_out,
    paint_whole,
    read_held_out,
)
from onefill.pocket.scoring.perceptual import StLpips, find_weights, load_perceptual
from onefill.pocket.scoring.text import read_rightly
from onefill.policy.flux_fill import FluxFillPolicy
from onefill.policy.loading import load_policy
from onefill.rl.monitor import outside_drift, seam_error
from onefill.rl.reference import StartWeights
from onefill.rl.reward import preferences

_COUNT, _SEED = 100, 5

Figures = dict[str, float]


@dataclass(frozen=True)
class Painted:
    """What a model made of held-out scenes.

    Attributes:
        whole: as painted, (N, 3, H, W) in [0, 1].
        finished: as an edit hands it out, uint8 (N, H, W, 3).
    """

    whole: Tensor
    finished: Pictures


def measure_run(folder: Path, weights: str = "adapter") -> dict[str, Any]:
    """Measure a finished run.

    Args:
        folder: of the run, which has trained an adapter.
        weights: which of its adapters, ``adapter`` or ``adapter-last``.

    Returns:
        ``figures``: see the module. ``scenes``: of how many scenes each share by the second
        judge is. ``own``: what the run's own judge said at its end, by ``TASK/DIMENSION``;
        it saw the weights of ``adapter``. ``steps``: updates of the run.
    """
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    policy = _policy()
    policy.load_adapter(folder / weights)
    figures: Figures = {}
    counts: dict[str, int] = {}
    for name in summary["tasks"]:
        if name not in TASK_DIMENSIONS:
            continue
        scenes, before = _scenes(name), _at_start(name)
        found, asked = _measured(scenes, before, _paint(policy, scenes))
        figures, counts = figures | found, counts | asked
    own = {
        f"{task}/{dimension}": found["end"]
        for task, dimensions in summary["win_rate"].items()
        for dimension, found in dimensions.items()
    }
    return {"figures": figures, "scenes": counts, "own": own, "steps": summary["steps"]}


def measure_truth() -> dict[str, Any]:
    """Measure the true pictures as if a policy had painted them, for what a perfect one could win.

    They have passed through the policy's VAE and are handed out as all that it paints is.

    Returns:
        As ``measure_run``, with 0 ``steps`` and the embedded judge's opinion as ``own``.
    """
    judge = load_judge(str(embedded.resolve("judges", "pocket")), device="cpu", dtype="float32")
    figures: Figures = {}
    counts: dict[str, int] = {}
    own: Figures = {}
    for name in TASK_DIMENSIONS:
        scenes, before = _scenes(name), _at_start(name)
        whole = through_vae(_policy(), as_tensor(scenes.truths))
        after = Painted(whole, hand_out(_policy(), scenes, whole, pieces=False))
        found, asked = _measured(scenes, before, after)
        figures, counts = figures | found, counts | asked
        shown, beside = as_tensor(after.finished), as_tensor(before.finished)
        answers = preferences(judge, shown, beside, scenes.batch.questions)[name]
        own |= {f"{name}/{d}": float((np.array(p) > 0.5).mean()) for d, p in answers.items()}
    return {"figures": figures, "scenes": counts, "own": own, "steps": 0}


def _measured(scenes: HeldOut, before: Painted, after: Painted) -> tuple[Figures, dict[str, int]]:
    """All figures of one task, and how many scenes each share by the second judge is of."""
    task = scenes.task.name
    wins = second_opinions(second_judge(), scenes, before, after)
    shares = {f"{task}/{dimension}": float(won.mean()) for dimension, won in wins.items()}
    counts = {f"{task}/{dimension}": len(won) for dimension, won in wins.items()}
    seams = seam_and_drift(scenes, before, after)
    return shares | seams | measures_of_task(scenes, before, after), counts


def measures_of_task(scenes: HeldOut, before: Painted, after: Painted) -> Figures:
    """What is measured of one task alone, as far as its packages are installed."""
    task = scenes.task.name
    if task == "removal":
        return nearness(scenes, before, after)
    if task == "fill":
        return names(scenes, before, after) | contrast(scenes, before, after)
    if task == "text" and not missing_packages():
        return {
            "text read": float(read_rightly(_reader(), after.finished, scenes).mean()),
            "text read at start": _read_at_start(),
        }
    return {}


def second_opinions(
    second: SecondJudge, scenes: HeldOut, before: Painted, after: Painted
) -> dict[str, np.ndarray]:
    """By dimension, whether the second judge prefers ``after``, for each scene it is asked about.

    It is asked about text alignment only where a scene has words.
    """
    asked = torch.tensor([label_of(words) for words in scenes.batch.words])
    # Of two equal pictures neither is preferred, whatever rounding says across a batch.
    changed = torch.from_numpy((after.finished != before.finished).any(axis=(1, 2, 3)))
    found = {}
    for dimension in TASK_DIMENSIONS[scenes.task.name]:
        counted = asked != NOTHING if dimension == ALIGNMENT else torch.ones_like(asked).bool()
        if not counted.any():
            continue
        columns = torch.full((len(scenes),), DIMENSIONS.index(dimension))
        with torch.no_grad():
            p = second.prob_first_better(
                as_tensor(after.finished) * 255, as_tensor(before.finished) * 255, columns, asked
            )
        found[dimension] = ((p > 0.5) & changed)[counted].numpy()
    return found


def seam_and_drift(scenes: HeldOut, before: Painted, after: Painted) -> Figures:
    """Seam and drift as ratios to the start model's; see the module."""
    task, batch = scenes.task.name, scenes.batch

    def seam(painted: Painted) -> float:
        return seam_error(as_tensor(painted.finished), batch.masks)

    def drift(painted: Painted) -> float:
        return outside_drift(painted.whole, batch.images, batch.masks)

    return {
        f"{task} seam": seam(after) / seam(before),
        f"{task} drift": drift(after) / drift(before),
    }


def nearness(scenes: HeldOut, before: Painted, after: Painted) -> Figures:
    """How much nearer removals came to the true backgrounds inside their masks."""
    truths, masks = scenes.truths, scenes.masks
    near, near_before = (decibels(p.finished, truths, masks).mean() for p in (after, before))
    figures = {"removal dB": float(near) - float(near_before)}
    if find_weights() is not None:
        perceptual = lpips()
        distances = [
            apart(perceptual, painted.finished, truths, masks).mean() for painted in (after, before)
        ]
        figures["removal LPIPS"] = float(distances[0] / distances[1])
    return figures


def names(scenes: HeldOut, before: Painted, after: Painted) -> Figures:
    """What the classifier names in fills, and how sure it is of the right word."""
    right = torch.tensor([vocabulary.WORDS.index(row["word"]) for row in scenes.rows])

    def said(painted: Painted) -> tuple[float, float]:
        log_p = _classifier().look(views_of(painted.finished, scenes.masks)).log_softmax(1)
        share = (log_p.argmax(1) == right).float().mean()
        return float(share), float(log_p.gather(1, right[:, None]).mean())

    (named, sure), (named_at_start, sure_at_start) = said(after), said(before)
    return {
        "fill named": named,
        "fill named at start": named_at_start,
        "fill surer": sure - sure_at_start,
    }


def contrast(scenes: HeldOut, before: Painted, after: Painted) -> Figures:
    """How far the colours inside a mask lie apart, as a ratio to the start model's."""

    def spread(painted: Painted) -> float:
        pairs = zip(painted.finished, scenes.masks, strict=True)
        return float(np.mean([picture[mask].std(axis=0).mean() for picture, mask in pairs]))

    return {"fill contrast": spread(after) / spread(before)}


def label_of(words: str | None) -> int:
    """The label of what a prompt names; that of nothing if it names nothing known."""
    named = vocabulary.asked_for(words or "")
    return LABELS.index(named) if named else NOTHING


def _paint(policy: FluxFillPolicy, scenes: HeldOut) -> Painted:
    whole = paint_whole(policy, scenes, _SEED)
    return Painted(whole, hand_out(policy, scenes, whole, pieces=False))


# Models, scenes and the start model's pictures are those of every run of a campaign.


@cache
def _policy() -> FluxFillPolicy:
    return load_policy(embedded.resolve("policies", "pocket"))


@cache
def second_judge() -> SecondJudge:
    """Who gives the second opinion."""
    return load_second_judge(embedded.SECOND_JUDGE)


@cache
def _classifier() -> Classifier:
    return load_classifier(embedded.CLASSIFIER)


@cache
def lpips() -> StLpips:
    """The learned distance that removals are measured by."""
    return load_perceptual()


@cache
def _reader() -> Reader:
    return open_reader()


@cache
def _scenes(task: str) -> HeldOut:
    return read_held_out(embedded.scenes("heldout"), task).select(slice(_COUNT))


@cache
def _at_start(task: str) -> Painted:
    with StartWeights(_policy(), "lora").active():
        return _paint(_policy(), _scenes(task))


@cache
def _read_at_start() -> float:
    return float(read_rightly(_reader(), _at_start("text").finished, _scenes("text")).mean())

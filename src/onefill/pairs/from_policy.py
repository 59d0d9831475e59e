"""Pairs from a policy: several candidates of each edit, labelled by a judge or left for people."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from onefill.data.sample import Sample
from onefill.data.source import SampleSource
from onefill.errors import OnefillError
from onefill.pairs.candidates import Recipe, draw_recipes, paint
from onefill.pairs.labels import Labelled, all_pairs, label
from onefill.pairs.output import PairsFolder, Written
from onefill.pairs.subject import Picture
from onefill.policy.flux_fill import FluxFillPolicy
from onefill.rl.batch import make_batch
from onefill.tasks.types import Task

Labeller = Callable[[Sequence[Picture], Sample, Task], list[Labelled]]
"""(candidates, the sample they were painted on, its task) to pairs."""

_PLACES = ("first", "second")
_IN_VAIN = 50
"""Edits in a row without a pair, after which the judge is taken to be unsure of everything."""


@dataclass(frozen=True)
class Plan:
    """What is sampled.

    Attributes:
        count: how many pairs there are to be, at least.
        candidates: how many results each edit gets, 2 or more.
        batch: edits that are painted together; they share their recipes.
        negatives: further negative prompts.
        seed: of everything.
    """

    count: int
    candidates: int
    batch: int
    negatives: tuple[str, ...]
    seed: int


def label_with(judge: Any, margin: float) -> Labeller:
    """A labeller that asks a judge; see ``onefill.pairs.labels.label``."""

    def ask(candidates: Sequence[Picture], sample: Sample, task: Task) -> list[Labelled]:
        words, mask = sample.words, sample.mask
        return label(judge, candidates, sample.image, mask, task, words, margin)

    return ask


def leave_for_people(candidates: Sequence[Picture], sample: Sample, task: Task) -> list[Labelled]:
    """A labeller that keeps every two candidates and says nothing of them."""
    return all_pairs(len(candidates))


def make_candidate_pairs(
    folder: PairsFolder,
    policy: FluxFillPolicy,
    samples: SampleSource,
    root: Path,
    tasks: Mapping[str, Task],
    weights: Mapping[str, float],
    labeller: Labeller,
    plan: Plan,
    written: Written,
    on_pairs: Callable[[int], None],
) -> None:
    """Sample edit after edit until there are enough pairs.

    An edit depends on the seed and its number alone, and its pairs are appended together; so
    the making can stop anywhere and go on to the same files.

    Args:
        folder: an opened folder.
        policy: who paints.
        samples: what is edited.
        root: folder of the samples' pictures; scenes are named by their path from there.
        tasks: by name.
        weights: how often each is drawn.
        labeller: what makes pairs of candidates.
        plan: how many of what.
        written: what the folder holds already.
        on_pairs: called with the number of new pairs, 0 for an edit that gave none.

    Raises:
        BadInput: a picture cannot be used, or a prompt is too long.
        OnefillError: the judge is sure of nothing, or writing failed.
    """
    names = list(tasks)
    shares = np.array([weights[name] for name in names])
    cursor = dict.fromkeys(names, 0)
    done, chunk, in_vain = written.pairs, 0, 0
    while done < plan.count:
        rng = np.random.default_rng([plan.seed, chunk])
        task = tasks[str(rng.choice(names, p=shares / shares.sum()))]
        start = cursor[task.name]
        cursor[task.name] += plan.batch
        first = chunk * plan.batch
        chunk += 1
        if first + plan.batch - 1 <= written.last:
            continue
        size = policy.settings.size
        batch = samples.batch(task.name, start, plan.batch, size)
        recipes = draw_recipes(policy.settings, task.name, plan.candidates, plan.negatives, rng)
        painted = paint(
            policy, make_batch(task, batch, policy.device), recipes, int(rng.integers(2**62))
        )
        for place, (sample, pictures) in enumerate(zip(batch, painted, strict=True)):
            number = first + place
            flips = np.random.default_rng([plan.seed, 1, number])
            if number <= written.last or done >= plan.count:
                continue
            image = samples.row(task.name, start + place).image
            scene = image.relative_to(root).as_posix() if image.is_relative_to(root) else image.name
            pairs = labeller(pictures, sample, task)
            if pairs:
                save = partial(_write, folder, number, sample, pictures, recipes, scene)
                folder.append(save(pairs, flips))
                done += len(pairs)
            on_pairs(len(pairs))
            in_vain = 0 if pairs else in_vain + 1
            if in_vain == _IN_VAIN:
                raise OnefillError(
                    f"the judge was unsure of all results of {_IN_VAIN} edits in a row; "
                    "lower --margin, or give more --candidates"
                )


def _write(
    folder: PairsFolder,
    number: int,
    sample: Sample,
    pictures: Sequence[Picture],
    recipes: Sequence[Recipe],
    scene: str,
    pairs: Sequence[Labelled],
    rng: np.random.Generator,
) -> list[dict[str, Any]]:
    """Save what the pairs of one edit show and return their rows."""
    name = f"{number:06d}"
    used = sorted({place for pair in pairs for place in pair.places})
    files = {place: folder.save_picture(f"{name}-{place}", pictures[place]) for place in used}
    source = folder.save_picture(f"{name}-source", sample.image)
    mask = folder.save_mask(f"{name}-mask", sample.mask)
    rows = []
    for pair in pairs:
        order = pair.places if rng.random() < 0.5 else pair.places[::-1]
        row: dict[str, Any] = {key: files[place] for key, place in zip(_PLACES, order, strict=True)}
        row |= {"source": source, "mask": mask, "task": sample.task}
        if sample.words:
            row["prompt"] = sample.words
        if pair.winner:
            row["winner"] = {d: _PLACES[order.index(place)] for d, place in pair.winner.items()}
            row["strength"] = dict(pair.strength)
        row["scene"] = scene
        row["number"] = number
        row["sampled"] = {
            key: recipes[place].document() for key, place in zip(_PLACES, order, strict=True)
        }
        rows.append(row)
    return rows

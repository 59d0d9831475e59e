"""``onefill edit --rank``: the judge puts the results of one edit into an order."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onefill.errors import BadInput

if TYPE_CHECKING:
    from PIL import Image

    from onefill.edit.request import EditPlan
    from onefill.judge.model import Judge
    from onefill.judge.pair import PreferencePair
    from onefill.tasks.registry import TaskRegistry
    from onefill.tasks.types import Dimension, Task

_DECIMALS = 4
_LEAST_SIDE = 64  # pixels of what the judge is shown


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """A result and where it came.

    Attributes:
        index: of the result, in the order given.
        rank: 1 is best.
        score: mean over the dimensions of the logit against the average result.
        dims: dimension to that logit.
    """

    index: int
    rank: int
    score: float
    dims: dict[str, float]


def choose_dimensions(task: Task, names: Sequence[str], words: str | None) -> tuple[Dimension, ...]:
    """What results are ranked on: the dimensions named, or all that these words allow.

    Raises:
        BadInput: the task has no such dimension, or it needs words and there are none.
    """
    from onefill.judge.query import answerable, build_query

    if not names:
        dimensions = answerable(task, words)
        if not dimensions:
            raise BadInput(f"--rank: every dimension of task {task.name!r} needs --prompt")
        return dimensions
    dimensions = tuple(task.dimension(name) for name in dict.fromkeys(names))
    for dimension in dimensions:
        build_query(task, dimension, words)
    return dimensions


def rank_results(
    judge: Judge,
    registry: TaskRegistry,
    plan: EditPlan,
    files: Sequence[Path],
    dimensions: Sequence[Dimension],
    *,
    image: Path,
    words: str | None,
) -> list[Ranked]:
    """Results of one edit, best first; every pair is asked, in both orders.

    Args:
        judge: who is asked.
        registry: knows the task.
        plan: the edit.
        files: the results, two or more.
        dimensions: what they are compared on.
        image: the photograph, for a judge trained to see it.
        words: what was asked for.
    """
    from onefill.judge.asking import ask_pairs
    from onefill.judge.ranking import Duel, choose_pairs

    names = tuple(dimension.name for dimension in dimensions)
    duels: dict[str, list[Duel]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory(prefix="onefill-") as folder:
        views = _Views(plan, Path(folder))
        source = views.source(image) if "source" in judge.sees else None
        mask = views.mask() if "mask" in judge.sees else None
        shown = [views.result(path, number) for number, path in enumerate(files)]
        chosen = choose_pairs(len(files), plan.seeds[0])
        pairs = [
            _pair(plan.task, names, shown[one], shown[other], source, mask, words)
            for one, other in chosen
        ]
        answers = ask_pairs(judge, pairs, registry)
        for (one, other), (_, verdicts) in zip(chosen, answers, strict=True):
            for verdict in verdicts:
                duels[verdict.dim].append(Duel(one, other, verdict.p_first))
    scores = {name: _scores(len(files), fought) for name, fought in duels.items()}
    return _in_order(len(files), scores)


class _Views:
    """What the judge is shown: the part around the mask, as a policy sees it, as files.

    Judges look at pictures of a few hundred pixels a side, or fewer; a small mask in a large
    photograph would be nothing to them.
    """

    def __init__(self, plan: EditPlan, folder: Path) -> None:
        from onefill.edit.crop import bounding_box, choose_crop

        self._plan = plan
        self._folder = folder
        self._mask = plan.whole_mask()
        crop = choose_crop(bounding_box(self._mask), plan.canvas.box, size=_LEAST_SIDE, multiple=1)
        self._box = crop.box

    def result(self, path: Path, number: int) -> Path:
        from onefill.images import read_image

        return self._save(read_image(path), f"{number}.png")

    def source(self, image: Path) -> Path:
        """The photograph; an enlarged one is shown as it was."""
        if self._plan.canvas.box != self._plan.photo.canvas.box:
            return image
        return self._save(self._plan.canvas.view(self._plan.canvas.box), "source.png")

    def mask(self) -> Path:
        from PIL import Image

        return self._save(Image.fromarray(self._mask), "mask.png")

    def _save(self, picture: Image.Image, name: str) -> Path:
        box, path = self._box, self._folder / name
        picture.crop((box.x, box.y, box.right, box.bottom)).save(path, compress_level=1)
        return path


def _pair(
    task: str,
    dims: tuple[str, ...],
    first: Path,
    second: Path,
    source: Path | None,
    mask: Path | None,
    words: str | None,
) -> PreferencePair:
    from onefill.judge.pair import PreferencePair

    return PreferencePair(
        first=first,
        second=second,
        task=task,
        prompt=words,
        source=source,
        mask=mask,
        dims=dims,
        winner={},
        strength={},
        scene=str(source or first),
        line=0,
        row={},
    )


def _scores(count: int, duels: Sequence[Any]) -> list[float]:
    from onefill.judge.ranking import rank

    if count == 2:
        # One answer leaves nothing to fit: the two stand as far apart as it says.
        p = min(max(duels[0].p_first, 1e-6), 1 - 1e-6)
        half = _logit(p) / 2
        return [half, -half]
    places = {place.index: place.score for place in rank(count, duels)}
    return [places[index] for index in range(count)]


def _logit(p: float) -> float:
    return math.log(p / (1 - p))


def _in_order(count: int, scores: dict[str, list[float]]) -> list[Ranked]:
    means = [
        round(sum(of_dim[index] for of_dim in scores.values()) / len(scores), _DECIMALS)
        for index in range(count)
    ]
    order = sorted(range(count), key=lambda index: (-means[index], index))
    return [
        Ranked(
            index=index,
            rank=1 + sum(mean > means[index] for mean in means),
            score=means[index],
            dims={name: round(of_dim[index], _DECIMALS) for name, of_dim in scores.items()},
        )
        for index in order
    ]

"""``onefill train`` led by more than a judge can know: does it fail for want of a better judge?

python bench/rl_other_rewards.py second-judge|truth [what onefill train takes]

``second-judge`` leads by the very judge that ``rl_evidence.py`` measures with, so by its figures a
run cannot do better in as many steps; by the others one sees what pleasing it costs. ``truth``
leads by what no judge can know: how much nearer than the reference's picture the policy's is to
the true one, by LPIPS inside the mask. Both take the place of the judge's logit in Eq. 5, and
nothing else of a run changes; the win rates it writes down are those of its usual judge.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache

import torch
from rl_measures import label_of, lpips, second_judge
from torch import Tensor

from onefill.cli.app import run
from onefill.judge.model import Judge
from onefill.pocket import embedded
from onefill.pocket.contests.pairs import DIMENSIONS
from onefill.pocket.scoring.held_out import as_tensor, read_held_out
from onefill.pocket.scoring.perceptual import find_weights
from onefill.rl import training
from onefill.rl.batch import Batch
from onefill.rl.reward import ByDimension, Questions, Reward

_STEEPNESS = 30.0
"""Logit per unit of LPIPS: two removals of one scene lie about 0.05 apart."""


class LedBySecondJudge(Reward):
    """The margin by which the second judge prefers the policy's picture."""

    def _ask(self, judge: Judge, images: Tensor, reference: Tensor, questions: Questions) -> Tensor:
        columns, words = torch.empty(2, len(questions.queries), dtype=torch.long)
        for of_task in questions.rows.values():
            for dimension, rows in of_task.items():
                columns[rows] = DIMENSIONS.index(dimension)
        for row, query in enumerate(questions.queries):
            words[row] = label_of(query.partition("Prompt: ")[2].removesuffix("."))
        seen = (255 * pictures[questions.samples] for pictures in (images, reference))
        return torch.logit(second_judge().prob_first_better(*seen, columns, words), eps=1e-6)


class LedByTruth(Reward):
    """How much nearer to the truth the policy's picture is, on every dimension alike."""

    batch: Batch
    """Of the update; whoever draws it puts it here."""

    def logits(
        self, images: Tensor, reference: Tensor, questions: Questions, step: int, places: range
    ) -> ByDimension[Tensor]:
        """As ``Reward.logits``."""
        part = self.batch.select(places)
        truths, masks = _truths(part), part.masks[:, 0]
        near, near_reference = (
            (lpips().between(pictures, truths) * masks).sum((1, 2)) / masks.sum((1, 2))
            for pictures in (images, reference)
        )
        nearer = _STEEPNESS * (near_reference - near)
        return {
            task: {
                dimension: nearer[[questions.samples[row] for row in rows]]
                for dimension, rows in of_task.items()
            }
            for task, of_task in questions.rows.items()
        }


def _lead_by_truth() -> type[Reward]:
    draw: Callable[..., Batch] = training.Training.next_batch

    def next_batch(run: training.Training, counts: dict[str, int]) -> Batch:
        LedByTruth.batch = draw(run, counts)
        return LedByTruth.batch

    training.Training.next_batch = next_batch
    return LedByTruth


def _truths(part: Batch) -> Tensor:
    """What perfect results would show. Other than a removal's, a scene is its own truth."""
    if part.task.name != "removal":
        return part.images
    return torch.stack([_true_backgrounds()[name.split()[0]] for name in part.names])


@cache
def _true_backgrounds() -> dict[str, Tensor]:
    scenes = read_held_out(embedded.scenes("train"), "removal")
    names = [row["image"] for row in scenes.rows]
    return dict(zip(names, as_tensor(scenes.truths), strict=True))


def main() -> int:
    """Train; the exit code is that of ``onefill train``."""
    which, *arguments = sys.argv[1:] or [""]
    if which not in ("second-judge", "truth"):
        print(
            "name what leads first: second-judge or truth; then what onefill train takes",
            file=sys.stderr,
        )
        return 2
    if which == "truth" and find_weights() is None:
        print("truth: needs LPIPS; install with pip install 'onefill[score]'", file=sys.stderr)
        return 2
    training.Reward = LedBySecondJudge if which == "second-judge" else _lead_by_truth()
    return run(["train", *arguments])


if __name__ == "__main__":
    sys.exit(main())

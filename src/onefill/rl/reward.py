"""The judge asked about a batch: every dimension of its tasks at once, every image seen once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from onefill.judge.model import ImageFeatures, Judge
from onefill.judge.query import answerable, build_query
from onefill.judge.verdict import both_orders, swap_symmetric
from onefill.rl.config import RewardConfig
from onefill.rl.jitter import draw_jitter, jitter_generators, jittered
from onefill.tasks.types import Task

_Found = TypeVar("_Found")

ByDimension = dict[str, dict[str, _Found]]
"""What there is of each dimension of each task: by task, then dimension."""


@dataclass(frozen=True)
class Questions:
    """What is asked about a batch of pairs.

    Attributes:
        queries: one text for each question.
        samples: which sample each question is about.
        rows: for each task and dimension the questions that ask it.
    """

    queries: list[str]
    samples: list[int]
    rows: ByDimension[list[int]]


def build_questions(tasks: Sequence[Task], words: Sequence[str | None]) -> Questions:
    """Every dimension of each sample's task; one about words only where there are some."""
    queries: list[str] = []
    samples: list[int] = []
    rows: ByDimension[list[int]] = {}
    for sample, (task, typed) in enumerate(zip(tasks, words, strict=True)):
        for dimension in answerable(task, typed):
            rows.setdefault(task.name, {}).setdefault(dimension.name, []).append(len(queries))
            queries.append(build_query(task, dimension, typed))
            samples.append(sample)
    return Questions(queries, samples, rows)


def look(judge: Judge, images: Tensor, questions: Questions) -> ImageFeatures:
    """See each image (B, 3, H, W) once, and lay it beside every question about it."""
    return judge.encode_images(images).select(questions.samples)


class Reward:
    """What the policy is trained to raise: the answers of one judge or several.

    Args:
        judges: who is asked; all count the same.
        config: how they are asked.
        seed: of what is drawn before they look.
    """

    def __init__(self, judges: Sequence[Judge], config: RewardConfig, seed: int) -> None:
        self._judges = judges
        self._config = config
        self._seed = seed

    def logits(
        self, images: Tensor, reference: Tensor, questions: Questions, step: int, places: range
    ) -> ByDimension[Tensor]:
        """logit("Yes" | x_theta, x_ref, q) for each dimension, the policy's image first.

        Its sigmoid is Eq. 5's P("Yes"). By the configuration it is the mean over judges, and the
        opinion free of any favour for a place where both orders are asked.

        Args:
            images: the policy's, (B, 3, H, W) in [0, 1]; gradient flows to them.
            reference: the reference's, likewise; no gradient flows to them.
            questions: about these B pairs.
            step: number of the update.
            places: of these pairs in the batch of that update.

        Returns:
            For each task and dimension the answers on the samples that were asked about it.
        """
        images, reference = self._seen(images, reference, step, places)
        answers = [self._ask(judge, images, reference, questions) for judge in self._judges]
        logits = answers[0] if len(answers) == 1 else torch.stack(answers).mean(dim=0)
        return {
            task: {dimension: logits[rows] for dimension, rows in of_task.items()}
            for task, of_task in questions.rows.items()
        }

    def _seen(
        self, images: Tensor, reference: Tensor, step: int, places: range
    ) -> tuple[Tensor, Tensor]:
        config = self._config
        if not (config.noise or config.shift or config.resize):
            return images, reference
        jitter = draw_jitter(config, self._seed, step)
        seen = [
            jittered(pictures, jitter, jitter_generators(self._seed, step, places, which))
            for which, pictures in enumerate((images, reference))
        ]
        return seen[0], seen[1]

    def _ask(self, judge: Judge, images: Tensor, reference: Tensor, questions: Questions) -> Tensor:
        with torch.no_grad():
            second = look(judge, reference, questions)
        first = look(judge, images, questions)
        if self._config.symmetric:
            return swap_symmetric(*both_orders(judge, first, second, questions.queries))
        return judge.logits_from_features(first, second, questions.queries)


@torch.no_grad()
def preferences(
    judge: Judge, images: Tensor, reference: Tensor, questions: Questions
) -> ByDimension[list[float]]:
    """The probability that ``images`` are better, both orders asked and calibrated.

    The same arithmetic as a verdict of ``onefill judge``; see ``Reward`` for the shapes.
    """
    first, second = look(judge, images, questions), look(judge, reference, questions)
    opinion = swap_symmetric(*both_orders(judge, first, second, questions.queries))
    found: ByDimension[list[float]] = {}
    for task, of_task in questions.rows.items():
        found[task] = {}
        for dimension, rows in of_task.items():
            heat = judge.calibration.get(f"{task}/{dimension}", 1.0)
            found[task][dimension] = torch.sigmoid(opinion[rows] / heat).tolist()
    return found

"""The judge asked about a batch: every dimension of its task at once, every image seen once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from onefill.judge.model import ImageFeatures, Judge
from onefill.judge.query import answerable, build_query
from onefill.judge.verdict import both_orders, swap_symmetric
from onefill.rl.config import RewardConfig
from onefill.rl.jitter import draw_jitter, jitter_generators, jittered
from onefill.tasks.types import Task


@dataclass(frozen=True)
class Questions:
    """What is asked about a batch of pairs.

    Attributes:
        task: the task of the batch.
        queries: one text for each question.
        samples: which sample each question is about.
        rows: for each dimension the questions that ask it.
    """

    task: Task
    queries: list[str]
    samples: list[int]
    rows: dict[str, list[int]]


def build_questions(task: Task, words: Sequence[str | None]) -> Questions:
    """Every dimension of ``task`` for every sample; one about words only where there are some."""
    queries: list[str] = []
    samples: list[int] = []
    rows: dict[str, list[int]] = {}
    for sample, typed in enumerate(words):
        for dimension in answerable(task, typed):
            rows.setdefault(dimension.name, []).append(len(queries))
            queries.append(build_query(task, dimension, typed))
            samples.append(sample)
    return Questions(task, queries, samples, rows)


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
    ) -> dict[str, Tensor]:
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
            For each dimension the answers on the samples that were asked about it.
        """
        images, reference = self._seen(images, reference, step, places)
        answers = [self._ask(judge, images, reference, questions) for judge in self._judges]
        logits = answers[0] if len(answers) == 1 else torch.stack(answers).mean(dim=0)
        return {dimension: logits[rows] for dimension, rows in questions.rows.items()}

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
) -> dict[str, list[float]]:
    """The probability that ``images`` are better, both orders asked and calibrated.

    The same arithmetic as a verdict of ``onefill judge``; see ``Reward`` for the shapes.
    """
    first, second = look(judge, images, questions), look(judge, reference, questions)
    opinion = swap_symmetric(*both_orders(judge, first, second, questions.queries))
    found: dict[str, list[float]] = {}
    for dimension, rows in questions.rows.items():
        heat = judge.calibration.get(f"{questions.task.name}/{dimension}", 1.0)
        found[dimension] = torch.sigmoid(opinion[rows] / heat).tolist()
    return found

"""The judge asked about a batch: every dimension of its task at once, every image seen once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from onefill.judge.model import ImageFeatures, Judge
from onefill.judge.query import answerable, build_query
from onefill.judge.verdict import both_orders, swap_symmetric
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


def rewards(
    judge: Judge, images: Tensor, reference: Tensor, questions: Questions
) -> dict[str, Tensor]:
    """P("Yes" | x_theta, x_ref, q) for each dimension, the policy's image first (Eq. 5).

    Args:
        judge: who is asked.
        images: the policy's, (B, 3, H, W) in [0, 1]; gradient flows to them.
        reference: the reference's, likewise; no gradient flows to them.
        questions: about these B pairs.

    Returns:
        For each dimension the probabilities of the samples that were asked about it.
    """
    with torch.no_grad():
        second = look(judge, reference, questions)
    first = look(judge, images, questions)
    p_yes = torch.sigmoid(judge.logits_from_features(first, second, questions.queries))
    return {dimension: p_yes[rows] for dimension, rows in questions.rows.items()}


@torch.no_grad()
def preferences(
    judge: Judge, images: Tensor, reference: Tensor, questions: Questions
) -> dict[str, list[float]]:
    """The probability that ``images`` are better, both orders asked and calibrated.

    The same arithmetic as a verdict of ``onefill judge``; see ``rewards`` for the shapes.
    """
    first, second = look(judge, images, questions), look(judge, reference, questions)
    opinion = swap_symmetric(*both_orders(judge, first, second, questions.queries))
    found: dict[str, list[float]] = {}
    for dimension, rows in questions.rows.items():
        heat = judge.calibration.get(f"{questions.task.name}/{dimension}", 1.0)
        found[dimension] = torch.sigmoid(opinion[rows] / heat).tolist()
    return found

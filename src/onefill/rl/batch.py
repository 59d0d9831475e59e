"""Samples brought together as tensors, of one task or of several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from onefill.data.sample import Sample
from onefill.data.source import SampleSource
from onefill.policy.finishing import finish
from onefill.policy.surroundings import fill_smoothly
from onefill.rl.reward import Questions, build_questions
from onefill.tasks.types import Task


@dataclass(frozen=True)
class Batch:
    """Samples of one size.

    Attributes:
        tasks: the task of each; B of them.
        images: (B, 3, H, W) in [0, 1].
        masks: (B, 1, H, W), 1 where the policy paints.
        words: what a user would type, or None; B of them.
        keys: hash of each sample's content.
        names: what each is called when something is wrong with it.
    """

    tasks: list[Task]
    images: Tensor
    masks: Tensor
    words: list[str | None]
    keys: list[str]
    names: list[str]

    def __len__(self) -> int:
        return len(self.words)

    @property
    def task(self) -> Task:
        """The task of all samples; in a step that mixes several, of the first."""
        return self.tasks[0]

    @property
    def prompts(self) -> list[str]:
        """What the policy is told, by each task's template."""
        return [
            task.prompt.render(words) for task, words in zip(self.tasks, self.words, strict=True)
        ]

    @property
    def questions(self) -> Questions:
        """What the judge is asked about these samples."""
        return build_questions(self.tasks, self.words)

    def paste(self, painted: Tensor) -> Tensor:
        """``painted`` (B, 3, H, W) inside the masks, the samples' own pixels outside.

        That is what an edit hands to its user. Judging it leaves the policy nothing to gain
        outside the mask, and no gradient comes from there.
        """
        return torch.where(self.masks.bool(), painted, self.images)

    def finish(self, painted: Tensor, *, detail: bool, pieces: bool) -> Tensor:
        """``paste`` what is brought in line with the surroundings, as an edit does.

        For measuring: the reward looks at what the policy painted, and no gradient goes this way.
        """
        pictures = zip(painted.cpu().numpy(), self._known, self._holes, strict=True)
        finished = np.stack(
            [finish(*picture, detail=detail, pieces=pieces).picture for picture in pictures]
        )
        return self.paste(torch.from_numpy(finished).to(painted))

    @cached_property
    def surroundings(self) -> Tensor:
        """The samples with their surroundings carried into the mask: (B, 3, H, W) in [0, 1].

        What an edit begins from, noised, if the policy has a strength for the task.
        """
        pictures = zip(self._known, self._holes, strict=True)
        filled = np.stack([fill_smoothly(*picture) for picture in pictures])
        return torch.from_numpy(filled).to(self.images)

    def select(self, places: range) -> Batch:
        """Some of the samples."""
        rows = slice(places.start, places.stop)
        return replace(
            self,
            tasks=self.tasks[rows],
            images=self.images[rows],
            masks=self.masks[rows],
            words=self.words[rows],
            keys=self.keys[rows],
            names=self.names[rows],
        )

    def to(self, device: torch.device | str) -> Batch:
        """The same samples on another device."""
        return replace(self, images=self.images.to(device), masks=self.masks.to(device))

    @property
    def _known(self) -> NDArray[np.float32]:
        return self.images.cpu().numpy()

    @property
    def _holes(self) -> NDArray[np.bool_]:
        return self.masks[:, 0].bool().cpu().numpy()


def make_batch(
    task: Task,
    samples: Sequence[Sample],
    device: torch.device | str,
    names: Sequence[str] | None = None,
) -> Batch:
    """Bring samples of ``task``, all of one size, to a device.

    Args:
        task: the task.
        samples: B of them.
        device: where they are computed with.
        names: of the samples, for messages; by default their places.
    """
    images = torch.from_numpy(np.stack([sample.image for sample in samples]))
    masks = torch.from_numpy(np.stack([sample.mask for sample in samples]))
    return Batch(
        [task] * len(samples),
        images.permute(0, 3, 1, 2).float().div(255).contiguous().to(device),
        masks[:, None].float().to(device),
        [sample.words for sample in samples],
        [sample.key for sample in samples],
        list(names or (f"sample {place}" for place in range(len(samples)))),
    )


def draw_batch(
    source: SampleSource, task: Task, places: range, size: int, device: torch.device | str
) -> Batch:
    """The samples at ``places`` of a task's stream, squares of ``size`` pixels."""
    names = [
        f"{source.row(task.name, place).image.name} (sample {place} of {task.name})"
        for place in places
    ]
    samples = source.batch(task.name, places.start, len(places), size)
    return make_batch(task, samples, device, names)


def join(batches: Sequence[Batch]) -> Batch:
    """All samples of several batches of one size, one batch after another."""
    return Batch(
        tasks=[task for batch in batches for task in batch.tasks],
        images=torch.cat([batch.images for batch in batches]),
        masks=torch.cat([batch.masks for batch in batches]),
        words=[words for batch in batches for words in batch.words],
        keys=[key for batch in batches for key in batch.keys],
        names=[name for batch in batches for name in batch.names],
    )

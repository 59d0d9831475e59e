"""The embedded held-out scenes of a task, and what a policy makes of them as an edit would."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from onefill.data.sample import make_sample
from onefill.policy.flux_fill import FluxFillPolicy
from onefill.policy.sampler import Sampling
from onefill.rl.batch import Batch, make_batch
from onefill.rl.randomness import Purpose
from onefill.rl.rollout import painted_from_seed
from onefill.tasks.registry import load_tasks
from onefill.tasks.types import Task

Pictures = NDArray[np.uint8]
"""Shape (N, H, W, 3), RGB."""

_BATCH = 25


@dataclass(frozen=True)
class HeldOut:
    """Scenes of one task.

    Attributes:
        task: the task.
        pictures: uint8 (N, H, W, 3), what a user would hand in.
        masks: bool (N, H, W), True where the model paints.
        truths: uint8 (N, H, W, 3), what a perfect result would show.
        rows: N rows of ``metadata.jsonl``.
    """

    task: Task
    pictures: Pictures
    masks: NDArray[np.bool_]
    truths: Pictures
    rows: list[dict[str, Any]]

    def __len__(self) -> int:
        return len(self.rows)

    def select(self, places: NDArray[np.int_] | slice) -> HeldOut:
        """Some of the scenes."""
        rows = [self.rows[place] for place in np.arange(len(self))[places]]
        return HeldOut(
            self.task, self.pictures[places], self.masks[places], self.truths[places], rows
        )

    @cached_property
    def batch(self) -> Batch:
        """The scenes as tensors on the CPU, with the words that a user would type."""
        scenes = zip(self.pictures, self.masks, self.rows, strict=True)
        samples = [make_sample(p, m, row.get("prompt"), self.task.name) for p, m, row in scenes]
        return make_batch(self.task, samples, "cpu", [row["image"] for row in self.rows])


def read_held_out(folder: Path, task: str) -> HeldOut:
    """The scenes of a task, in the order of their file.

    Where a scene has no mask (extend), the task draws the same one every time; where it has no
    ``truth`` (extend again), the picture is its own.
    """
    lines = (folder / "metadata.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if row["task"] == task]
    found = load_tasks().get(task)
    pictures = np.stack([_pixels(folder / row["image"]) for row in rows])
    truths = np.stack([_pixels(folder / row.get("truth", row["image"])) for row in rows])
    masks = [
        np.asarray(Image.open(folder / row["mask"]).convert("L")) > 127
        if "mask" in row
        else found.draw_mask(Image.fromarray(picture), np.random.default_rng(number))
        for number, (row, picture) in enumerate(zip(rows, pictures, strict=True))
    ]
    return HeldOut(found, pictures, np.stack(masks), truths, rows)


def _pixels(path: Path) -> NDArray[np.uint8]:
    return np.asarray(Image.open(path).convert("RGB"))


def as_tensor(pictures: Pictures) -> Tensor:
    """(N, H, W, 3) in 8 bits to (N, 3, H, W) in [0, 1]."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255


def paint(
    policy: FluxFillPolicy, scenes: HeldOut, seed: int, sampling: Sampling | None = None
) -> Pictures:
    """Paint every scene once, as ``onefill edit`` does: uint8 (N, H, W, 3).

    Args:
        policy: who paints.
        scenes: N of them.
        seed: of the noise; each scene has its own, whatever else is painted with it.
        sampling: what is to be other than in an edit of the task.

    Raises:
        BadInput: a prompt is longer than the policy reads.
    """
    return hand_out(policy, scenes, paint_whole(policy, scenes, seed, sampling))


def paint_whole(
    policy: FluxFillPolicy, scenes: HeldOut, seed: int, sampling: Sampling | None = None
) -> Tensor:
    """Whole pictures before an edit's finishing, (N, 3, H, W) in [0, 1] on the CPU; see ``paint``.

    Raises:
        BadInput: a prompt is longer than the policy reads.
    """
    sampler = (sampling or Sampling()).settle(policy, scenes.task.name)
    painted = []
    for first in range(0, len(scenes), _BATCH):
        places = range(first, min(first + _BATCH, len(scenes)))
        part = scenes.batch.select(places).to(policy.device)
        whole = painted_from_seed(policy, part, sampler, seed, Purpose.HELD_OUT_NOISE, places)
        painted.append(whole.cpu())
    return torch.cat(painted)


def hand_out(
    policy: FluxFillPolicy, scenes: HeldOut, painted: Tensor, *, pieces: bool = True
) -> Pictures:
    """What an edit hands out of ``paint_whole``: uint8 (N, H, W, 3).

    Colours are matched to the surroundings, detail is given and pieces are laid where the policy
    wants it for the task, and pixels outside the masks are the scenes' own.

    Args:
        policy: who painted.
        scenes: N of them.
        painted: from ``paint_whole``.
        pieces: False never lays any, so that what the policy painted can be seen.
    """
    wanted = Sampling().settle(policy, scenes.task.name)
    finished = scenes.batch.finish(painted, detail=wanted.detail, pieces=pieces and wanted.pieces)
    levels = (finished * 255 + 0.5).to(torch.uint8)
    return levels.permute(0, 2, 3, 1).numpy()

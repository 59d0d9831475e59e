"""A watch for reward hacking, by measures that are no judge.

A few held-out samples are painted in full, by the policy as it is and by the start model from the
same noise. A policy that learns to fool its judge does so with what the judge does not look at:
its reward rises while the seam round the mask gets worse, or what it does to the rest of the
picture, or while a pattern covers what it paints, or all detail goes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import mean
from typing import Any

import torch
from torch import Tensor

from onefill.data.source import SampleSource
from onefill.judge.model import Judge
from onefill.judge.verdict import both_orders, order_gaps, swap_symmetric
from onefill.policy.flux_fill import FluxFillPolicy
from onefill.policy.sampler import SettledSampling
from onefill.rl.batch import Batch, make_batch
from onefill.rl.config import MonitorConfig
from onefill.rl.processes import Processes
from onefill.rl.randomness import Purpose
from onefill.rl.reference import Reference
from onefill.rl.reward import look
from onefill.rl.rollout import painted_from_seed
from onefill.tasks.types import Task

_VISIBLE = 1 / 255
"""A measure must have grown by at least one grey level to raise an alarm."""


@dataclass(frozen=True)
class Figures:
    """Means over the samples of one task.

    Attributes:
        reward: probability that the judge prefers these images to the start model's of other
            noise, both orders asked, over all dimensions.
        order_gap: how far apart the two orders' probabilities are.
        seam: ``seam_error``.
        outside: ``outside_drift``.
        texture: ``texture``.
    """

    reward: float
    order_gap: float
    seam: float
    outside: float
    texture: float


def seam_error(images: Tensor, masks: Tensor) -> float:
    """Mean step between neighbouring pixels on either side of the mask's edge, in [0, 1].

    Args:
        images: (B, 3, H, W), with the samples' own pixels outside the mask.
        masks: (B, 1, H, W).
    """
    return _mean_step(images, masks, torch.ne)


def texture(images: Tensor, masks: Tensor) -> float:
    """Mean step between neighbouring pixels that both lie inside the mask, in [0, 1].

    Dots and stripes raise it, blur lowers it.

    Args:
        images: (B, 3, H, W).
        masks: (B, 1, H, W), 1 inside.
    """
    return _mean_step(images, masks, torch.mul)


def _mean_step(images: Tensor, masks: Tensor, counts: Callable[[Tensor, Tensor], Tensor]) -> float:
    """Of the pairs of neighbours that count, told by their values in the mask."""
    total, count = 0.0, 0
    for dim in (2, 3):
        length = images.shape[dim] - 1
        steps = images.diff(dim=dim).abs().mean(dim=1, keepdim=True)
        chosen = counts(masks.narrow(dim, 0, length), masks.narrow(dim, 1, length)).bool()
        total += steps[chosen].sum().item()
        count += int(chosen.sum())
    return total / max(1, count)


def outside_drift(pictures: Tensor, images: Tensor, masks: Tensor) -> float:
    """Mean change of the pixels that were not to be painted, in [0, 1].

    Args:
        pictures: (B, 3, H, W) as painted, before the samples' own pixels are put back.
        images: the samples, likewise.
        masks: (B, 1, H, W).
    """
    outside = (masks == 0).expand_as(images)
    return (pictures - images).abs()[outside].sum().item() / max(1, int(outside.sum()))


@dataclass(frozen=True)
class _Scenes:
    batch: Batch
    reference: Tensor
    start: Figures


class Monitor:
    """Measures the policy, and tells what looks like hacking.

    Args:
        policy: the model, whatever weights it has at the moment.
        start: the start model's weights.
        judge: who rewards.
        source: held-out samples.
        tasks: which tasks are watched.
        samplers: how images of each task are denoised.
        config: how many samples, and what raises an alarm.
        lam: the bound on the reward.
        seed: of the noise.
        processes: who shares the tasks.
    """

    def __init__(
        self,
        policy: FluxFillPolicy,
        start: Reference,
        judge: Judge,
        source: SampleSource,
        tasks: Mapping[str, Task],
        *,
        samplers: Mapping[str, SettledSampling],
        config: MonitorConfig,
        lam: float,
        seed: int,
        processes: Processes,
    ) -> None:
        self._policy = policy
        self._start = start
        self._judge = judge
        self._source = source
        self._tasks = tasks
        self._samplers = samplers
        self._config = config
        self._lam = lam
        self._seed = seed
        self._processes = processes
        self._scenes: dict[str, _Scenes] = {}

    def measure(self) -> tuple[dict[str, Any], list[str]]:
        """The figures of each task now and of the start model, for JSON; and what is alarming."""

        def look(name: str) -> tuple[Figures, Figures]:
            scenes = self._scenes_of(name)
            now = self._figures(scenes.batch, scenes.reference, self._paint(scenes.batch))
            return now, scenes.start

        tasks = list(self._tasks)
        found = dict(zip(tasks, self._processes.spread(tasks, look), strict=True))
        figures = {
            name: {"now": asdict(now), "start": asdict(start)}
            for name, (now, start) in found.items()
        }
        return figures, self._worse(found)

    def saturation(self, rows: Sequence[Mapping[str, Any]]) -> list[str]:
        """What is alarming about the steps logged last.

        Args:
            rows: lines of kind ``step``, oldest first.
        """
        recent = rows[-self._config.every :]
        shares = [
            share
            for row in recent
            for of_task in row["saturated"].values()
            for share in of_task.values()
        ]
        if len(recent) < self._config.every or not shares:
            return []
        share = sum(shares) / len(shares)
        if share < self._config.saturated:
            return []
        return [
            f"{share:.0%} of the last answers are beyond lam {self._lam:g}: there is little left "
            "to learn; raise lam, take --reference dynamic, or stop here"
        ]

    def _worse(self, found: Mapping[str, tuple[Figures, Figures]]) -> list[str]:
        """What is alarming about the figures of each task, now and of the start model."""
        # Of all tasks together: what fools the judge on one is painted on the others as well, and
        # there it may cost reward.
        now, start = (mean(pair[which].reward for pair in found.values()) for which in (0, 1))
        if now <= start:
            return []
        return [
            f"{name}: {what}, while the reward rose from {start:.2f} to {now:.2f}: the policy may "
            "be fooling its judge; look at samples/"
            for name, pair in found.items()
            for what in self._far(*pair)
        ]

    def _far(self, now: Figures, start: Figures) -> Iterator[str]:
        for what, value, before, both_ways in (
            ("the step across the mask's edge", now.seam, start.seam, False),
            ("the change outside the mask", now.outside, start.outside, False),
            ("the texture inside the mask", now.texture, start.texture, True),
        ):
            times = value / max(before, _VISIBLE)
            far = times > self._config.worse or (both_ways and times < 1 / self._config.worse)
            if far and abs(value - before) > _VISIBLE:
                yield f"{what} is {value:.3f}, {times:.1f} times the start model's"

    def _scenes_of(self, name: str) -> _Scenes:
        if name not in self._scenes:
            count = min(self._config.scenes, self._source.count(name))
            samples = self._source.batch(name, 0, count, self._policy.settings.size)
            batch = make_batch(self._tasks[name], samples, self._policy.device)
            with self._start.active():
                reference = self._paint(batch, Purpose.HELD_OUT_REFERENCE_NOISE)
                start = self._paint(batch)
            reference = batch.paste(reference)
            self._scenes[name] = _Scenes(batch, reference, self._figures(batch, reference, start))
        return self._scenes[name]

    def _paint(self, batch: Batch, purpose: Purpose = Purpose.HELD_OUT_NOISE) -> Tensor:
        # As an edit paints, and before it matches colours: that would hide a seam that grows.
        sampler = self._samplers[batch.task.name]
        return painted_from_seed(
            self._policy, batch, sampler, self._seed, purpose, range(len(batch))
        )

    @torch.no_grad()
    def _figures(self, batch: Batch, reference: Tensor, pictures: Tensor) -> Figures:
        images, questions = batch.paste(pictures), batch.questions
        first, second = (look(self._judge, seen, questions) for seen in (images, reference))
        forward, backward = both_orders(self._judge, first, second, questions.queries)
        return Figures(
            reward=torch.sigmoid(swap_symmetric(forward, backward)).mean().item(),
            order_gap=order_gaps(forward, backward).mean().item(),
            seam=seam_error(images, batch.masks),
            outside=outside_drift(pictures, batch.images, batch.masks),
            texture=texture(images, batch.masks),
        )

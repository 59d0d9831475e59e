"""How often the judge prefers the policy to the start model, on samples it never trained on.

For every held-out sample the start model paints a reference from one noise, and whoever is
measured paints from another; the judge is asked in both orders. Measured so, the start model
against itself gives the line that no training has to beat: about one half, with the noise of
so many samples.

All paint as an edit does, its matching of colours included, and by an edit's number of steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from onefill.data.source import SampleSource
from onefill.judge.accuracy import wilson
from onefill.judge.model import Judge
from onefill.judge.verdict import TIE_BAND
from onefill.policy.flux_fill import FluxFillPolicy
from onefill.policy.sampler import SettledSampling
from onefill.rl.batch import Batch, make_batch
from onefill.rl.processes import Processes
from onefill.rl.randomness import Purpose
from onefill.rl.reference import Reference
from onefill.rl.reward import preferences
from onefill.rl.rollout import painted_from_seed
from onefill.tasks.types import Task


@dataclass(frozen=True)
class WinRate:
    """Wins and half the ties over all comparisons, with the 95 % interval of Wilson (1927)."""

    rate: float
    low: float
    high: float
    count: int


_Result = TypeVar("_Result")

WinRates = dict[str, dict[str, WinRate]]
"""By task, then dimension."""


def win_rate(p_better: list[float]) -> WinRate:
    """The win rate of comparisons; a probability within ``TIE_BAND`` of one half is a tie."""
    count = len(p_better)
    points = sum(0.5 if abs(p - 0.5) < TIE_BAND else float(p > 0.5) for p in p_better)
    return WinRate(points / count, *wilson(points, count), count)


@dataclass(frozen=True)
class Scenes:
    """Held-out samples of one task with what the start model made of them, on the CPU."""

    batch: Batch
    reference: Tensor
    start: Tensor


class HeldOut:
    """The held-out samples of each task, and the start model's images of them.

    Args:
        policy: the model, whatever weights it has at the moment.
        start: the start model's weights.
        judge: who compares.
        source: held-out samples.
        tasks: which tasks are measured.
        scenes: samples per task; fewer where there are not so many.
        batch_size: samples denoised together.
        seed: of the noise.
        samplers: how images of each task are denoised.
        processes: who shares the batches.

    Attributes:
        tick: told before each batch (or one for each process) which task it is and how many of
            how many images are done; it may raise to break off.
    """

    def __init__(
        self,
        policy: FluxFillPolicy,
        start: Reference,
        judge: Judge,
        source: SampleSource,
        tasks: dict[str, Task],
        *,
        scenes: int,
        batch_size: int,
        seed: int,
        samplers: Mapping[str, SettledSampling],
        processes: Processes,
    ) -> None:
        self._policy = policy
        self._start = start
        self._judge = judge
        self._source = source
        self._tasks = tasks
        self._count = scenes
        self._batch_size = batch_size
        self._seed = seed
        self._samplers = samplers
        self._processes = processes
        self.tick: Callable[[str, int, int], None] = lambda task, done, of: None
        self._scenes: dict[str, Scenes] = {}

    def measure_start(self) -> WinRates:
        """The start model against itself under other noise."""
        return {name: self._compare(name, self.scenes(name).start) for name in self._tasks}

    def measure(self) -> WinRates:
        """The policy as it is now against the start model, under the noise of ``measure_start``."""
        return {name: self._compare(name, self.paint(name)) for name in self._tasks}

    def scenes(self, name: str) -> Scenes:
        """The samples of a task; the start model paints them when first asked for."""
        if name not in self._scenes:
            count = min(self._count, self._source.count(name))
            batch = make_batch(
                self._tasks[name],
                self._source.batch(name, 0, count, self._policy.settings.size),
                "cpu",
            )
            with self._start.active():
                reference = self._denoise(name, batch, Purpose.HELD_OUT_REFERENCE_NOISE, count)
                start = self._denoise(name, batch, Purpose.HELD_OUT_NOISE, count)
            self._scenes[name] = Scenes(batch, reference, start)
        return self._scenes[name]

    def paint(self, name: str, count: int | None = None) -> Tensor:
        """What the policy as it is now makes of the first ``count`` samples of a task."""
        batch = self.scenes(name).batch
        count = len(batch) if count is None else min(count, len(batch))
        return self._denoise(name, batch, Purpose.HELD_OUT_NOISE, count)

    def _denoise(self, name: str, batch: Batch, purpose: Purpose, count: int) -> Tensor:
        def denoise(places: range) -> Tensor:
            part = batch.select(places).to(self._policy.device)
            sampler = self._samplers[name]
            pictures = painted_from_seed(self._policy, part, sampler, self._seed, purpose, places)
            # Pieces of the surroundings would hide what the policy has learned to paint.
            return part.finish(pictures, detail=sampler.detail, pieces=False).cpu()

        return torch.cat(self._by_batch(name, count, denoise))

    def _compare(self, name: str, images: Tensor) -> dict[str, WinRate]:
        scenes = self.scenes(name)

        def ask(places: range) -> dict[str, list[float]]:
            part = scenes.batch.select(places)
            rows = slice(places.start, places.stop)
            seen = images[rows], scenes.reference[rows]
            return preferences(self._judge, *seen, part.questions)[name]

        found: dict[str, list[float]] = {}
        for asked in self._by_batch(name, len(images), ask):
            for dimension, p_better in asked.items():
                found.setdefault(dimension, []).extend(p_better)
        return {dimension: win_rate(p_better) for dimension, p_better in found.items()}

    def _by_batch(self, name: str, count: int, do: Callable[[range], _Result]) -> list[_Result]:
        edges = range(0, count, self._batch_size)
        places = [range(begin, min(begin + self._batch_size, count)) for begin in edges]
        return self._processes.spread(places, do, lambda part: self.tick(name, part.start, count))

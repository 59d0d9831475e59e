"""Everything a run holds in memory, put together from its configuration, saved and restored."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from onefill.checkpoint import (
    Checkpoint,
    Retention,
    read_last_checkpoint,
    write_checkpoint,
)
from onefill.data.source import SampleSource
from onefill.errors import BadInput, OnefillError
from onefill.judge.loading import pick_device
from onefill.judge.model import Judge
from onefill.policy.conditions import Conditions
from onefill.policy.flux_fill import FluxFillPolicy
from onefill.policy.loading import load_policy
from onefill.policy.sampler import SettledSampling
from onefill.rl.batch import Batch, draw_batch, join
from onefill.rl.cache import DiskCache, Recall
from onefill.rl.config import CacheConfig, RunConfig
from onefill.rl.dimensions import dimension_weights, trained_tasks
from onefill.rl.evaluate import HeldOut
from onefill.rl.guards import check_weights
from onefill.rl.ingredients import Ingredients
from onefill.rl.metrics import MetricsLog, best_step
from onefill.rl.mixer import TaskMixer
from onefill.rl.models import judge_fingerprints, load_judges, make_trainable
from onefill.rl.monitor import Monitor
from onefill.rl.optimizer import Optimizer
from onefill.rl.penalty import reference_latents
from onefill.rl.processes import Processes
from onefill.rl.recompute import recompute_activations
from onefill.rl.reference import MovingAverage, Reference, StartWeights
from onefill.rl.resume import current_versions, refuse_changes
from onefill.rl.reward import Reward
from onefill.rl.rollout import Partial, reference_images
from onefill.rl.run_folder import RunFolder
from onefill.rl.samplers import (
    edit_sampler,
    gradient_steps,
    noise_level,
    rollout_sampler,
    split_by_sampler,
)
from onefill.rl.sharding import check_sharding, shard
from onefill.tasks.types import Task

_ALONE = Processes()

_PROTOCOL_SEED = 0
"""Of the held-out noise: the same for every run, so that runs can be compared."""


@dataclass
class Training:
    """A run in memory.

    Attributes:
        tasks: what is drawn, measured on all its dimensions.
        trained: the same with those dimensions alone that count in the loss.
        weights: of the dimensions of each task.
        reward: what the policy is trained to raise.
        recall: gives conditions and the images of a fixed reference, from a cache if there is one.
        samplers: how both images of a task are denoised.
        processes: who shares the work, this process among them.
        parts: places of the batch that this process computes together.
        gradient_steps: the steps of each task's sampler that the gradient may be taken at.
        average: pi_ref of Algorithm 2 or pi_ema of Algorithm 1; None without either.
        reference: whom the policy is compared with.
        step: updates done.
        cursor: samples drawn of each task.
        seconds: spent before this process; the rest is counted from ``begin``.
        fingerprints: hashes of models and data, and the versions it computes by, which a
            resumed run must find again.
    """

    config: RunConfig
    folder: RunFolder
    tasks: dict[str, Task]
    trained: dict[str, Task]
    weights: dict[str, dict[str, float]]
    policy: FluxFillPolicy
    judge: Judge
    reward: Reward
    recall: Recall
    monitor: Monitor
    samples: SampleSource
    held_out: HeldOut
    samplers: dict[str, SettledSampling]
    processes: Processes
    parts: list[range]
    gradient_steps: dict[str, range]
    mixer: TaskMixer
    optimizer: Optimizer
    average: MovingAverage | None
    reference: Reference
    metrics: MetricsLog
    fingerprints: dict[str, str]
    cursor: dict[str, int]
    begin: float
    step: int = 0
    seconds: float = field(default=0.0)

    def next_batch(self, counts: Mapping[str, int]) -> Batch:
        """The next samples of each task, so many of each, on the policy's device."""
        size, device = self.policy.settings.size, self.policy.device
        batches = []
        for task, count in counts.items():
            places = range(self.cursor[task], self.cursor[task] + count)
            batches.append(draw_batch(self.samples, self.trained[task], places, size, device))
            self.cursor[task] += count
        return join(batches)

    def parts_of(self, batch: Batch) -> list[range]:
        """``parts`` of a batch; where its tasks are denoised otherwise, one for each way."""
        tasks = [task.name for task in batch.tasks]
        split = (split_by_sampler(places, tasks, self.samplers) for places in self.parts)
        return [places for parts in split for places in parts]

    def noise_levels(self, steps: Mapping[str, int]) -> dict[str, float]:
        """The share of noise at a step of each task's rollouts."""
        return {task: noise_level(self.policy, self.samplers[task], t) for task, t in steps.items()}

    def reference_images(self, batch: Batch, conditions: Conditions, noise: Tensor) -> Tensor:
        """x_ref: full denoising by pi_ref, no gradient; (B, 3, H, W) in [0, 1]."""
        sampler = self.samplers[batch.task.name]

        def paint() -> Tensor:
            return reference_images(self.policy, self.reference, batch, conditions, noise, sampler)

        if self.config.reference == "fixed":
            return self.recall.images(batch, noise, sampler, paint)
        return paint()

    def reference_latents(
        self, conditions: Conditions, partial: Partial, sampler: SettledSampling
    ) -> Tensor | None:
        """pi_ref's x0' where the policy's is predicted from, if that is penalised or logged now."""
        every = self.config.monitor.every
        is_logged = every > 0 and (self.step + 1) % every == 0
        if self.config.penalty.weight == 0 and not is_logged:
            return None
        return reference_latents(self.policy, self.reference, conditions, partial, sampler)

    def elapsed(self) -> float:
        """Seconds spent on this run by every process so far."""
        return self.seconds + time.monotonic() - self.begin

    def save(self) -> None:
        """Write a checkpoint of now, from which a run goes on bit for bit; the first process does.

        Raises:
            OnefillError: a weight is no number, or the checkpoint cannot be written.
        """
        if self.processes.is_first:
            self._write_checkpoint()

    def _write_checkpoint(self) -> None:
        check_weights(self.step, self.policy.trainable_parameters())
        tensors = {
            "weights": {
                name: parameter.detach()
                for name, parameter in self.policy.trainable_parameters().items()
            },
            "optimizer": self.optimizer.tensors(),
        }
        if self.average is not None:
            tensors["average"] = self.average.tensors()
        state = {
            "step": self.step,
            "seconds": self.elapsed(),
            "cursor": self.cursor,
            "mixer": self.mixer.state(),
            "fingerprints": self.fingerprints,
        }
        kept = self.config.checkpoints
        best = best_step(self.metrics) if kept.keep_best else None
        write_checkpoint(
            self.folder.checkpoints,
            self.step,
            Checkpoint(tensors, state),
            Retention(kept.keep, kept.keep_every, best),
        )

    @torch.no_grad()
    def restore(self, checkpoint: Checkpoint, forced: Collection[str] = ()) -> None:
        """Go on from a checkpoint.

        Raises:
            BadInput: the checkpoint was made with another model, judge, data or version that is
                not in ``forced``, or its weights do not fit.
        """
        refuse_changes(
            self.folder.path, checkpoint.state["fingerprints"], self.fingerprints, forced
        )
        saved = checkpoint.tensors["weights"]
        trained = self.policy.trainable_parameters()
        if {n: w.shape for n, w in saved.items()} != {n: w.shape for n, w in trained.items()}:
            raise BadInput(
                f"--resume {self.folder.path}: the saved weights do not fit what is trained now; "
                "leave model, train and lora as they were, or start a new run"
            )
        for name, parameter in trained.items():
            parameter.copy_(saved[name])
        self.optimizer.restore(checkpoint.tensors["optimizer"])
        if self.average is not None:
            self.average.restore(checkpoint.tensors["average"])
        self.mixer.restore(checkpoint.state["mixer"])
        self.cursor = dict(checkpoint.state["cursor"])
        self.step = checkpoint.state["step"]
        self.seconds = checkpoint.state["seconds"]

    @contextmanager
    def settled(self) -> Iterator[None]:
        """While this lasts the policy has the weights that are measured and handed out.

        Those are pi_ema where it is kept for that: the noise of single updates is gone from it.
        """
        average = self.average if self.config.hands_out_average else None
        with self.optimizer.settled() if average is None else average.active():
            yield

    def write_results(self) -> None:
        """Write what was trained for others to use; pi_theta beside pi_ema if that is it."""
        if not self.processes.is_first:
            return
        with self.settled():
            self._write_weights("")
        if self.config.hands_out_average:
            self._write_weights("-last")

    def _write_weights(self, ending: str) -> None:
        path = self.folder.path
        if self.config.train == "lora":
            self.policy.save_adapter(path / f"adapter{ending}")
        else:
            self.policy.save_pipeline(path / f"pipeline{ending}")


def open_training(
    config: RunConfig,
    ingredients: Ingredients,
    folder: RunFolder,
    *,
    resume: bool,
    forced: Collection[str] = (),
    warn: Callable[[str], None] | None = None,
    processes: Processes = _ALONE,
) -> Training:
    """Load the models and put a run together; a new run's folder is made last.

    Args:
        config: every choice.
        ingredients: what the run is made of.
        folder: of the run.
        resume: go on from the last checkpoint in ``folder``.
        forced: what may differ from what a resumed run began with; see ``refuse_changes``.
        warn: told about each damaged checkpoint that is passed over; without it one is an error.
        processes: who shares the work; the first alone writes in ``folder``.

    Raises:
        BadInput: a model cannot be loaded, the configuration does not fit it, or there is
            nothing to resume from.
        OnefillError: the folder cannot be written.
    """
    begin = time.monotonic()
    checkpoint = read_last_checkpoint(folder.checkpoints, warn) if resume else None
    check_sharding(config, processes)
    place = processes.own_device(pick_device(config.device))
    device = str(place)
    # What is to be cut may not fit there whole.
    first = "cpu" if processes.sharding else device
    policy = load_policy(
        ingredients.model, device=first, dtype=config.dtype, offline=ingredients.offline
    )
    measuring = {name: edit_sampler(policy, name, config) for name in ingredients.tasks}
    samplers = {name: rollout_sampler(policy, name, config) for name in ingredients.tasks}
    choices = {name: gradient_steps(policy, name, s, config) for name, s in samplers.items()}
    parts = processes.share(config.parts(processes.count))
    trained = trained_tasks(ingredients.tasks, config.dimensions)
    judges = load_judges(config, ingredients, device)
    recompute_activations(policy, judges, config.recompute)
    fingerprints = {
        "policy": policy.fingerprint(),
        **judge_fingerprints(judges),
        "training-data": ingredients.samples.fingerprint(),
        "held-out-data": ingredients.held_out.fingerprint(),
        **current_versions(device),
    }
    recall = Recall(_open_cache(config.cache), policy)
    make_trainable(policy, config)
    shard(policy, judges, processes, place)
    start = StartWeights(policy, config.train)
    is_dynamic = config.reference == "dynamic"
    is_averaged = is_dynamic or config.hands_out_average
    average = MovingAverage(policy, config.tau) if is_averaged else None
    training = Training(
        config=config,
        folder=folder,
        tasks=ingredients.tasks,
        trained=trained,
        weights={
            name: dimension_weights(task, config.dimensions) for name, task in trained.items()
        },
        policy=policy,
        judge=judges[0],
        reward=Reward(judges, config.reward, config.seed),
        recall=recall,
        monitor=Monitor(
            policy,
            start,
            judges[0],
            ingredients.held_out,
            trained,
            samplers=measuring,
            config=config.monitor,
            lam=config.lam,
            seed=_PROTOCOL_SEED,
            processes=processes,
        ),
        samples=ingredients.samples,
        held_out=HeldOut(
            policy,
            start,
            judges[0],
            ingredients.held_out,
            ingredients.tasks,
            scenes=config.evaluation.scenes,
            batch_size=config.batch_size,
            seed=_PROTOCOL_SEED,
            samplers=measuring,
            processes=processes,
        ),
        samplers=samplers,
        processes=processes,
        parts=parts,
        gradient_steps=choices,
        mixer=TaskMixer(config.tasks, config.seed),
        optimizer=Optimizer(policy.trainable_parameters(), config.optimizer),
        average=average,
        reference=average if is_dynamic and average is not None else start,
        metrics=MetricsLog(folder.metrics, writes=processes.is_first),
        fingerprints=fingerprints,
        cursor=dict.fromkeys(config.tasks, 0),
        begin=begin,
    )
    if checkpoint is not None:
        training.restore(checkpoint, forced)
    if not processes.is_first:
        return training
    try:
        if checkpoint is None:
            folder.create(config)
        else:
            folder.write_config(config)
            training.metrics.drop_after(training.step)
    except OSError as error:
        raise OnefillError(
            f"{folder.path}: cannot be written ({error}); its checkpoints are as they were: set "
            "that right, then begin again"
        ) from error
    return training


def _open_cache(config: CacheConfig) -> DiskCache | None:
    if config.folder is None:
        return None
    return DiskCache(Path(config.folder).expanduser(), int(config.gigabytes * 1e9))

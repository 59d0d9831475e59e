"""Everything a run holds in memory, put together from its configuration, saved and restored."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path

import torch

from onefill.checkpoint import (
    Checkpoint,
    Retention,
    read_last_checkpoint,
    write_checkpoint,
)
from onefill.data.source import SampleSource
from onefill.errors import BadInput
from onefill.judge.loading import load_judge, pick_device
from onefill.judge.model import Judge
from onefill.policy.fingerprint import hash_weights
from onefill.policy.flux_fill import FluxFillPolicy
from onefill.policy.loading import load_policy
from onefill.rl.batch import Batch, make_batch
from onefill.rl.config import RunConfig
from onefill.rl.evaluate import HeldOut
from onefill.rl.metrics import MetricsLog, best_step
from onefill.rl.mixer import TaskMixer
from onefill.rl.optimizer import Optimizer
from onefill.rl.randomness import Purpose, draw_seed
from onefill.rl.reference import MovingAverage, Reference, StartWeights
from onefill.rl.resume import current_versions, refuse_changes
from onefill.rl.rollout import Sampler
from onefill.rl.run_folder import RunFolder
from onefill.tasks.types import Task

_PROTOCOL_SEED = 0
"""Of the held-out noise: the same for every run, so that runs can be compared."""


@dataclass(frozen=True)
class Ingredients:
    """What a run is made of, found by the caller.

    Attributes:
        model: folder or hub id of the policy.
        judge: folder or hub id of the judge.
        tasks: the tasks that are drawn, by name.
        samples: to train on.
        held_out: to be measured on; no picture of it is in ``samples``.
        offline: never ask a model hub.
    """

    model: str
    judge: str
    tasks: dict[str, Task]
    samples: SampleSource
    held_out: SampleSource
    offline: bool = False


@dataclass
class Training:
    """A run in memory.

    Attributes:
        sampler: how both images are denoised.
        gradient_steps: the sampler's steps that the gradient may be taken at.
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
    policy: FluxFillPolicy
    judge: Judge
    samples: SampleSource
    held_out: HeldOut
    sampler: Sampler
    gradient_steps: range
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

    def next_batch(self, task: str) -> Batch:
        """The next samples of a task, on the policy's device."""
        count = self.config.batch_size
        samples = self.samples.batch(task, self.cursor[task], count, self.policy.settings.size)
        self.cursor[task] += count
        return make_batch(self.tasks[task], samples, self.policy.device)

    def elapsed(self) -> float:
        """Seconds spent on this run by every process so far."""
        return self.seconds + time.monotonic() - self.begin

    def save(self) -> Path:
        """Write a checkpoint of now, from which a run goes on bit for bit."""
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
        return write_checkpoint(
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

    def write_results(self) -> None:
        """Write what was trained for others to use: pi_theta, and pi_ema where there is one."""
        self._write_weights("")
        if self.average is not None:
            with self.average.active():
                self._write_weights("-average")

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
) -> Training:
    """Load the models and put a run together; a new run's folder is made last.

    Args:
        config: every choice.
        ingredients: what the run is made of.
        folder: of the run.
        resume: go on from the last checkpoint in ``folder``.
        forced: what may differ from what a resumed run began with; see ``refuse_changes``.
        warn: told about each damaged checkpoint that is passed over; without it one is an error.

    Raises:
        BadInput: a model cannot be loaded, the configuration does not fit it, or there is
            nothing to resume from.
    """
    begin = time.monotonic()
    checkpoint = read_last_checkpoint(folder.checkpoints, warn) if resume else None
    device = str(pick_device(config.device))
    policy = load_policy(
        ingredients.model, device=device, dtype=config.dtype, offline=ingredients.offline
    )
    sampler = Sampler(
        config.sampler_steps or max(1, policy.settings.steps // 2),
        config.guidance or policy.settings.guidance,
    )
    gradient_steps = config.gradient_steps(sampler.steps)
    judge = load_judge(
        ingredients.judge, device=device, dtype=config.dtype, offline=ingredients.offline
    )
    if judge.sees:
        # The loop shows it the two results only, which is not what it learned from.
        raise BadInput(
            f"--judge {config.judge}: it was trained to see the {' and the '.join(judge.sees)} of "
            "an edit too, which training does not show; train one without --show"
        )
    fingerprints = {
        "policy": policy.fingerprint(),
        "judge": hash_weights(sorted(judge.model.state_dict().items())),
        "training-data": ingredients.samples.fingerprint(),
        "held-out-data": ingredients.held_out.fingerprint(),
        **current_versions(device),
    }
    if config.train == "lora":
        seed = draw_seed(config.seed, Purpose.ADAPTER)
        policy.add_lora(config.lora.rank, config.lora.alpha, seed)
    else:
        policy.train_full()
    start = StartWeights(policy, config.train)
    is_dynamic = config.reference == "dynamic"
    average = MovingAverage(policy, config.tau) if is_dynamic or config.ema else None
    training = Training(
        config=config,
        folder=folder,
        tasks=ingredients.tasks,
        policy=policy,
        judge=judge,
        samples=ingredients.samples,
        held_out=HeldOut(
            policy,
            start,
            judge,
            ingredients.held_out,
            ingredients.tasks,
            scenes=config.evaluation.scenes,
            batch_size=config.batch_size,
            seed=_PROTOCOL_SEED,
            sampler=sampler,
        ),
        sampler=sampler,
        gradient_steps=gradient_steps,
        mixer=TaskMixer(config.tasks, config.seed),
        optimizer=Optimizer(policy.trainable_parameters(), config.optimizer),
        average=average,
        reference=average if is_dynamic and average is not None else start,
        metrics=MetricsLog(folder.metrics),
        fingerprints=fingerprints,
        cursor=dict.fromkeys(config.tasks, 0),
        begin=begin,
    )
    if checkpoint is None:
        folder.create(config)
    else:
        training.restore(checkpoint, forced)
        folder.write_config(config)
        training.metrics.drop_after(training.step)
    return training

"""Every choice of a training run, in one typed model.

``config.yaml`` in a run folder is this model written out; reading it back gives the same run.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from onefill.errors import BadInput
from onefill.rl import defaults

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Least0 = Annotated[float, Field(ge=0)]

_RANGE_LENGTH = 2


class _Section(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class LoraConfig(_Section):
    """The low-rank adapter that is trained; the update is ``alpha / rank * B @ A``.

    ``targets`` are endings of layer names, as ``[to_q, to_k, to_v, to_out.0]``; None for every
    attention and feed-forward layer. Its weights are float32 whatever ``dtype`` is.
    """

    rank: Count = defaults.LORA_RANK
    alpha: Positive = defaults.LORA_ALPHA
    targets: list[str] | None = None


class OptimizerConfig(_Section):
    """One update. The learning rate rises linearly over ``warmup`` steps and then stays.

    ``schedule-free`` (Defazio et al. 2024) and ``adamw-8bit`` need ``onefill[optimizers]``. The
    gradient is clipped to the norm ``clip_norm``. ``accumulation`` computes a step's batch in so
    many parts, one after the other, which saves memory and changes nothing else; several processes
    compute their shares so.
    """

    kind: Literal["adamw", "schedule-free", "adamw-8bit"] = "adamw"
    learning_rate: Positive = defaults.LEARNING_RATE
    betas: list[Share] = Field(default=[0.9, 0.99], min_length=2, max_length=2)
    weight_decay: Least0 = 0.0
    clip_norm: Positive = 1.0
    warmup: Annotated[int, Field(ge=0)] = defaults.WARMUP
    accumulation: Count = 1


class PenaltyConfig(_Section):
    """What is added to the loss for leaving the reference at the gradient step; 0 for nothing.

    ``drift`` is the mean squared difference of the two velocities, ``kl`` the divergence of the
    two Gaussians that a stochastic sampler would draw the next latents from.
    """

    kind: Literal["drift", "kl"] = "drift"
    weight: Least0 = 0.0


class RewardConfig(_Section):
    """How the judge is asked, so that it is harder to fool; the paper's way has 0 everywhere.

    Before a judge looks, both images get Gaussian noise of standard deviation ``noise`` (of
    1 from black to white), are moved by up to ``shift`` pixels and enlarged or shrunk by up to the
    share ``resize``. ``symmetric`` asks in both orders. The answers of the further ``judges`` count
    as much as that of ``judge``; the mean is taken of logits.

    ``centred`` takes from the gradient what it asks of every painted token alike, of the pictures
    that are computed together: with ``accumulation`` or several processes, of each part apart.
    """

    noise: Least0 = 0.0
    shift: Annotated[int, Field(ge=0)] = 3
    resize: Annotated[float, Field(ge=0, lt=1)] = 0.1
    symmetric: bool = False
    judges: list[str] = []
    centred: bool = False


class RecomputeConfig(_Section):
    """Gradient checkpointing: activations are computed again going back instead of kept.

    Saves memory for about a third more time in the part named; rollouts are not touched.
    """

    transformer: bool = False
    judge: bool = False
    vae: bool = False


class MonitorConfig(_Section):
    """A watch for a policy that fools its judge, every N steps; 0 for none.

    On ``scenes`` held-out samples per task, with measures that are no judge: the step in
    brightness across the edge of the mask, what is changed outside the mask, and the step between
    pixels inside it. While the mean reward rises, ``worse`` times what the start model does raises
    an alarm, inside the mask a ``worse``-th of it as well; so does a share ``saturated`` of answers
    beyond lambda over N steps. ``stop`` ends the run then.
    """

    every: Annotated[int, Field(ge=0)] = defaults.MONITOR_EVERY
    scenes: Count = defaults.MONITOR_SCENES
    worse: Annotated[float, Field(gt=1)] = 1.5
    saturated: Annotated[float, Field(gt=0, le=1)] = 0.95
    stop: bool = False


class CacheConfig(_Section):
    """Conditions, and images of a fixed reference, kept on the disk for runs of the same seed.

    They are used again by a run that draws the same samples and noises: another lambda, loss or
    learning rate, say. None for no cache; the oldest files make room beyond ``gigabytes``.
    """

    folder: str | None = None
    gigabytes: Positive = 4.0


class EvaluationConfig(_Section):
    """Held-out win rate: on ``scenes`` samples per task, at start and end and every N steps."""

    every: Annotated[int, Field(ge=0)] = defaults.EVALUATION_EVERY
    scenes: Count = defaults.EVALUATION_SCENES


class SheetConfig(_Section):
    """Sample sheets of ``rows`` held-out samples per task, every N steps; 0 for none."""

    every: Annotated[int, Field(ge=0)] = defaults.SHEET_EVERY
    rows: Count = defaults.SHEET_ROWS


class CheckpointConfig(_Section):
    """A checkpoint every N steps, at the end and with each win rate.

    The last ``keep`` stay; so do those whose step divides by ``keep_every`` (0 for none) and, with
    ``keep_best``, that of the best mean win rate so far.
    """

    every: Count = defaults.CHECKPOINT_EVERY
    keep: Count = defaults.CHECKPOINT_KEEP
    keep_every: Annotated[int, Field(ge=0)] = 0
    keep_best: bool = True


class TrackerConfig(_Section):
    """Where figures and sample sheets go besides the run folder, filed under ``project``.

    Any of ``tensorboard`` (files in the run folder), ``wandb`` and ``trackio`` (to be installed).
    """

    use: list[Literal["tensorboard", "wandb", "trackio"]] = ["tensorboard"]
    project: str = "onefill"


class RunConfig(_Section):
    """A training run. Names in parentheses are the paper's.

    The defaults suit the embedded models. The paper's own settings are batch 8, learning rate
    1e-5 and tasks fill 2, extend 1, removal 1; what it does not publish is ours to choose:
    lambda, tau, the range of the gradient step, the sampler.

    Attributes:
        tasks: weight of each task (p_k); they need not sum to one.
        steps: number of updates.
        seed: of everything drawn; the same seed gives the same run on the same machine.
        reference: ``fixed`` is Algorithm 1, ``dynamic`` Algorithm 2.
        lam: bound on P(yes) above which a result earns nothing more (lambda, Eq. 5).
        loss: ``hinge`` is Eq. 5, max(0, lam - P(yes)); ``logistic`` takes -log P(yes) and ``relu``
            the negative logit in place of -P(yes), with the same bound.
        dimensions: weight of a dimension in the loss, by name or as ``task/name``; 1 for those
            not named, and 0 leaves it out.
        tau: share of itself that a moving average keeps at each step (tau).
        step_range: first and last sampler step that the gradient is taken at ([t1, t2]). Whole
            numbers count steps from 0; fractions in [0, 1] are of the number of steps.
        image: what the judge sees of the policy: ``sampled`` is where denoising ends that goes on
            from the one prediction; ``predicted`` is x0' of that prediction, as in the paper, which
            is softer than what it stands beside. The gradient is that of x0' either way.
        sampler_steps: steps of a full denoising, of every task; None for what an edit of the task
            takes where results are measured, and for at most half of the policy's steps in
            rollouts.
        guidance: true classifier-free guidance, 1 is off; None for what the folder says.
        batch_size: samples of a step.
        tasks_per_step: how many different tasks a step draws, and splits its samples among by
            their weights.
        train: ``lora`` trains an adapter, ``full`` every weight of the transformer.
        ema: whether the moving average of the weights (pi_ema) is what a run measures and hands
            out, and not the weights of its last update. The optimizer ``schedule-free`` averages
            itself.
        model: policy, as an embedded name, a folder or a hub id.
        judge: judge, likewise.
        data: folder of pictures or jsonl file; None for the embedded scenes.
        device: torch device; ``auto`` is a GPU if there is one.
        dtype: of the frozen weights; adapters are always trained in float32.
    """

    tasks: dict[str, Positive] = defaults.TASKS
    steps: Count = defaults.STEPS
    seed: Annotated[int, Field(ge=0)] = defaults.SEED
    reference: Literal["fixed", "dynamic"] = defaults.REFERENCE
    lam: Annotated[float, Field(gt=0, le=1)] = defaults.LAM
    loss: Literal["hinge", "logistic", "relu"] = "hinge"
    dimensions: dict[str, Least0] = {}
    tau: Share = defaults.TAU
    step_range: list[int] | list[float] = defaults.STEP_RANGE
    image: Literal["predicted", "sampled"] = "sampled"
    sampler_steps: Count | None = None
    guidance: Annotated[float, Field(ge=1)] | None = None
    batch_size: Count = defaults.BATCH_SIZE
    tasks_per_step: Count = defaults.TASKS_PER_STEP
    train: Literal["lora", "full"] = "lora"
    ema: bool = True
    lora: LoraConfig = LoraConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    penalty: PenaltyConfig = PenaltyConfig()
    reward: RewardConfig = RewardConfig()
    recompute: RecomputeConfig = RecomputeConfig()
    monitor: MonitorConfig = MonitorConfig()
    cache: CacheConfig = CacheConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    samples: SheetConfig = SheetConfig()
    checkpoints: CheckpointConfig = CheckpointConfig()
    trackers: TrackerConfig = TrackerConfig()
    model: str = defaults.MODEL
    judge: str = defaults.JUDGE
    data: str | None = None
    device: str = "auto"
    dtype: Literal["float32", "bfloat16"] = "float32"

    @field_validator("tasks")
    @classmethod
    def _some_task(cls, tasks: dict[str, float]) -> dict[str, float]:
        if not tasks:
            raise ValueError("name at least one task, as fill: 2")
        return tasks

    @field_validator("loss")
    @classmethod
    def _bounded(cls, loss: str, given: ValidationInfo) -> str:
        if loss == "relu" and given.data.get("lam") == 1:
            raise ValueError("the logit of lam 1 is infinite; give a lam below 1, as 0.9")
        return loss

    @field_validator("step_range")
    @classmethod
    def _ordered(cls, bounds: list[int] | list[float]) -> list[int] | list[float]:
        if len(bounds) != _RANGE_LENGTH or not 0 <= bounds[0] <= bounds[1]:
            raise ValueError("give two numbers, first <= last, as [0.4, 0.9] or [6, 14]")
        if isinstance(bounds[1], float) and bounds[1] > 1:
            raise ValueError("fractions lie in [0, 1]; write whole numbers to count steps")
        return bounds

    def model_post_init(self, context: object, /) -> None:
        """Check what depends on several settings.

        Raises:
            BadInput: they do not fit together.
        """
        self.parts()
        self._check_mixture()

    @property
    def hands_out_average(self) -> bool:
        """Whether pi_ema is what a run measures and hands out."""
        return self.ema and self.optimizer.kind != "schedule-free"

    def gradient_steps(self, sampler_steps: int, task: str) -> range:
        """The sampler steps that the gradient may be taken at, of ``sampler_steps`` for a task.

        Raises:
            BadInput: ``step_range`` counts steps that the sampler does not have.
        """
        first, last = self.step_range
        if isinstance(first, float) or isinstance(last, float):
            most = sampler_steps - 1
            return range(
                min(most, int(first * sampler_steps)), min(most, int(last * sampler_steps)) + 1
            )
        if last >= sampler_steps:
            raise BadInput(
                f"step_range {list(self.step_range)}: the sampler has steps 0 to "
                f"{sampler_steps - 1} for {task}; choose within, give fractions as [0.4, 0.9], or "
                "name sampler_steps"
            )
        return range(first, last + 1)

    def parts(self, processes: int = 1) -> list[range]:
        """The places of a batch that are computed together, part by part.

        Args:
            processes: that share them, as many parts each.

        Raises:
            BadInput: there are more parts than samples.
        """
        count = self.optimizer.accumulation * processes
        if count > self.batch_size:
            shared = f" in each of {processes} processes" if processes > 1 else ""
            raise BadInput(
                f"optimizer.accumulation {self.optimizer.accumulation}{shared}: a batch of "
                f"{self.batch_size} has not so many parts; lower it, or raise batch_size"
            )
        edges = [self.batch_size * part // count for part in range(count + 1)]
        return [range(begin, end) for begin, end in pairwise(edges)]

    def _check_mixture(self) -> None:
        count = self.tasks_per_step
        if count > len(self.tasks):
            raise BadInput(
                f"tasks_per_step {count}: this run has no more than {len(self.tasks)} "
                f"({', '.join(self.tasks)}); lower it, or name more tasks"
            )
        if count > self.batch_size:
            raise BadInput(
                f"tasks_per_step {count}: a batch of {self.batch_size} has no sample for each; "
                "raise batch_size, or lower it"
            )

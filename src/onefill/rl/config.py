"""Every choice of a training run, in one typed model.

``config.yaml`` in a run folder is this model written out; reading it back gives the same run.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from onefill.errors import BadInput
from onefill.rl import defaults

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]

_RANGE_LENGTH = 2


class _Section(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class LoraConfig(_Section):
    """The low-rank adapter that is trained; the update is ``alpha / rank * B @ A``."""

    rank: Count = defaults.LORA_RANK
    alpha: Positive = defaults.LORA_ALPHA


class OptimizerConfig(_Section):
    """AdamW; the learning rate rises linearly over ``warmup`` steps and then stays."""

    learning_rate: Positive = defaults.LEARNING_RATE
    betas: list[Share] = Field(default=[0.9, 0.99], min_length=2, max_length=2)
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    clip_norm: Positive = 1.0
    warmup: Annotated[int, Field(ge=0)] = defaults.WARMUP


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
        tau: share of itself that a moving average keeps at each step (tau).
        step_range: first and last sampler step that the gradient is taken at ([t1, t2]). Whole
            numbers count steps from 0; fractions in [0, 1] are of the number of steps.
        sampler_steps: steps of a full denoising; None for half of what an edit takes, by the
            policy's folder.
        guidance: true classifier-free guidance, 1 is off; None for what the folder says.
        batch_size: samples of the one task that a step draws.
        train: ``lora`` trains an adapter, ``full`` every weight of the transformer.
        ema: whether Algorithm 1 keeps the average pi_ema beside the trained weights; the
            reference of Algorithm 2 is that average, with or without this.
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
    tau: Share = defaults.TAU
    step_range: list[int] | list[float] = defaults.STEP_RANGE
    sampler_steps: Count | None = None
    guidance: Annotated[float, Field(ge=1)] | None = None
    batch_size: Count = defaults.BATCH_SIZE
    train: Literal["lora", "full"] = "lora"
    ema: bool = True
    lora: LoraConfig = LoraConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
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

    @field_validator("step_range")
    @classmethod
    def _ordered(cls, bounds: list[int] | list[float]) -> list[int] | list[float]:
        if len(bounds) != _RANGE_LENGTH or not 0 <= bounds[0] <= bounds[1]:
            raise ValueError("give two numbers, first <= last, as [0.4, 0.9] or [6, 14]")
        if isinstance(bounds[1], float) and bounds[1] > 1:
            raise ValueError("fractions lie in [0, 1]; write whole numbers to count steps")
        return bounds

    def gradient_steps(self, sampler_steps: int) -> range:
        """The sampler steps that the gradient may be taken at, out of ``sampler_steps``.

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
                f"{sampler_steps - 1}; choose within, or give fractions as [0.4, 0.9]"
            )
        return range(first, last + 1)

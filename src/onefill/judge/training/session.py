"""A judge's training as it stands: model, weights that are trained, pairs, and how far it is."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from onefill.checkpoint import Checkpoint, read_last_checkpoint, write_checkpoint
from onefill.errors import BadInput
from onefill.judge.accuracy import known
from onefill.judge.card import CARD_NAME
from onefill.judge.loading import load_judge
from onefill.judge.model import Judge
from onefill.judge.pair import PreferencePair
from onefill.judge.pairs_file import read_pairs
from onefill.judge.quantize import check_trainable
from onefill.judge.training.examples import Example, PictureShelf, make_examples
from onefill.judge.training.folder import TrainingFolder
from onefill.judge.training.optimizer import JudgeOptimizer
from onefill.judge.training.settings import JudgeTrainingSettings
from onefill.judge.training.split import shared_scene, split_by_scene
from onefill.judge.training.weights import (
    add_adapter,
    fingerprint,
    put_back,
    snapshot,
    train_all,
)
from onefill.tasks.registry import TaskRegistry

_KEEP = 2  # checkpoints
_VALIDATIONS = 20  # in a training, unless --every says otherwise


@dataclass
class Progress:
    """How far a training is; all of it goes into a checkpoint.

    Attributes:
        step: updates done.
        validated: the step at which the held-out pairs were last asked; -1: never.
        best_step: the step whose weights did best on them.
        best_loss: their loss there.
        waited: validations since.
    """

    step: int = 0
    validated: int = -1
    best_step: int = -1
    best_loss: float = float("inf")
    waited: int = 0


@dataclass
class TrainingSession:
    """Everything the loop works with.

    Attributes:
        steps: updates at most.
        every: steps between validations.
        best: the trained weights that did best on the held-out pairs.
    """

    settings: JudgeTrainingSettings
    folder: TrainingFolder
    registry: TaskRegistry
    judge: Judge
    parameters: dict[str, nn.Parameter]
    optimizer: JudgeOptimizer
    examples: Sequence[Example]
    validation: Sequence[PreferencePair]
    shelf: PictureShelf
    steps: int
    every: int
    base: str
    progress: Progress = field(default_factory=Progress)
    best: dict[str, Tensor] = field(default_factory=dict)

    def save(self) -> None:
        """Write a checkpoint; whole or not at all.

        Raises:
            OnefillError: it cannot be written.
        """
        tensors = {
            "weights": snapshot(self.parameters),
            "optimizer": self.optimizer.tensors(),
            "best": self.best,
        }
        progress = dataclasses.asdict(self.progress)
        if not self.best:
            progress["best_loss"] = None
        state = {"base": self.base, "examples": len(self.examples), "progress": progress}
        write_checkpoint(
            self.folder.checkpoints, self.progress.step, Checkpoint(tensors, state), _KEEP
        )

    def restore(self) -> None:
        """Go back to the last checkpoint; a training that was stopped before its first begins.

        Raises:
            BadInput: the checkpoint is damaged, or model or pictures are not those it is of.
        """
        if not any(self.folder.checkpoints.glob("step-*")):
            self.folder.forget_after(-1)
            return
        checkpoint = read_last_checkpoint(self.folder.checkpoints)
        where = f"--resume {self.folder.path}"
        if checkpoint.state["base"] != self.base:
            raise BadInput(
                f"{where}: {self.settings.base} has other weights than when the training began; "
                "put them back, or start a new training"
            )
        if checkpoint.state["examples"] != len(self.examples):
            raise BadInput(
                f"{where}: {len(self.examples)} answers to learn from, and there were "
                f"{checkpoint.state['examples']}; put the pictures back, or start a new training"
            )
        put_back(self.parameters, checkpoint.tensors["weights"])
        self.optimizer.restore(checkpoint.tensors.get("optimizer", {}))
        self.best = dict(checkpoint.tensors.get("best", {}))
        progress: dict[str, Any] = dict(checkpoint.state["progress"])
        if progress["best_loss"] is None:
            progress["best_loss"] = float("inf")
        self.progress = Progress(**progress)
        self.folder.forget_after(self.progress.step)


def open_session(
    settings: JudgeTrainingSettings,
    folder: TrainingFolder,
    registry: TaskRegistry,
    *,
    resume: bool,
    offline: bool,
    note: Callable[[str], None],
) -> TrainingSession:
    """Read pairs and model; a new training's folder is made when all is well.

    Args:
        settings: what is asked for.
        folder: where.
        registry: the tasks.
        resume: go on from the last checkpoint.
        offline: take a hub id from the local cache only.
        note: told what a person should know.

    Raises:
        BadInput: a file of pairs or the base model cannot be used, no pair has a winner, or
            training and validation share a scene.
    """
    train, validation = _read(settings, registry)
    judge = _load_base(settings, offline)
    if settings.sees:
        judge.sees = settings.sees
    examples = make_examples(train, registry)
    steps = settings.steps or -(-len(examples) * settings.epochs // settings.batch)
    base = fingerprint(judge.model)
    if settings.method == "lora":
        parameters = add_adapter(judge.model, settings.lora_rank, settings.seed)
    else:
        parameters = train_all(judge.model)
    if settings.recompute:
        judge.model.gradient_checkpointing_enable({"use_reentrant": False})
        judge.model.train()  # checkpoints are kept in this mode only; there is no dropout
    session = TrainingSession(
        settings=settings,
        folder=folder,
        registry=registry,
        judge=judge,
        parameters=parameters,
        optimizer=JudgeOptimizer(parameters, settings, steps),
        examples=examples,
        validation=validation,
        shelf=PictureShelf(judge),
        steps=steps,
        every=settings.every or max(1, steps // _VALIDATIONS),
        base=base,
    )
    trained = sum(parameter.numel() for parameter in parameters.values())
    note(
        f"{len(train)} pairs ({len(examples)} answers) to train on, {len(validation)} of other "
        f"scenes held out; {trained:,} weights, at most {steps} steps"
    )
    if resume:
        session.restore()
    else:
        folder.create(settings)
    return session


def _read(
    settings: JudgeTrainingSettings, registry: TaskRegistry
) -> tuple[list[PreferencePair], list[PreferencePair]]:
    pairs = []
    for name in settings.pairs:
        labelled = known(read_pairs(Path(name), registry))
        if not labelled:
            raise BadInput(
                f'{name}: no pair in it says who won; add "winner", or label the pairs with '
                "`onefill judge --pairs`"
            )
        pairs += labelled
    if settings.validation is None:
        return split_by_scene(pairs, settings.validation_share, settings.seed)
    validation = known(read_pairs(Path(settings.validation), registry))
    if not validation:
        raise BadInput(f"--validation {settings.validation}: no pair in it says who won")
    leak = shared_scene(pairs, validation)
    if leak is not None:
        raise BadInput(
            f"--validation {settings.validation} line {leak.line}: its scene or a picture of it is "
            "in the training pairs too; take it out of one of them (`onefill pairs check FILE "
            "--against OTHER` lists all)"
        )
    return pairs, validation


def _load_base(settings: JudgeTrainingSettings, offline: bool) -> Judge:
    try:
        judge = load_judge(
            settings.base, device=settings.device, dtype=settings.dtype, offline=offline
        )
    except BadInput as error:
        raise BadInput(str(error).replace("--judge ", "--base ", 1)) from error
    check_trainable(judge.model, f"--base {settings.base}")
    return judge


def base_sources(base: str) -> list[Any]:
    """Where the base judge's training pictures come from, as its card says; licences go on."""
    try:
        text = (Path(base) / CARD_NAME).read_text(encoding="utf-8")
        return list(json.loads(text).get("sources", []))
    except (OSError, ValueError, AttributeError):
        return []

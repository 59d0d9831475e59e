"""A judge's training as it stands: model, weights that are trained, pairs, and how far it is."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from onefill.checkpoint import Checkpoint, read_last_checkpoint, write_checkpoint
from onefill.errors import BadInput
from onefill.judge.accuracy import known
from onefill.judge.card import CARD_NAME
from onefill.judge.loading import load_judge, pick_device
from onefill.judge.model import Judge
from onefill.judge.pair import PreferencePair
from onefill.judge.pairs_file import read_pairs
from onefill.judge.quantize import check_trainable
from onefill.judge.training.examples import Example, PictureShelf, make_examples
from onefill.judge.training.folder import TrainingFolder
from onefill.judge.training.heads import TeachingHeads
from onefill.judge.training.optimizer import JudgeOptimizer
from onefill.judge.training.parts import Part, from_scratch, whole
from onefill.judge.training.settings import SCRATCH, JudgeTrainingSettings
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

NewJudge = Callable[[Iterable[str], int], Judge]
"""Makes a judge of random weights that can spell these queries, with a seed."""


@dataclass
class Progress:
    """How far a training is; all of it goes into a checkpoint.

    Attributes:
        step: updates done.
        validated: the step at which the held-out pairs were last asked; -1: never.
        best_step: the step whose weights did best on them.
        best_loss: their loss there.
        waited: validations since.
        part: of the training, from 0; the figures above but ``step`` are of this part alone.
        began: the step that this part began with.
    """

    step: int = 0
    validated: int = -1
    best_step: int = -1
    best_loss: float = float("inf")
    waited: int = 0
    part: int = 0
    began: int = 0


@dataclass
class TrainingSession:
    """Everything the loop works with.

    Attributes:
        parts: what is learnt, one after the other.
        every: steps between validations.
        heads: teach a judge of random weights; None for one that starts from a model.
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
    parts: Sequence[Part]
    every: int
    base: str
    heads: TeachingHeads | None = None
    progress: Progress = field(default_factory=Progress)
    best: dict[str, Tensor] = field(default_factory=dict)

    @property
    def steps(self) -> int:
        """Updates at most, of all parts."""
        return sum(part.steps for part in self.parts)

    @property
    def part(self) -> Part:
        """What is learnt now."""
        return self.parts[self.progress.part]

    @property
    def is_last_part(self) -> bool:
        """Whether the judge is written after this part."""
        return self.progress.part == len(self.parts) - 1

    def next_part(self) -> None:
        """Begin the next part with the best weights of this one."""
        put_back(self.parameters, self.best)
        progress = self.progress
        progress.part, progress.began = progress.part + 1, progress.step
        progress.validated, progress.best_step = -1, -1
        progress.best_loss, progress.waited = float("inf"), 0
        self.optimizer = JudgeOptimizer(self.parameters, self.settings, self.part.steps)

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
        self.best = dict(checkpoint.tensors.get("best", {}))
        progress: dict[str, Any] = dict(checkpoint.state["progress"])
        if progress["best_loss"] is None:
            progress["best_loss"] = float("inf")
        self.progress = Progress(**progress)
        self.optimizer = JudgeOptimizer(self.parameters, self.settings, self.part.steps)
        self.optimizer.restore(checkpoint.tensors.get("optimizer", {}))
        later = [part.name for part in self.parts[self.progress.part + 1 :]]
        self.folder.forget_after(self.progress.step, later)


def open_session(
    settings: JudgeTrainingSettings,
    folder: TrainingFolder,
    registry: TaskRegistry,
    *,
    resume: bool,
    offline: bool,
    note: Callable[[str], None],
    new_judge: NewJudge,
) -> TrainingSession:
    """Read pairs and model; a new training's folder is made when all is well.

    Args:
        settings: what is asked for.
        folder: where.
        registry: the tasks.
        resume: go on from the last checkpoint.
        offline: take a hub id from the local cache only.
        note: told what a person should know.
        new_judge: makes the judge that a training from scratch starts from.

    Raises:
        BadInput: a file of pairs or the base model cannot be used, no pair has a winner, or
            training and validation share a scene.
    """
    train, validation = _read(settings, registry)
    examples = make_examples(train, registry)
    if settings.from_scratch:
        judge = new_judge((example.query for example in examples), settings.seed)
        judge.model.to(pick_device(settings.device))
    else:
        judge = _load_base(settings, offline)
    if settings.sees:
        judge.sees = settings.sees
    steps = settings.steps or -(-len(examples) * settings.epochs // settings.batch)
    base = fingerprint(judge.model)
    if settings.method == "lora":
        parameters = add_adapter(judge.model, settings.lora_rank, settings.seed)
    else:
        parameters = train_all(judge.model)
    heads = None
    if settings.from_scratch:
        asked = examples + make_examples(validation, registry)
        heads = _teaching_heads(judge, [example.cell for example in asked], settings.seed)
        parameters |= {f"heads.{name}": weight for name, weight in heads.named_parameters()}
    parts = from_scratch(steps) if settings.from_scratch else whole(steps)
    if settings.recompute:
        judge.model.gradient_checkpointing_enable({"use_reentrant": False})
        judge.model.train()  # checkpoints are kept in this mode only; there is no dropout
    session = TrainingSession(
        settings=settings,
        folder=folder,
        registry=registry,
        judge=judge,
        parameters=parameters,
        optimizer=JudgeOptimizer(parameters, settings, parts[0].steps),
        examples=examples,
        validation=validation,
        shelf=PictureShelf(judge),
        parts=parts,
        every=settings.every or max(1, steps // _VALIDATIONS),
        base=base,
        heads=heads,
    )
    trained = sum(parameter.numel() for parameter in parameters.values())
    note(
        f"{len(train)} pairs ({len(examples)} answers) to train on, {len(validation)} of other "
        f"scenes held out; {trained:,} weights, at most {session.steps} steps"
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


def _teaching_heads(judge: Judge, cells: Sequence[str], seed: int) -> TeachingHeads:
    text = judge.model.config.text_config
    tokenizer = judge.processor.tokenizer
    heads = TeachingHeads(cells, tokenizer, text.hidden_size, text.num_hidden_layers, seed)
    return heads.to(judge.device)


def base_sources(base: str) -> list[Any]:
    """Where the base judge's training pictures come from, as its card says; licences go on."""
    if base == SCRATCH:
        return []
    try:
        text = (Path(base) / CARD_NAME).read_text(encoding="utf-8")
        return list(json.loads(text).get("sources", []))
    except (OSError, ValueError, AttributeError):
        return []

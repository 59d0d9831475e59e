"""What a judge's training is asked to do: one object, checked when it is made."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onefill.errors import BadInput
from onefill.judge.card import SIGHTS

METHODS = ("lora", "full")

SCRATCH = "scratch"
"""The base of a judge that starts from random weights."""


@dataclass(frozen=True, kw_only=True)
class JudgeTrainingSettings:
    """Everything that decides what comes out; two trainings of equal settings are equal.

    Attributes:
        pairs: files of pairs to train on.
        validation: a file of pairs to validate on; None takes some of ``pairs``.
        validation_share: of ``pairs``, in (0, 1), whole scenes at a time.
        base: folder or hub id of the model that the training starts from, or ``SCRATCH``.
        method: "lora" or "full".
        lora_rank: of the adapter, whose alpha is the same.
        steps: updates at most; None: as many as ``epochs`` take.
        epochs: passes over the pairs at most; unused with ``steps``.
        batch: answers (a pair on one dimension) in an update, each asked in both orders.
        together: answers that are in memory at once; fewer take less memory.
        rate: peak learning rate of AdamW.
        warmup: share of the steps in which the rate rises; afterwards it falls along a cosine to
            a tenth.
        weight_decay: of AdamW.
        clip: largest norm of the gradient.
        every: steps between validations; None: a twentieth of the steps.
        patience: validations without a better one after which the training ends.
        seed: of the split, the order of the pairs, and the weights that start at random.
        sees: what is shown beside the two pictures, of ``SIGHTS``.
        dtype: of the frozen weights; what is trained is in single precision.
        device: "auto" or a torch device.
        recompute: keep no activations and compute them again: less memory, more time.
    """

    pairs: tuple[str, ...]
    validation: str | None = None
    validation_share: float = 0.1
    base: str
    method: str
    lora_rank: int = 16
    steps: int | None = None
    epochs: int = 3
    batch: int = 16
    together: int = 16
    rate: float
    warmup: float = 0.03
    weight_decay: float = 0.01
    clip: float = 1.0
    every: int | None = None
    patience: int = 5
    seed: int = 0
    sees: tuple[str, ...] = ()
    dtype: str = "float32"
    device: str = "auto"
    recompute: bool = False

    def __post_init__(self) -> None:
        """Check what stands on its own.

        Raises:
            BadInput: a value cannot be used; the message names its flag.
        """
        if not self.pairs:
            raise BadInput("--pairs: name a jsonl file of pairs to train on")
        if self.method not in METHODS:
            raise BadInput(f"--method {self.method}: choose from {', '.join(METHODS)}")
        if self.from_scratch and self.method != "full":
            raise BadInput(
                f"--method {self.method}: random weights leave nothing to adapt; with --base "
                f"{SCRATCH} leave it out"
            )
        if not 0 < self.validation_share < 1:
            raise BadInput(
                f"--validation-share {self.validation_share:g}: a share between 0 and 1, as 0.1"
            )
        if not 0 < self.rate < 1:
            raise BadInput(f"--rate {self.rate:g}: a learning rate between 0 and 1, as 1e-4")
        counts = ("lora_rank", "steps", "epochs", "batch", "together", "every", "patience")
        for name in counts:
            value = getattr(self, name)
            if value is not None and value < 1:
                raise BadInput(f"--{name.replace('_', '-')} {value}: at least 1")
        if unknown := set(self.sees) - set(SIGHTS):
            raise BadInput(f"--show {','.join(sorted(unknown))}: choose from {', '.join(SIGHTS)}")
        if self.method == "full" and self.dtype != "float32":
            raise BadInput(
                f"--dtype {self.dtype}: small updates of all weights round away in half precision; "
                "use --dtype float32, or --lora"
            )

    @property
    def from_scratch(self) -> bool:
        """Whether the training starts from random weights."""
        return self.base == SCRATCH

    def to_json(self) -> dict[str, Any]:
        """As it is stored beside the checkpoints."""
        return dataclasses.asdict(self)

    @classmethod
    def from_file(cls, path: Path) -> JudgeTrainingSettings:
        """Read what ``to_json`` gave.

        Raises:
            BadInput: it cannot be read, or a value is not allowed.
        """
        try:
            document: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))["settings"]
            lists = {name: tuple(document[name]) for name in ("pairs", "sees")}
            return cls(**{**document, **lists})
        except (OSError, ValueError, TypeError, KeyError) as error:
            reason = str(error).splitlines()[0]
            raise BadInput(
                f"{path}: the settings of this training cannot be read ({reason}); start it anew"
            ) from error

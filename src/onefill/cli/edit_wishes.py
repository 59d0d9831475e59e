"""How ``onefill edit`` was asked to paint, to sign, and to go through many edits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onefill.cli import console
from onefill.errors import BadInput

if TYPE_CHECKING:
    from onefill.edit.job import Signature
    from onefill.edit.request import EditPlan
    from onefill.policy.flux_fill import FluxFillPolicy
    from onefill.policy.sampler import Sampling

STOP, CONTINUE = "stop", "continue"


@dataclass(frozen=True, kw_only=True)
class PaintWishes:
    """How to paint and what to write into results; known before a model library is imported.

    Attributes:
        steps: see ``onefill.policy.sampler.Sampling``, as for the next three.
        guidance: likewise.
        negative: likewise.
        strength: likewise.
        model: as typed; None writes nothing about the making into results.
        adapter: as typed.
        weights: what of the model decides how results look, by name; see ``onefill.edit.key``.
    """

    steps: int | None
    guidance: float | None
    negative: str | None
    strength: float | None
    model: str | None
    adapter: str | None
    weights: Mapping[str, Any]

    def deciding(self) -> dict[str, Any]:
        """All that decides how results look, by name; see ``onefill.edit.key``."""
        return {
            "steps": self.steps,
            "guidance": self.guidance,
            "negative": self.negative,
            "strength": self.strength,
            **self.weights,
        }

    def sampling(self) -> Sampling:
        """As the edit package wants it."""
        from onefill.policy.sampler import Sampling

        return Sampling(
            steps=self.steps,
            guidance=self.guidance,
            negative=self.negative,
            strength=self.strength,
        )

    def signature(self) -> Signature | None:
        """What results tell of their making."""
        from onefill.edit.job import Signature

        return None if self.model is None else Signature(model=self.model, adapter=self.adapter)


@dataclass(frozen=True, kw_only=True)
class BatchOptions:
    """How to go through many edits.

    Attributes:
        jobs: the file that lists them; without it, a folder does.
        skip_existing: leave out edits whose results are there, unless they have changed since.
        on_error: "stop" at the first edit that fails, or "continue".
        allow_outside: let the file name paths outside its folder and that of the results.
        ranked: whether an edit is done once its ranking is written.
        compared: whether a sheet of before and after belongs to it.
        signed: whether results tell of their making.
        task: the task named for all edits, if one was.
    """

    jobs: Path | None
    skip_existing: bool
    on_error: str
    allow_outside: bool
    ranked: bool
    compared: bool
    signed: bool
    task: str | None

    def __post_init__(self) -> None:
        if self.on_error not in (STOP, CONTINUE):
            raise BadInput(f"--on-error {self.on_error}: choose from {STOP}, {CONTINUE}")

    def refuse_for_one(self) -> None:
        """Refuse what has no meaning for a single photograph.

        Raises:
            BadInput: it was given.
        """
        given = {
            "--skip-existing": self.skip_existing,
            "--on-error": self.on_error != STOP,
            "--allow-outside": self.allow_outside,
        }
        for flag, there in given.items():
            if there:
                raise BadInput(f"{flag}: goes with a folder of photographs or --jobs FILE")


class Remarks:
    """Says what there is to know of a plan that was carried out; of a word, once."""

    def __init__(self, wishes: PaintWishes, policy: FluxFillPolicy) -> None:
        self._negative = wishes.negative
        self._policy = policy
        self._said: set[str] = set()

    def make(self, plan: EditPlan) -> None:
        """Speak on stderr."""
        for note in plan.notes:
            console.say(note)
        texts = (*(step.prompt for step in plan.passes), self._negative)
        for text in filter(None, texts):
            for word, nearest in self._policy.unknown_words(text):
                if word not in self._said:
                    self._said.add(word)
                    console.warn(
                        f"{word!r} is no word this model knows; the nearest is {nearest!r}"
                    )

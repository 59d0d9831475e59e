"""What a run is made of, by name; imports nothing heavy, so that a wrong name costs a moment."""

from __future__ import annotations

from dataclasses import dataclass

from onefill.data.source import SampleSource
from onefill.tasks.types import Task


@dataclass(frozen=True)
class Ingredients:
    """What a run is made of, found by the caller.

    Attributes:
        model: folder or hub id of the policy.
        judge: folder or hub id of the judge.
        more_judges: of those whose answers count as well.
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
    more_judges: tuple[str, ...] = ()
    offline: bool = False

"""The parts of a training, each with a schedule, an optimizer and an early stop of its own.

A judge that can see and read has one: it learns to answer. A judge of random weights has three.
Asked at once, a small language model stays at chance, and through it the vision tower learns
nothing. So the tower learns first, from heads of its own; then the language model learns to find
in the tower's tokens what a question asks for; then both learn together.
"""

from __future__ import annotations

from dataclasses import dataclass

_LOOK, _READ = 0.4, 0.2  # of the steps; the rest is for learning together


@dataclass(frozen=True)
class Part:
    """What is learnt for how long.

    Attributes:
        name: for people.
        steps: updates at most.
        tower: the vision tower learns.
        heads: the heads on the tower's tokens are taught, and through them the tower.
        answers: the language model is asked, and learns.
    """

    name: str
    steps: int
    tower: bool = True
    heads: bool = False
    answers: bool = True


def whole(steps: int) -> tuple[Part, ...]:
    """The one part of a judge that starts from a model."""
    return (Part("judge", steps),)


def from_scratch(steps: int) -> tuple[Part, ...]:
    """The three parts of a judge of random weights; of fewer than three steps, one step each."""
    look, read = (max(1, round(share * steps)) for share in (_LOOK, _READ))
    return (
        Part("see", look, heads=True, answers=False),
        Part("read", read, tower=False),
        Part("judge", max(1, steps - look - read), heads=True),
    )

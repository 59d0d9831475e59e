"""What a batch teaches in the part of the training that is under way."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from onefill.interrupt import StopRequest
from onefill.judge.asking import PairLogits, logits_of_pairs
from onefill.judge.training.examples import Example, Shelf, make_examples
from onefill.judge.training.loss import eq3, look, read
from onefill.judge.training.session import TrainingSession
from onefill.judge.training.variation import VariedShelf

_ENDS = 0.5  # weight of the scores at the pictures' ends; that of the answer is 1


def lesson(
    session: TrainingSession, examples: Sequence[Example], place: int
) -> tuple[Tensor, Tensor]:
    """The losses of examples, and how sure the judge is that the first picture is better.

    Args:
        session: says what is learnt now.
        examples: B of the step's batch.
        place: of the first of them in it.

    Returns:
        (B,) losses with gradient, and (B,) logits.

    Raises:
        BadInput: a picture cannot be read, or a question is too long.
        OnefillError: an answer is no number.
    """
    part, heads = session.part, session.heads
    shelf: Shelf = session.shelf
    if heads is not None:
        shelf = VariedShelf(session.shelf, (session.settings.seed, session.progress.step), place)
    with torch.set_grad_enabled(part.tower):
        looks = look(session.judge, examples, shelf)
    target = torch.tensor([example.target for example in examples], device=session.judge.device)
    losses, margins = torch.zeros_like(target), torch.zeros_like(target)
    if heads is not None and part.heads:
        margins = heads.seen(examples, looks)
        losses = losses + eq3(margins, -margins, target)
    if part.answers:
        found = read(session.judge, examples, looks, ends=heads is not None)
        margins = found.forward - found.backward
        losses = losses + eq3(found.forward, found.backward, target)
        if heads is not None and found.ends is not None:
            forward, backward = heads.read(found.ends)
            losses = losses + _ENDS * eq3(forward, backward, target.expand_as(forward)).mean(0)
    return losses, margins.detach()


def ask_held_out(session: TrainingSession, stop: StopRequest) -> list[PairLogits]:
    """The answers to the held-out pairs; while the judge cannot read yet, those of its eyes.

    Raises:
        Interrupted: a stop was asked for.
    """
    together = session.settings.together
    found = []
    if session.part.answers:
        asked = logits_of_pairs(session.judge, session.validation, session.registry, batch=together)
        for logits in asked:
            stop.check()
            found.append(logits)
        return found
    if session.heads is None:
        raise ValueError(f"part {session.part.name} asks nobody")
    examples = make_examples(session.validation, session.registry)
    for start in range(0, len(examples), together):
        stop.check()
        some = examples[start : start + together]
        with torch.no_grad():
            margins = session.heads.seen(some, look(session.judge, some, session.shelf)).tolist()
        found += [
            PairLogits(example.pair, example.dim, margin, -margin)
            for example, margin in zip(some, margins, strict=True)
        ]
    return found

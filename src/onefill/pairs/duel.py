"""Two renderings of one subject, one of them more damaged: which is better is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from onefill.pairs.subject import (
    AESTHETICS,
    ALIGNMENT,
    CONSISTENCY,
    REMOVAL,
    STRUCTURE,
    Layer,
    Picture,
    Subject,
)
from onefill.pocket.contests import damage, damage_canvas
from onefill.pocket.contests.damage_canvas import Canvas, Damage
from onefill.pocket.contests.misspelling import misspell
from onefill.pocket.material.scenes import Rgb, composite, to_bytes

GAP = 0.05
"""Smallest difference of damage, of strengths in (0, 1], that makes a preference."""

_LEAST_CHANGE = 0.004
"""Mean difference of the two pictures, of values in [0, 1], below which nobody sees one."""

_WEAK = "weak painting"
_WEAK_HARMS = (CONSISTENCY, STRUCTURE, REMOVAL)

Other = Callable[[np.random.Generator], Layer]
"""Draws something that was not asked for, laid where the subject was painted."""


@dataclass(frozen=True)
class Duel:
    """Two results.

    Attributes:
        pictures: (H, W, 3) uint8 each, the better one on the asked dimension first.
        winner: dimension to 0 or 1, the place of the better one.
        strength: dimension to how much more damaged the other one is, in (0, 1].
    """

    pictures: tuple[Picture, Picture]
    winner: Mapping[str, int]
    strength: Mapping[str, float]


@dataclass(frozen=True)
class _Fault:
    kind: str
    strength: float
    seed: int
    plainest: float
    """Strength at which it is the worst of its duel: what kind of fault it is, is decided there."""

    def harms(self, dimensions: Sequence[str]) -> tuple[str, ...]:
        harmed = _WEAK_HARMS if self.kind == _WEAK else (self.kind,)
        return tuple(d for d in harmed if d in dimensions)


def draw_duel(
    subject: Subject,
    dimension: str,
    dimensions: Sequence[str],
    other: Other,
    rng: np.random.Generator,
    strengths: tuple[float, float] = (0.2, 1.0),
) -> Duel | None:
    """Damage a subject twice so that one result is better in ``dimension``.

    The better one is clean, or has the same fault more faintly, or fails in another dimension:
    the pair then has a winner for that one too.

    Args:
        subject: what is damaged.
        dimension: one of ``KNOWN``.
        dimensions: all that the subject can be damaged in.
        other: draws what was not asked for.
        rng: decides everything.
        strengths: lowest and highest strength of a fault, in (0, 1].

    Returns:
        None where the two hardly differ, as when a flat sky is blurred.
    """
    better, worse = _plan(dimension, dimensions, rng, strengths)
    if dimension == ALIGNMENT and subject.write is None:  # another thing is another thing wholly
        worse = tuple(replace(f, strength=1.0) if f.kind == ALIGNMENT else f for f in worse)
    pictures = [_render(subject, faults, other) for faults in (better, worse)]
    clean = to_bytes(subject.clean)
    seen = [_change(pictures[0], pictures[1]), _change(pictures[1], clean)]
    if better and better[0].kind != worse[-1].kind:
        seen.append(_change(pictures[0], clean))
    if min(seen) < _LEAST_CHANGE:
        return None
    levels = [_levels(faults, dimensions) for faults in (better, worse)]
    winner, strength = {}, {}
    behind = None if subject.background is None else to_bytes(subject.background)
    # A judge that learned to find nothing sound where nothing is would lead a policy there.
    is_gone = behind is not None and np.array_equal(pictures[1], behind)
    for name in dimensions:
        if is_gone and name == STRUCTURE:
            continue
        gap = levels[1].get(name, 0.0) - levels[0].get(name, 0.0)
        if abs(gap) >= GAP - 1e-9:
            winner[name] = 0 if gap > 0 else 1
            strength[name] = round(abs(gap), 3)
    if winner.get(dimension) != 0:
        return None
    return Duel((pictures[0], pictures[1]), winner, strength)


def _plan(
    dimension: str,
    dimensions: Sequence[str],
    rng: np.random.Generator,
    strengths: tuple[float, float],
) -> tuple[tuple[_Fault, ...], tuple[_Fault, ...]]:
    """Faults of the better and of the worse rendering."""

    def fault(kind: str) -> _Fault:
        strength = float(rng.uniform(*strengths))
        return _Fault(kind, strength, int(rng.integers(2**62)), strength)

    weak = dimension in _WEAK_HARMS and rng.random() < 0.25
    main = fault(_WEAK if weak else dimension)
    others = [d for d in dimensions if d != dimension and d != ALIGNMENT]
    kind = rng.random()
    # A thing pasted in shows its seams: were the other picture always clean, seams would tell.
    apart = 0.6 if dimension == ALIGNMENT else 0.25
    if kind < apart and others:
        rival = fault(str(rng.choice(others)))
        if dimension == ALIGNMENT:  # what was asked for must still be seen through it
            rival = replace(rival, strength=rival.strength / 2, plainest=rival.strength / 2)
        if not set(rival.harms(dimensions)) & set(main.harms(dimensions)):
            return (rival,), (main,)
    elif kind < 0.75 and dimension != ALIGNMENT:
        least = max(0.15, (strengths[1] - strengths[0]) / 3)
        fainter = main.strength - float(rng.uniform(least, 0.7))
        if fainter >= 0.05:
            return (replace(main, strength=fainter),), (main,)
    return (), (main,)


def _change(one: Picture, other: Picture) -> float:
    return float(np.abs(one.astype(np.int16) - other).mean()) / 255


def _levels(faults: Sequence[_Fault], dimensions: Sequence[str]) -> dict[str, float]:
    return {name: fault.strength for fault in faults for name in fault.harms(dimensions)}


def _render(subject: Subject, faults: Sequence[_Fault], other: Other) -> Picture:
    canvas = subject.canvas
    for fault in faults:
        rng = np.random.default_rng(fault.seed)
        if fault.kind == ALIGNMENT:
            painted = _misread(subject, canvas, fault.strength, other, rng)
        elif fault.kind == _WEAK:
            painted = damage.painted_badly(canvas, fault.strength, rng)
        else:
            kinds = _damages(subject, fault.kind, partial(other, rng), rng)
            least = damage_canvas.PLAIN if fault.kind == STRUCTURE else damage_canvas.VISIBLE
            painted = damage_canvas.apply(kinds, canvas, fault.strength, rng, least, fault.plainest)
        canvas = replace(canvas, picture=painted)
    return to_bytes(canvas.picture)


def _damages(
    subject: Subject, dimension: str, other: Callable[[], Layer], rng: np.random.Generator
) -> tuple[Damage, ...]:
    if dimension == CONSISTENCY:
        return damage.CONSISTENCY
    if dimension == AESTHETICS:
        return damage.AESTHETICS
    if dimension == STRUCTURE:
        if subject.background is not None:
            return damage.PLACED_OBJECT_STRUCTURE
        if subject.on_border:
            return damage.BORDER_STRUCTURE
        return (*damage.OBJECT_STRUCTURE, damage.bent_region)
    if dimension == REMOVAL:
        new = other()
        left = subject.gone if subject.gone is not None else new
        remains = (damage.remnant(left), damage.remnant(left), damage.outline(left))
        return (*damage.REMOVAL, *remains, damage.remnant(new))
    raise ValueError(f"there is no damage to {dimension}")


def _misread(
    subject: Subject, canvas: Canvas, strength: float, other: Other, rng: np.random.Generator
) -> Rgb:
    """Something else than the words: another thing, nothing, or other letters."""
    if subject.write is not None and subject.words is not None:
        text, mirrored = misspell(subject.words, strength, subject.rivals, rng)
        return subject.write(text, mirrored)
    if subject.background is not None and rng.random() < 0.15:
        return canvas.background
    return composite(canvas.background, other(rng))

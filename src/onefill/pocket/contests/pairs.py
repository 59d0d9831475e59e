"""Preference pairs made from scenes: which of two results is better is known by construction.

A duel is two renderings of one scene whose damage in one dimension differs clearly. A contest
holds several duels on one scene; any two of its pictures can be compared in any dimension in
which their damage differs enough.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from onefill.pocket.contests import damage, damage_canvas
from onefill.pocket.contests.damage_canvas import Canvas
from onefill.pocket.contests.misspelling import misspell
from onefill.pocket.material import scenes, vocabulary
from onefill.pocket.material.pictures import Pictures
from onefill.pocket.material.things import Wish, draw_thing

CONSISTENCY, STRUCTURE, ALIGNMENT = "consistency", "structure", "text-alignment"
AESTHETICS, REMOVAL = "aesthetics", "removal-quality"
DIMENSIONS = (CONSISTENCY, STRUCTURE, ALIGNMENT, AESTHETICS, REMOVAL)

TASK_DIMENSIONS: dict[str, tuple[str, ...]] = {
    "fill": (CONSISTENCY, STRUCTURE, ALIGNMENT, AESTHETICS),
    "extend": (CONSISTENCY, STRUCTURE, ALIGNMENT, AESTHETICS),
    "removal": (REMOVAL,),
    "text": (CONSISTENCY, ALIGNMENT, AESTHETICS),
}
CELLS = tuple((task, dim) for task, dims in TASK_DIMENSIONS.items() for dim in dims)
"""Every (task, dimension) the embedded judge is trained and measured on."""

LABELS = (*vocabulary.WORDS, *vocabulary.TEXT_WORDS, "")
"""What a picture can show; the last stands for nothing that was put there."""

NOTHING, UNCLEAR = len(LABELS) - 1, -1

GAP = 0.4
"""Smallest difference of damage, of strengths in [0, 1], that makes a preference."""

GRID = 8
"""Cells a side of the maps that say where a picture is damaged and where its thing is."""

_WEAKEST = 0.45
WEAK_PAINTING = {CONSISTENCY: 1.0, STRUCTURE: 1.0, REMOVAL: 1.0, ALIGNMENT: 0.5, AESTHETICS: 0.8}
"""How far a weakly painted region harms each dimension, per unit of strength."""

TOUCHED, COVERED = 2 / 255, 0.25
"""Change of a pixel that counts as damage; share of a cell that a thing must cover to be in it."""


@dataclass(frozen=True)
class Fault:
    """One thing wrong with a rendering.

    Attributes:
        dimension: what it harms; None for weak painting, which harms several.
        strength: (0, 1].
        seed: of everything else about it.
        plainest: strength at which its kind is chosen, that of the worst of its duel; None for
            ``strength``.

    """

    dimension: str | None
    strength: float
    seed: int
    plainest: float | None = None


@dataclass(frozen=True)
class Rendering:
    """A result with its faults.

    Attributes:
        picture: uint8 (64, 64, 3).
        levels: float32 (5,), damage in each of ``DIMENSIONS``, 0 none to 1 full.
        shown: index in ``LABELS`` of what can be seen, or ``UNCLEAR``.
        harm: float32 (5, GRID, GRID), the same damage cell by cell; none in text alignment,
            which cannot be seen without the words.
        covered: bool (GRID, GRID), cells that show the thing or the words.

    """

    picture: NDArray[np.uint8]
    levels: NDArray[np.float32]
    shown: int
    harm: NDArray[np.float32]
    covered: NDArray[np.bool_]


@dataclass(frozen=True)
class Contest:
    """Renderings of one scene.

    Attributes:
        task: of the scene.
        word: concept or text word asked for, without article.
        renderings: of the same scene; the odd ones lose against the ones before them.

    """

    task: str
    word: str
    renderings: tuple[Rendering, ...]


@dataclass(frozen=True)
class Pair:
    """Two results and which is better.

    Attributes:
        first: uint8 (64, 64, 3).
        second: uint8 (64, 64, 3).
        task: fill, extend, removal or text.
        dimension: what they are compared on.
        words: the prompt; None where the dimension is judged without.
        winner: "first" or "second".
        strength: how much more damaged the loser is, ``GAP`` to 1.

    """

    first: NDArray[np.uint8]
    second: NDArray[np.uint8]
    task: str
    dimension: str
    words: str | None
    winner: str
    strength: float


def draw_pair(pictures: Pictures, rng: np.random.Generator, task: str, dimension: str) -> Pair:
    """Draw a pair for one cell; either side wins in half of the draws."""
    contest = draw_contest(pictures, rng, task, (dimension,))
    better, worse = contest.renderings
    column = DIMENSIONS.index(dimension)
    strength = float(worse.levels[column] - better.levels[column])
    words = draw_words(contest.word, rng) if dimension == ALIGNMENT else None
    if rng.random() < 0.5:
        return Pair(better.picture, worse.picture, task, dimension, words, "first", strength)
    return Pair(worse.picture, better.picture, task, dimension, words, "second", strength)


def draw_words(word: str, rng: np.random.Generator) -> str:
    """The word as a user may type it: text as it stands, things by name, number and looks.

    Number and looks are drawn without a glance at the picture: the judge answers for what is
    shown, and learns to pass over the rest of a prompt.
    """
    if word in vocabulary.TEXT_WORDS:
        return word
    kind, colour = rng.random(), str(rng.choice(list(vocabulary.HUES)))
    size = str(rng.choice(vocabulary.SIZES)) if kind < 0.06 else ""
    count = int(rng.integers(2, 4)) if 0.06 <= kind < 0.14 else 1
    return Wish(word, colour if rng.random() < 0.2 else "", size, count).phrase(rng)


def draw_contest(
    pictures: Pictures, rng: np.random.Generator, task: str, dimensions: tuple[str, ...]
) -> Contest:
    """Draw one scene and, for each of ``dimensions``, a duel on it.

    Duels whose two pictures hardly differ are dropped and drawn again on another scene.
    """
    while True:
        scene = scenes.draw_scene(pictures, rng, task)
        renderings: list[Rendering] = []
        for dimension in dimensions:
            better, worse = (
                _render(pictures, scene, faults) for faults in _duel(task, dimension, rng)
            )
            difference = np.abs(better.picture.astype(np.int16) - worse.picture).mean() / 255
            column = DIMENSIONS.index(dimension)
            if difference < 0.004 or worse.levels[column] - better.levels[column] < GAP:
                break
            renderings += (better, worse)
        if len(renderings) == 2 * len(dimensions):
            return Contest(task, scene.word, tuple(renderings))


def _duel(
    task: str, dimension: str, rng: np.random.Generator
) -> tuple[tuple[Fault, ...], tuple[Fault, ...]]:
    """Faults of the better and of the worse rendering.

    The better one is clean, or has the same fault more faintly, or fails in another dimension.
    """
    main = _fault(dimension, rng)
    others = [d for d in TASK_DIMENSIONS[task] if d not in (dimension, ALIGNMENT)]
    shared: tuple[Fault, ...] = ()
    if others and rng.random() < 0.15:
        shared = (replace(_fault(str(rng.choice(others)), rng), strength=0.3),)
    kind = rng.random()
    if kind < 0.25 and dimension != ALIGNMENT:
        main = replace(main, strength=float(rng.uniform(0.7, 1)))
        weaker = max(0.05, main.strength - float(rng.uniform(0.45, 0.7)))
        fainter = replace(main, strength=weaker, plainest=main.strength)
        return (*shared, fainter), (*shared, main)
    if kind < 0.5 and others:
        conflict = Fault(str(rng.choice(others)), float(rng.uniform(_WEAKEST, 1)), _seed(rng))
        return (conflict,), (main,)
    return shared, (*shared, main)


def _fault(dimension: str, rng: np.random.Generator) -> Fault:
    # Weak painting stands in for a young policy's samples; words are lost in it only in part.
    weak = dimension != ALIGNMENT and rng.random() < 0.4
    strength = float(rng.uniform(_WEAKEST, 1))
    return Fault(None if weak else dimension, strength, _seed(rng))


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**62))


def _render(pictures: Pictures, scene: scenes.Scene, faults: tuple[Fault, ...]) -> Rendering:
    canvas = Canvas.of_levels(scene.target, scene.background, scene.mask)
    levels = np.zeros(len(DIMENSIONS), np.float32)
    harm = np.zeros((len(DIMENSIONS), GRID, GRID), np.float32)
    shown = NOTHING if scene.task == "removal" else LABELS.index(scene.word)
    covered = cell_means(canvas.matte[..., 0])
    order = (ALIGNMENT, STRUCTURE, REMOVAL, None, CONSISTENCY, AESTHETICS)
    for fault in sorted(faults, key=lambda f: order.index(f.dimension)):
        rng = np.random.default_rng(fault.seed)
        shares = {fault.dimension or "": 1.0} if fault.dimension else WEAK_PAINTING
        before = canvas.picture
        if fault.dimension == ALIGNMENT:
            canvas, shown, level = _misread(pictures, scene, canvas, fault, rng)
            shares = {ALIGNMENT: level / fault.strength}
            if shown == NOTHING and scene.task == "fill":
                # Or a judge would find that what is not there has no fault.
                shares[STRUCTURE] = 1 / fault.strength
        else:
            painted = _damaged(pictures, scene, canvas, fault, rng)
            canvas = replace(canvas, picture=painted)
        if fault.dimension in (ALIGNMENT, STRUCTURE):
            covered = cell_means(canvas.matte[..., 0])
        if fault.dimension in (REMOVAL, None) and fault.strength > 0.5:
            shown = UNCLEAR
        touched = np.abs(canvas.picture - before).max(-1) > TOUCHED
        where = spoilt_cells(touched)
        for dimension, share in shares.items():
            column, level = DIMENSIONS.index(dimension), share * fault.strength
            levels[column] = max(levels[column], level)
            if dimension != ALIGNMENT:
                harm[column] = np.maximum(harm[column], level * where)
    return Rendering(scenes.to_bytes(canvas.picture), levels, shown, harm, covered > COVERED)


def cell_means(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mean of a plane (64, 64) in each cell of the grid."""
    side = len(plane) // GRID
    means: NDArray[np.float32] = plane.reshape(GRID, side, GRID, side).mean((1, 3))
    return means


def spoilt_cells(touched: NDArray[np.bool_]) -> NDArray[np.float32]:
    """How far each cell is spoilt where ``touched`` (64, 64): a quarter of it is enough."""
    spoilt: NDArray[np.float32] = np.minimum(1, 4 * cell_means(touched.astype(np.float32)))
    return spoilt


def _damaged(
    pictures: Pictures,
    scene: scenes.Scene,
    canvas: Canvas,
    fault: Fault,
    rng: np.random.Generator,
) -> scenes.Rgb:
    if fault.dimension is None:
        return damage.painted_badly(canvas, fault.strength, rng)
    if fault.dimension == CONSISTENCY:
        kinds = damage.CONSISTENCY
    elif fault.dimension == AESTHETICS:
        kinds = damage.AESTHETICS
    elif fault.dimension == STRUCTURE:
        on_border = scene.task == "extend"
        kinds = damage.BORDER_STRUCTURE if on_border else damage.PLACED_OBJECT_STRUCTURE
    else:
        drawn = draw_thing(pictures, rng, Wish(scene.word), canvas.background)
        layer = _centred(drawn, scene.mask)
        left_behind = (damage.remnant(layer), damage.remnant(layer), damage.outline(layer))
        kinds = (*damage.REMOVAL, *left_behind)
    least = damage_canvas.PLAIN if fault.dimension == STRUCTURE else damage_canvas.VISIBLE
    return damage_canvas.apply(kinds, canvas, fault.strength, rng, least, fault.plainest)


def _misread(
    pictures: Pictures,
    scene: scenes.Scene,
    canvas: Canvas,
    fault: Fault,
    rng: np.random.Generator,
) -> tuple[Canvas, int, float]:
    """Something else than the words: another thing, nothing, or letters out of order."""
    kind = rng.random()
    if kind < 0.15:
        return replace(canvas, picture=canvas.background), NOTHING, 1.0
    if scene.task == "text":
        if kind < 0.3:
            painted = damage.shuffled_object(canvas, fault.strength, rng)
            return replace(canvas, picture=painted), UNCLEAR, fault.strength
        if kind < 0.7:
            return _misspelt(pictures, scene, canvas, fault.strength, rng)
        other = str(rng.choice([w for w in vocabulary.TEXT_WORDS if w != scene.word]))
        layer = scenes.text_layer(pictures, rng, other, canvas.background)
    else:
        other = str(rng.choice([w for w in vocabulary.WORDS if w != scene.word]))
        layer = draw_thing(pictures, rng, Wish(other), canvas.background)
    return _in_its_place(canvas, scene, layer), LABELS.index(other), 1.0


def _misspelt(
    pictures: Pictures,
    scene: scenes.Scene,
    canvas: Canvas,
    strength: float,
    rng: np.random.Generator,
) -> tuple[Canvas, int, float]:
    text, mirrored = misspell(scene.word, strength, vocabulary.TEXT_WORDS, rng)
    layer = scenes.text_layer(pictures, rng, text, canvas.background)
    if mirrored:
        layer = layer[:, ::-1]
    known = text in vocabulary.TEXT_WORDS and not mirrored
    shown = LABELS.index(text) if known else UNCLEAR
    return _in_its_place(canvas, scene, layer), shown, 1.0 if known else strength


def _in_its_place(canvas: Canvas, scene: scenes.Scene, layer: scenes.Rgb) -> Canvas:
    """The background with another layer where the thing was."""
    seen = canvas.matte[..., 0] > 0.5
    layer = _centred(layer, seen if seen.any() else scene.mask)
    return replace(canvas, picture=scenes.composite(canvas.background, layer))


def _centred(layer: scenes.Rgb, on: NDArray[np.bool_]) -> scenes.Rgb:
    """The layer moved so that its middle lies on the middle of ``on``, as far as it fits."""
    shifts = []
    for axis in (0, 1):
        have = np.flatnonzero((layer[..., 3] > 0.3).any(1 - axis))
        want = np.flatnonzero(on.any(1 - axis))
        if not len(have):
            return layer
        shift = round((want[0] + want[-1] - have[0] - have[-1]) / 2)
        shifts.append(int(np.clip(shift, -have[0], scenes.SIZE - 1 - have[-1])))
    return np.roll(layer, shifts, (0, 1))

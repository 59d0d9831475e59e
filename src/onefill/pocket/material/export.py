"""Stage "scenes": the small picture folders that ship with the package, in the ``--data`` layout.

``train`` feeds ``onefill train`` where no data is given; ``heldout`` is what win rates and scores
are measured on, drawn from pictures that no model was trained on. ``unseen`` asks for things in
the colours that no model was trained in, by the same pictures.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from onefill.pocket.material.pictures import Pictures, load_pictures
from onefill.pocket.material.scenes import Scene, draw_scene
from onefill.pocket.material.sources import HELD_OUT, TRAIN, Split
from onefill.pocket.material.things import Wish
from onefill.pocket.material.vocabulary import CONCEPTS, EXTEND_PROMPT, TEXT_WORDS, WORDS

COUNTS: dict[Split, dict[str, int]] = {
    TRAIN: {"fill": 300, "extend": 150, "removal": 150, "text": 80},
    HELD_OUT: {"fill": 260, "extend": 104, "removal": 104, "text": 50},
}
UNSEEN_EACH = 20
"""Scenes of every combination of thing and colour that is kept from training."""


def export_scenes(out: Path, cache: Path, seed: int, log: Callable[[str], None]) -> None:
    """Write ``out/train``, ``out/heldout`` and ``out/unseen`` anew."""
    for number, split in enumerate((TRAIN, HELD_OUT)):
        pictures, rng = load_pictures(split, cache), np.random.default_rng([seed, number])
        drawn = (
            (f"{task}-{index:03}", scene)
            for task, count in COUNTS[split].items()
            for index, scene in enumerate(_scenes(pictures, rng, task, count))
        )
        _write_folder(out / split, drawn, log, held_out=split == HELD_OUT)
        if split == HELD_OUT:
            unseen = _unseen(pictures, np.random.default_rng([seed, number + 1]))
            _write_folder(out / "unseen", unseen, log, held_out=True)


def _scenes(pictures: Pictures, rng: np.random.Generator, task: str, count: int) -> list[Scene]:
    """Every word equally often, so that a score does not hang on which were drawn."""
    words = TEXT_WORDS if task == "text" else WORDS
    return [draw_scene(pictures, rng, task, words[index % len(words)]) for index in range(count)]


def _unseen(pictures: Pictures, rng: np.random.Generator) -> Iterator[tuple[str, Scene]]:
    for concept in CONCEPTS:
        for index in range(UNSEEN_EACH if concept.unseen else 0):
            wish = Wish(concept.word, concept.unseen)
            stem = f"{concept.unseen}-{concept.word.replace(' ', '-')}-{index:02}"
            yield stem, draw_scene(pictures, rng, "fill", wished=wish)


def _write_folder(
    folder: Path,
    drawn: Iterator[tuple[str, Scene]],
    log: Callable[[str], None],
    *,
    held_out: bool,
) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    rows = [_write(folder, stem, scene, held_out=held_out) for stem, scene in drawn]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / "metadata.jsonl").write_text(lines, encoding="utf-8")
    log(f"scenes: {len(rows)} in {folder.name}")


def _write(folder: Path, stem: str, scene: Scene, *, held_out: bool) -> dict[str, Any]:
    """Save one scene and return its row.

    The picture is what a user would hand in: without the object where it is to be painted, with
    it where it is to be removed. ``truth`` is what a perfect result would show: of removals, and
    of what is held out to be measured on. Of an extension that is the picture itself.
    """
    adds = scene.task in ("fill", "text")
    picture = scene.background if adds else scene.target
    row: dict[str, Any] = {"image": f"{stem}.webp", "task": scene.task}
    if scene.task == "removal":
        picture = scene.with_object
    elif scene.prompt != EXTEND_PROMPT:
        row["prompt"] = scene.prompt
    _save(folder / row["image"], picture, lossless=held_out)
    if scene.task == "removal" or (adds and held_out):
        row["truth"] = f"{stem}-truth.webp"
        _save(folder / row["truth"], scene.target, lossless=held_out)
    if scene.task != "extend":
        row["mask"] = f"{stem}-mask.png"
        Image.fromarray(scene.mask).save(folder / row["mask"], optimize=True)
    row["word"] = scene.word
    if scene.wish is not None and scene.task == "fill":
        row["colour"], row["count"] = scene.wish.colour, scene.wish.count
    if held_out:
        row["photograph"] = scene.photograph
    return row


def _save(path: Path, picture: NDArray[np.uint8], *, lossless: bool) -> None:
    Image.fromarray(picture).save(path, lossless=lossless, quality=95, method=6)

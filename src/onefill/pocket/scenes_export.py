"""Stage "scenes": the small picture folders that ship with the package, in the ``--data`` layout.

``train`` feeds ``onefill train`` where no data is given; ``heldout`` is what win rates and scores
are measured on, drawn from pictures that no model was trained on.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from onefill.pocket.pictures import Pictures, load_pictures
from onefill.pocket.scenes import Scene, draw_scene
from onefill.pocket.sources import HELD_OUT, TRAIN, Split
from onefill.pocket.vocabulary import EXTEND_PROMPT, TEXT_WORDS, WORDS

COUNTS: dict[Split, dict[str, int]] = {
    TRAIN: {"fill": 300, "extend": 150, "removal": 150, "text": 80},
    HELD_OUT: {"fill": 250, "extend": 100, "removal": 100, "text": 48},
}


def export_scenes(out: Path, cache: Path, seed: int, log: Callable[[str], None]) -> None:
    """Write ``out/train`` and ``out/heldout`` anew."""
    for number, split in enumerate((TRAIN, HELD_OUT)):
        folder = out / split
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        pictures = load_pictures(split, cache)
        rng = np.random.default_rng([seed, number])
        rows = [
            _write(folder, f"{task}-{index:03}", scene, lossless=split == HELD_OUT)
            for task, count in COUNTS[split].items()
            for index, scene in enumerate(_scenes(pictures, rng, task, count))
        ]
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / "metadata.jsonl").write_text(lines, encoding="utf-8")
        log(f"scenes: {len(rows)} in {split}")


def _scenes(pictures: Pictures, rng: np.random.Generator, task: str, count: int) -> list[Scene]:
    """Every word equally often, so that a score does not hang on which were drawn."""
    words = TEXT_WORDS if task == "text" else WORDS
    return [draw_scene(pictures, rng, task, words[index % len(words)]) for index in range(count)]


def _write(folder: Path, stem: str, scene: Scene, *, lossless: bool) -> dict[str, Any]:
    """Save one scene and return its row.

    The picture is what a user would hand in: without the object where it is to be painted, with
    it where it is to be removed. ``truth`` is what a perfect result would show, where there is
    one.
    """
    adds = scene.task in ("fill", "text")
    picture = scene.background if adds else scene.target
    row: dict[str, Any] = {"image": f"{stem}.webp", "task": scene.task}
    if scene.task == "removal":
        picture = scene.with_object
        _save(folder / f"{stem}-truth.webp", scene.background, lossless=lossless)
        row["truth"] = f"{stem}-truth.webp"
    elif scene.prompt != EXTEND_PROMPT:
        row["prompt"] = scene.prompt
    _save(folder / row["image"], picture, lossless=lossless)
    if scene.task != "extend":
        row["mask"] = f"{stem}-mask.png"
        Image.fromarray(scene.mask).save(folder / row["mask"], optimize=True)
    row["word"] = scene.word
    return row


def _save(path: Path, picture: NDArray[np.uint8], *, lossless: bool) -> None:
    Image.fromarray(picture).save(path, lossless=lossless, quality=95, method=6)

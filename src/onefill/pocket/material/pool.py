"""A pool of scenes drawn once, kept on disk, and read by every training stage."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onefill.pocket.material.pictures import Pictures, load_pictures
from onefill.pocket.material.scenes import SQUARE, Scene, Shape, draw_scene
from onefill.pocket.material.sources import Split
from onefill.pocket.material.things import draw_coloured_wish
from onefill.pocket.material.vocabulary import HUES

COLOURED = "coloured"
"""Fills of things that come in colours, in a colour asked for."""


@dataclass(frozen=True)
class Pool:
    """N scenes as arrays.

    Attributes:
        targets: uint8 (N, height, width, 3); masks: bool (N, height, width).
        prompts, tasks, words: N strings each.
        kinds: N strings, a task or ``COLOURED``.

    """

    targets: NDArray[np.uint8]
    masks: NDArray[np.bool_]
    prompts: list[str]
    tasks: list[str]
    words: list[str]
    kinds: list[str]

    def __len__(self) -> int:
        return len(self.prompts)


def draw_pool(
    split: Split,
    count: int,
    seed: int,
    cache: Path,
    kind: str | None = None,
    shape: Shape = SQUARE,
) -> Pool:
    """``count`` scenes of one split and shape, from the cache where they were drawn before.

    All are of one kind, a task or ``COLOURED``, or else drawn as they come. The same arguments
    give the same scenes on the same machine.
    """
    stem = cache / f"pool-{pool_name(split, kind, shape)}-{count}-{seed}"
    arrays, texts = stem.with_suffix(".npz"), stem.with_suffix(".json")
    if not texts.exists():
        pictures, rng = load_pictures(split, cache), np.random.default_rng(seed)
        targets = np.empty((count, *shape, 3), np.uint8)
        masks = np.empty((count, *shape), bool)
        rows = []
        for index in range(count):
            scene = _draw(pictures, rng, kind, shape)
            targets[index], masks[index] = scene.target, scene.mask
            rows.append((scene.prompt, scene.task, scene.word))
        cache.mkdir(parents=True, exist_ok=True)
        np.savez(arrays, targets=targets, masks=masks)
        # Written last: its presence says that the arrays are whole.
        texts.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    loaded = np.load(arrays)
    prompts, tasks, words = zip(*json.loads(texts.read_text(encoding="utf-8")), strict=True)
    kinds = [
        COLOURED if task == "fill" and HUES.keys() & prompt.split() else task
        for prompt, task in zip(prompts, tasks, strict=True)
    ]
    return Pool(loaded["targets"], loaded["masks"], list(prompts), list(tasks), list(words), kinds)


def pool_name(split: Split, kind: str | None, shape: Shape) -> str:
    """What a pool, and whatever is made from it, is called on disk."""
    size = () if shape == SQUARE else (f"{shape[1]}x{shape[0]}",)
    return "-".join((split, kind or "all", *size))


def _draw(pictures: Pictures, rng: np.random.Generator, kind: str | None, shape: Shape) -> Scene:
    if kind == COLOURED:
        return draw_scene(pictures, rng, "fill", wished=draw_coloured_wish(rng), shape=shape)
    return draw_scene(pictures, rng, task=kind, shape=shape)

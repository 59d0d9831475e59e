"""The embedded scenes as material: whole edits, whose background and object are known apart."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from onefill.data.source import Part
from onefill.images import read_image, read_mask
from onefill.pairs import lettering
from onefill.pairs.lettering import Fonts
from onefill.pairs.subject import ALIGNMENT, REMOVAL, STRUCTURE, Layer, Subject, bounds, grey_out
from onefill.pocket import embedded
from onefill.pocket.contests.damage_canvas import Canvas, numbers
from onefill.pocket.material import vocabulary
from onefill.pocket.material.scenes import Rgb, composite, to_bytes
from onefill.tasks.types import Mask, Task

_FILL, _EXTEND, _TEXT = "fill", "extend", "text"
_COVERED = 0.6
_TRIES = 60


@dataclass(frozen=True)
class _Scene:
    name: str
    task: str
    word: str
    prompt: str | None
    image: Path
    mask: Path | None
    truth: Path | None

    @cached_property
    def shown(self) -> Rgb:
        return numbers(read_image(self.image))

    @cached_property
    def truth_shown(self) -> Rgb:
        assert self.truth is not None
        return numbers(read_image(self.truth))

    @cached_property
    def region(self) -> Mask:
        assert self.mask is not None
        return read_mask(self.mask, (self.shown.shape[1], self.shown.shape[0]))

    @cached_property
    def layer(self) -> Layer:
        """The object of a removal scene, cut out: what differs from the scene without it."""
        matte = Canvas(self.shown, self.truth_shown, self.region).matte * self.region[..., None]
        return np.concatenate([self.shown, matte], -1)


class EmbeddedScenes:
    """Edits put together from the embedded scenes.

    Each removal scene is there with its object and without: the object pasted on the background
    of a fill scene is a good fill, the scene without it a good removal.
    """

    def __init__(self, part: Part, fonts: Fonts) -> None:
        folder = embedded.scenes("heldout" if part == "heldout" else "train")
        self._fonts = fonts
        self._scenes: dict[str, list[_Scene]] = {}
        for line in (folder / "metadata.jsonl").read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            mask, truth = (folder / row[key] if key in row else None for key in ("mask", "truth"))
            scene = _Scene(
                row["image"], row["task"], row["word"],
                None if row.get("colour") or row.get("count", 1) > 1 else row.get("prompt"),
                folder / row["image"], mask, truth,
            )  # fmt: skip
            self._scenes.setdefault(scene.task, []).append(scene)
        self._objects: dict[str, list[_Scene]] = {}
        for scene in self._scenes["removal"]:
            self._objects.setdefault(scene.word, []).append(scene)
        self._words = sorted(
            {scene.word for scene in self._scenes[_TEXT] if fonts.able(scene.word)}
        )

    def fingerprint(self) -> str:
        """A short hash of the words that can be written; the scenes are always the same."""
        return f"{zlib.crc32(repr(self._words).encode()):08x}"

    def why_not(self, task: Task, dimension: str) -> str | None:
        """Why there is no subject for a dimension of a task; None if there is."""
        if task.name == _TEXT and not self._words:
            return "no word of the scenes can be written with --fonts"
        return None

    @property
    def unwritten(self) -> list[str]:
        """Words of the text scenes that the fonts lack characters for."""
        return sorted({s.word for s in self._scenes[_TEXT]} - set(self._words))

    def subject(self, task: Task, dimension: str, rng: np.random.Generator) -> Subject:
        """Draw a scene and put a good result of ``task`` together."""
        if task.name == _TEXT:
            return self._written(task, rng)
        if any(d.name == REMOVAL for d in task.dimensions):
            return self._removed(task, rng)
        if task.name == _FILL:
            return self._filled(task, rng)
        if task.name == _EXTEND and dimension not in (ALIGNMENT, STRUCTURE):
            return self._extended(task, rng)
        return self._masked_anew(task, rng)

    def other(self, subject: Subject, rng: np.random.Generator) -> Layer:
        """The drawing of another word, where the subject was painted."""
        asked = (subject.words or "").casefold()
        words = [word for word in self._objects if word not in asked]
        layer = self._object(str(rng.choice(words)), rng).layer
        return _placed(layer, _focus(subject), subject.mask, rng)

    def _object(self, word: str, rng: np.random.Generator) -> _Scene:
        having = self._objects[word]
        return having[int(rng.integers(len(having)))]

    def _draw(self, task: str, rng: np.random.Generator) -> _Scene:
        scenes = self._scenes[task]
        return scenes[int(rng.integers(len(scenes)))]

    def _filled(self, task: Task, rng: np.random.Generator) -> Subject:
        if rng.random() < 0.3:
            scene = self._draw("removal", rng)
            background, clean = scene.truth_shown, scene.shown
            words = scene.word if rng.random() < 0.5 else vocabulary.with_article(scene.word)
        else:
            scene = self._draw(_FILL, rng)
            background, words = scene.shown, scene.prompt or scene.word
            layer = _placed(self._object(scene.word, rng).layer, scene.region, scene.region, rng)
            clean = composite(background, layer)
        return Subject(
            task, words, scene.name, clean, scene.region, to_bytes(background), background
        )

    def _removed(self, task: Task, rng: np.random.Generator) -> Subject:
        scene = self._draw("removal", rng)
        return Subject(
            task, None, scene.name, scene.truth_shown, scene.region, to_bytes(scene.shown),
            gone=scene.layer,
        )  # fmt: skip

    def _extended(self, task: Task, rng: np.random.Generator) -> Subject:
        scene = self._draw(_EXTEND, rng)
        mask = task.draw_mask(Image.fromarray(to_bytes(scene.shown)), rng)
        source = grey_out(scene.shown, mask)
        return Subject(task, scene.prompt, scene.name, scene.shown, mask, source)

    def _masked_anew(self, task: Task, rng: np.random.Generator) -> Subject:
        """A scene with an object, and a region the task draws that holds most of the object."""
        best = -1.0
        for _ in range(_TRIES):
            drawn = self._draw("removal", rng)
            region = task.draw_mask(Image.fromarray(to_bytes(drawn.shown)), rng)
            matte = drawn.layer[..., 3]
            covered = float(matte[region].sum()) / float(matte.sum())
            if covered > best:
                best, scene, mask = covered, drawn, region
            if best >= _COVERED:
                break
        words = vocabulary.with_article(scene.word)
        clean = scene.shown
        background = np.where(mask[..., None], scene.truth_shown, clean).astype(np.float32)
        return Subject(task, words, scene.name, clean, mask, grey_out(clean, mask), background)

    def _written(self, task: Task, rng: np.random.Generator) -> Subject:
        scene = self._draw(_TEXT, rng)
        word = scene.word if scene.word in self._words else str(rng.choice(self._words))
        write = lettering.open_writing(
            scene.shown, scene.region, word, self._fonts.able(word), int(rng.integers(2**62))
        )
        return Subject(
            task, word, scene.name, write(word, False), scene.region, to_bytes(scene.shown),
            scene.shown, write, tuple(self._words),
        )  # fmt: skip


def _focus(subject: Subject) -> Mask:
    """Where the thing is that was asked for, or the whole region."""
    if subject.background is None:
        return subject.mask
    seen = (subject.canvas.matte[..., 0] > 0.5) & subject.mask
    return seen if seen.sum() > 20 else subject.mask


def _placed(layer: Layer, on: Mask, within: Mask, rng: np.random.Generator) -> Layer:
    """The object of a layer brought to fit the place that ``on`` has, in its own proportions.

    What would stand beyond ``within`` is cut off, as an edit cuts it off.
    """
    source, place = bounds(layer[..., 3] > 0.3), bounds(on)
    cut = Image.fromarray(to_bytes(layer[source]), "RGBA")
    room = (place[1].stop - place[1].start, place[0].stop - place[0].start)
    scale = min(room[0] / cut.width, room[1] / cut.height) * rng.uniform(0.88, 1)
    size = (max(1, round(cut.width * scale)), max(1, round(cut.height * scale)))
    cut = cut.resize(size, Image.Resampling.LANCZOS)
    if rng.random() < 0.5:
        cut = cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    whole = Image.new("RGBA", on.shape[::-1])
    corner = (
        place[1].start + (room[0] - size[0]) // 2, place[0].start + (room[1] - size[1]) // 2
    )  # fmt: skip
    whole.paste(cut, corner)
    placed = numbers(whole)
    placed[~within, 3] = 0
    return placed

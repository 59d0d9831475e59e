"""Edits by a policy on held-out scenes it never trained on, as one labelled picture.

Scenes and noise follow from the seed alone; nothing is chosen by eye. Of scenes that ask for the
same thing the first is taken, as long as there are others.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from onefill.data.sample import Sample
from onefill.data.source import SampleSource, open_source
from onefill.images import array_to_image
from onefill.pocket import embedded
from onefill.pocket.material.vocabulary import ARTICLES
from onefill.policy.flux_fill import FluxFillPolicy
from onefill.policy.sampler import Sampling
from onefill.rl.batch import Batch, make_batch
from onefill.rl.rollout import painted
from onefill.tasks.registry import load_tasks

COUNTS = {"fill": 16, "removal": 6, "extend": 6, "text": 4}
COLUMNS = ("picture", "masked", "result")

# Names under which systems keep a font with Chinese characters; Pillow looks in their folders.
_CHINESE_FONTS = (
    *("NotoSansCJK-Regular.ttc", "NotoSansSC-Regular.otf", "SourceHanSansSC-Regular.otf"),
    *("wqy-microhei.ttc", "wqy-zenhei.ttc", "DroidSansFallbackFull.ttf", "uming.ttc"),
    *("PingFang.ttc", "Hiragino Sans GB.ttc", "STHeiti Light.ttc", "msyh.ttc", "simsun.ttc"),
)
_SMALLEST, _LARGEST = 128, 256
_GAP, _SPACE, _TEXT, _ACROSS, _BATCH = 4, 20, 14, 4, 8
_PAPER, _INK, _FAINT = (255, 255, 255), (20, 20, 20), (110, 110, 110)

Label = tuple[str, ImageFont.FreeTypeFont | ImageFont.ImageFont]


@dataclass(frozen=True)
class Case:
    """One edit: its label, and three pictures of shape (3, H, W) in [0, 1] as in ``COLUMNS``."""

    label: str
    pictures: tuple[NDArray[np.float32], ...]


def choose_samples(source: SampleSource, task: str, count: int, size: int) -> list[Sample]:
    """The first samples of a task, each asking for something else where there is enough."""
    samples = source.batch(task, 0, source.count(task), size)
    seen: set[str] = set()
    new: list[Sample] = []
    again: list[Sample] = []
    for sample in samples:
        thing = _without_article(sample.words)
        (again if thing in seen else new).append(sample)
        if thing:
            seen.add(thing)
    return [*new, *again][:count]


def _without_article(words: str | None) -> str:
    return " ".join(word for word in (words or "").split() if word not in ARTICLES)


def paint_cases(policy: FluxFillPolicy, batch: Batch, seed: int) -> Iterator[Case]:
    """Paint a batch and put every result under its mask, as an edit does."""
    sampler = Sampling().settle(policy, batch.task.name)
    for start in range(0, len(batch), _BATCH):
        places = range(start, min(start + _BATCH, len(batch)))
        part = batch.select(places)
        conditions = policy.encode(part.images, part.masks, part.prompts)
        generators = [torch.Generator().manual_seed(1000 * seed + place) for place in places]
        noise = policy.noise(conditions, generators)
        whole = painted(policy, part, conditions, noise, sampler)
        results = part.finish(whole, detail=sampler.detail, pieces=sampler.pieces)
        masked = torch.where(part.masks.bool(), 0.5, part.images)  # grey: what the model is shown
        for prompt, *pictures in zip(part.prompts, part.images, masked, results, strict=True):
            label = f"{part.task.name}: {prompt}"
            yield Case(label, tuple(picture.cpu().numpy() for picture in pictures))


def contact_sheet(
    policy: FluxFillPolicy, name: str, seed: int, counts: Mapping[str, int] | None = None
) -> Image.Image:
    """Edits of the embedded held-out scenes under one heading.

    Args:
        policy: who paints.
        name: of the policy, for the heading.
        seed: of scenes and noise.
        counts: how many edits of each task; None for ``COUNTS``.
    """
    counts = COUNTS if counts is None else counts
    tasks = {task: load_tasks().get(task) for task in counts}
    source = open_source(embedded.scenes("heldout"), list(tasks.values()), seed)
    cases: list[Case] = []
    for task, described in tasks.items():
        samples = choose_samples(source, task, counts[task], policy.settings.size)
        cases += paint_cases(policy, make_batch(described, samples, policy.device), seed)
    title = f"onefill, model {name}: held-out scenes, seed {seed}, painted as an edit paints them"
    return draw_sheet(title, cases, find_font())


def find_font() -> ImageFont.FreeTypeFont | None:
    """A font with Chinese characters that this system has, or None."""
    for name in _CHINESE_FONTS:
        try:
            return ImageFont.truetype(name, _TEXT)
        except OSError:
            continue
    return None


def label_of(text: str, chinese: ImageFont.FreeTypeFont | None) -> Label:
    """What is drawn for a text, and with which font: code points where no font has the signs."""
    if text.isascii() or chinese is None:
        return " ".join(map(_code_points, text.split())), ImageFont.load_default(_TEXT)
    return text, chinese


def _code_points(word: str) -> str:
    return word if word.isascii() else " ".join(f"U+{ord(sign):04X}" for sign in word)


def draw_sheet(
    title: str, cases: list[Case], chinese: ImageFont.FreeTypeFont | None
) -> Image.Image:
    """All cases in a grid, column after column of three pictures under one label."""
    plain = ImageFont.load_default(_TEXT)
    side = min(max(cases[0].pictures[0].shape[-1], _SMALLEST), _LARGEST)
    across = min(_ACROSS, len(cases))
    width = len(COLUMNS) * (side + _GAP) - _GAP + _SPACE
    height = _TEXT + 2 * _GAP + side + _SPACE
    top = 2 * (_TEXT + 2 * _GAP) + _SPACE
    size = (_SPACE + across * width, top + math.ceil(len(cases) / across) * height)
    sheet = Image.new("RGB", size, _PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((_SPACE, _SPACE // 2), title, _INK, plain)
    for place in range(across * len(COLUMNS)):
        group, column = divmod(place, len(COLUMNS))
        x = _SPACE + group * width + column * (side + _GAP)
        pen.text((x, top - _TEXT - 2 * _GAP), COLUMNS[column], _FAINT, plain)
    for number, case in enumerate(cases):
        row, group = divmod(number, across)
        x, y = _SPACE + group * width, top + row * height
        text, font = label_of(case.label, chinese)
        pen.text((x, y), text, _INK, font)
        for column, picture in enumerate(case.pictures):
            cell = array_to_image(picture).resize((side, side), Image.Resampling.BICUBIC)
            sheet.paste(cell, (x + column * (side + _GAP), y + _TEXT + 2 * _GAP))
    return sheet

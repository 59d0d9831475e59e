"""Restore: paint over the scratches and dust of a scanned photograph."""

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from onefill.tasks.hookspecs import hookimpl
from onefill.tasks.types import Dimension, Mask, MaskOptions, PromptTemplate, Task


def damage(image: Image.Image, rng: np.random.Generator, options: MaskOptions) -> Mask:
    """The bright, thin damage of a scan; on a clean picture, scratches and dust to train on."""
    grey = image.convert("L")
    opened = grey.filter(ImageFilter.MinFilter(5)).filter(ImageFilter.MaxFilter(5))
    thin_and_bright = np.asarray(ImageChops.subtract(grey, opened)) > 60
    if 0.002 < thin_and_bright.mean() < 0.1:
        return _widened(Image.fromarray(thin_and_bright))
    return _widened(_scratches_and_dust(image.size, rng))


def _scratches_and_dust(size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    canvas = Image.new("1", size)
    pen = ImageDraw.Draw(canvas)
    for _ in range(rng.integers(2, 5)):
        start, end = rng.uniform((0, 0), size), rng.uniform((0, 0), size)
        pen.line([*start, *end], fill=1, width=max(1, min(size) // 64))
    for x, y in rng.uniform((0, 0), size, (rng.integers(4, 12), 2)):
        radius = rng.uniform(0.005, 0.02) * min(size)
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=1)
    return canvas


def _widened(canvas: Image.Image) -> Mask:
    return np.asarray(canvas.convert("L").filter(ImageFilter.MaxFilter(3))) > 0


@hookimpl
def onefill_tasks() -> list[Task]:
    """The restore task."""
    questions = {
        "consistency": "Do the repaired places fit what surrounds them, with no visible seam?",
        "cleanness": "Are all scratches and specks gone, with nothing else changed?",
    }
    return [
        Task(
            name="restore",
            summary="Repair scratches and dust on a scanned photograph",
            masks=damage,
            prompt=PromptTemplate(with_words="remove", without_words="remove"),
            dimensions=tuple(Dimension(name=n, question=q) for n, q in questions.items()),
        )
    ]

"""A small network that names the object inside a mask: the ruler for fills, no part of a model.

It is trained apart from policy and judge, on composites alone, so that what it says of a fill
is no opinion of the judge's. A ruler should know what it measures: it has seen the drawings that
are held out from policy and judge too, though not the photographs behind them.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file, save
from torch import Tensor, nn
from torch.nn import functional

from onefill.files import replace_bytes
from onefill.pocket.material.pool import Pool, draw_pool
from onefill.pocket.material.sources import HELD_OUT, RULER
from onefill.pocket.material.vocabulary import WORDS
from onefill.pocket.training_plan import Plan
from onefill.pocket.training_stage import Losses, run_stage

VIEW = 40
"""Side in pixels of what the classifier sees: the mask's box and a little round it."""

_POOL_SIZE, _HELD_OUT, _BATCH, _PEAK_RATE = 32_768, 1000, 64, 2e-3


class Classifier(nn.Module):
    """A plain convolutional network over (B, 3, VIEW, VIEW) in [0, 1] with one logit a word."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 32, 64, 96, 128)
        self.layers = nn.Sequential()
        for before, after in pairwise(widths):
            self.layers.append(nn.Conv2d(before, after, 3, padding=1, bias=False))
            self.layers.append(nn.BatchNorm2d(after))
            self.layers.append(nn.ReLU())
            self.layers.append(nn.MaxPool2d(2, ceil_mode=True))
        self.head = nn.Linear(widths[-1], len(WORDS))

    def forward(self, views: Tensor) -> Tensor:
        """Logits (B, words)."""
        logits: Tensor = self.head(self.layers(views * 2 - 1).mean((2, 3)))
        return logits

    @torch.no_grad()
    def look(self, views: Tensor) -> Tensor:
        """The mean of the logits (B, words) for the views and their mirror images.

        A thing has the same name in a mirror, and two looks err less often than one.
        """
        logits: Tensor = (self(views) + self(views.flip(3))) / 2
        return logits


def view(picture: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """The square round a mask, uint8 (VIEW, VIEW, 3), from a picture (H, W, 3)."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    height, width = mask.shape
    side = min(max(np.ptp(rows), np.ptp(columns)) + 1 + 4, height, width)
    top = int(np.clip((rows[0] + rows[-1] + 1 - side) // 2, 0, height - side))
    left = int(np.clip((columns[0] + columns[-1] + 1 - side) // 2, 0, width - side))
    crop = Image.fromarray(picture[top : top + side, left : left + side])
    return np.asarray(crop.resize((VIEW, VIEW), Image.Resampling.BILINEAR))


def views_of(pictures: NDArray[np.uint8], masks: NDArray[np.bool_]) -> Tensor:
    """Views (N, 3, VIEW, VIEW) in [0, 1] of pictures (N, H, W, 3)."""
    seen = np.stack([view(p, m) for p, m in zip(pictures, masks, strict=True)])
    return torch.from_numpy(seen).permute(0, 3, 1, 2).float() / 255


def _fills(pool: Pool) -> tuple[Tensor, Tensor]:
    labels = torch.tensor([WORDS.index(word) for word in pool.words])
    return views_of(pool.targets, pool.masks), labels


def train_classifier(out: Path, plan: Plan) -> None:
    """Train on composites of all drawings on training photographs, and save to ``out``.

    A training that was stopped goes on from its state in the cache.

    Raises:
        OnefillError: pictures could not be fetched.
    """
    views, labels = _fills(draw_pool(RULER, _POOL_SIZE, plan.seed + 1, plan.cache, "fill"))
    held_out = _fills(draw_pool(HELD_OUT, _HELD_OUT, plan.seed + 2, plan.cache, "fill"))
    torch.manual_seed(plan.seed)
    model = Classifier().to(plan.device)

    def draw(rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        rows = torch.randint(len(views), (_BATCH * plan.batches,), generator=generator)
        return _augment(views[rows], generator), labels[rows]

    def losses_of(drawn: tuple[Tensor, Tensor], _: object) -> Losses:
        seen, named = drawn
        with plan.quick():
            logits = model.train()(seen)
        return {"names": functional.cross_entropy(logits.float(), named, label_smoothing=0.05)}

    def measure() -> dict[str, float]:
        accuracy = classifier_accuracy(model.eval(), *plan.put(held_out))
        return {"held-out composites named": accuracy}

    run_stage(
        "classifier", "classifier-state", {"model": model},
        [torch.optim.AdamW(model.parameters(), lr=_PEAK_RATE, weight_decay=0.02)],
        draw, losses_of, measure, plan,
    )  # fmt: skip
    out.parent.mkdir(parents=True, exist_ok=True)
    tensors = {key: value.cpu().contiguous() for key, value in model.state_dict().items()}
    replace_bytes(out, save(tensors))


def _augment(views: Tensor, draw: torch.Generator) -> Tensor:
    """Shifts, flips, blur, noise and light: fills are softer and noisier than composites."""

    def random(*shape: int) -> Tensor:
        return torch.rand(shape, generator=draw)

    if random() < 0.5:
        views = views.flip(3)
    shift = torch.randint(-3, 4, (2,), generator=draw).tolist()
    views = views.roll(shift, (2, 3))
    if random() < 0.5:
        factor = 0.35 + 0.55 * float(random())
        small = functional.interpolate(views, scale_factor=factor, mode="area")
        views = functional.interpolate(small, size=(VIEW, VIEW), mode="bilinear")
    noise = torch.randn(views.shape, generator=draw) * random(len(views), 1, 1, 1) * 0.08
    light = 1 + 0.3 * (random(len(views), 1, 1, 1) - 0.5)
    return ((views + noise) * light).clamp(0, 1)


def load_classifier(path: Path) -> Classifier:
    """A classifier that ``train_classifier`` saved, ready to name."""
    model = Classifier()
    model.load_state_dict(load_file(path))
    return model.eval()


def classifier_accuracy(model: Classifier, views: Tensor, labels: Tensor) -> float:
    """Share in [0, 1] of views (N, 3, VIEW, VIEW) that the model names as labels (N,) say."""
    named = torch.cat([model.look(part).argmax(1) for part in views.split(250)])
    return float((named == labels).float().mean())

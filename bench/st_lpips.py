"""How far apart two pictures look: a learned distance, for the benchmarks.

This is ST-LPIPS, the shift-tolerant LPIPS of Ghildyal and Liu (ECCV 2022, "Shift-tolerant
Perceptual Similarity Metric"), in its AlexNet variant: LPIPS (Zhang et al. 2018, "The Unreasonable
Effectiveness of Deep Features as a Perceptual Metric", Eq. 1) on features that a blur of 3 x 3 goes
before wherever the grid gets coarser. Its values are not those of the first LPIPS and compare with
one another only. The weights are in a package, whose own code asks for torchvision and is not run:

    pip install --no-deps stlpips-pytorch
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

LEAST_SIDE = 64
"""Pixels: the side of the patches that its weights were fitted to; smaller pictures are too small.
"""

_PACKAGE = "stlpips_pytorch"
_WEIGHTS = "weights/vST0.0/alex_shift_tolerant.pth"
_BLUR = 2  # pixels of reflected border before a blur, twice what its kernel needs


def find_weights() -> Path | None:
    """The weight file of the installed package; None without it."""
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        return None
    file = Path(spec.origin).parent / _WEIGHTS
    return file if file.is_file() else None


class StLpips:
    """The distance of two pictures."""

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        """Take the tensors of the file, by the names that they have in it."""
        self._weights = weights

    @classmethod
    def from_file(cls, file: Path) -> StLpips:
        """The distance with the weights of a file."""
        return cls(torch.load(file, map_location="cpu", weights_only=True))

    @torch.no_grad()
    def __call__(self, one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
        """0 for equal pictures, and more the less alike they look.

        Args:
            one: (H, W, 3), both sides ``LEAST_SIDE`` or longer.
            other: likewise.
        """
        weights = self._weights
        distance = 0.0
        layers = zip(self._features(one), self._features(other), strict=True)
        for number, (first, second) in enumerate(layers):
            squared = (F.normalize(first) - F.normalize(second)) ** 2
            distance += float(F.conv2d(squared, weights[f"lin{number}.model.1.weight"]).mean())
        return distance

    def _features(self, pixels: NDArray[np.uint8]) -> Iterator[Tensor]:
        """What follows each of the five layers, (1, channels, h, w)."""
        weights = self._weights
        values = torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1)[None] / 127.5 - 1
        values = (values - weights["scaling_layer.shift"]) / weights["scaling_layer.scale"]
        values = self._blur(self._convolve(values, "net.slice1.0", padding=2), "net.slice1.1")
        yield (values := F.relu(values))
        values = self._blur(F.max_pool2d(values, 3, stride=1), "net.slice2.4")
        yield (values := F.relu(self._convolve(values, "net.slice2.5", padding=2)))
        values = self._blur(F.max_pool2d(values, 3, stride=1), "net.slice3.8")
        yield (values := F.relu(self._convolve(values, "net.slice3.9", padding=1)))
        yield (values := F.relu(self._convolve(values, "net.slice4.11", padding=1)))
        yield F.relu(self._convolve(values, "net.slice5.13", padding=1))

    def _convolve(self, values: Tensor, name: str, *, padding: int) -> Tensor:
        weights = self._weights
        return F.conv2d(values, weights[f"{name}.weight"], weights[f"{name}.bias"], padding=padding)

    def _blur(self, values: Tensor, name: str) -> Tensor:
        """Blurred, and every second pixel of it."""
        kernel = self._weights[f"{name}.filt"]
        padded = F.pad(values, (_BLUR,) * 4, mode="reflect")
        return F.conv2d(padded, kernel, stride=2, groups=len(kernel))

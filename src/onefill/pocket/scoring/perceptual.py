"""How far apart two pictures look: ST-LPIPS, a learned distance.

The shift-tolerant LPIPS of Ghildyal and Liu (ECCV 2022, "Shift-tolerant Perceptual Similarity
Metric") in its AlexNet variant: LPIPS (Zhang et al. 2018, "The Unreasonable Effectiveness of Deep
Features as a Perceptual Metric", Eq. 1) on features that are blurred wherever their grid gets
coarser. Its values are not those of the first LPIPS and compare with one another only.

The weights lie in the package ``stlpips-pytorch``, whose own code asks for torchvision and is
neither run nor copied. They were fitted to patches of 64 pixels, the size of a scene.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from onefill.errors import BadInput

Perceptual = Callable[[Tensor, Tensor], Tensor]
"""Two batches of pictures (B, 3, H, W) in [0, 1] to their distance at every pixel (B, H, W)."""

# A difference that nobody sees: noise of two grey levels, in squared error and in ST-LPIPS.
_LEAST_ERROR, _LEAST_DISTANCE = (2 / 255) ** 2, 4e-4

_PACKAGE, _WEIGHTS = "stlpips_pytorch", "weights/vST0.0/alex_shift_tolerant.pth"
_BORDER = 2  # pixels reflected before a blur of 3 x 3
_BATCH = 16


def find_weights() -> Path | None:
    """The weight file of the installed package, which is not imported; None without it."""
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        return None
    file = Path(spec.origin).parent / _WEIGHTS
    return file if file.is_file() else None


@cache
def load_perceptual(device: torch.device | str = "cpu") -> StLpips:
    """The distance with the weights of the installed package, computed on a device; read once.

    Raises:
        BadInput: the package is not installed.
    """
    file = find_weights()
    if file is None:
        raise BadInput("LPIPS: needs stlpips-pytorch; install with pip install 'onefill[score]'")
    return StLpips(torch.load(file, map_location=device, weights_only=True))


def decibels_apart(looks: Perceptual, shown: Tensor, true: Tensor) -> Tensor:
    """How far pictures (B, 3, H, W) in [0, 1] are from the true ones, in decibels, (B,).

    The mean of two: squared error, and the perceptual distance.
    """
    error = (shown - true).square().mean((1, 2, 3)) + _LEAST_ERROR
    distance = looks(shown, true).mean((1, 2)) + _LEAST_DISTANCE
    return 5 * torch.log10(error) + 5 * torch.log10(distance)


class StLpips:
    """The distance with given weights.

    Args:
        weights: the tensors of the package's file, by the names they have in it.
    """

    def __init__(self, weights: Mapping[str, Tensor]) -> None:
        self._weights = weights

    @torch.no_grad()
    def __call__(self, first: Tensor, second: Tensor) -> Tensor:
        """The distance at every pixel: 0 for equal pictures, and more the less alike they look.

        Args:
            first: (B, 3, H, W) in [0, 1], both sides at least 31 pixels.
            second: likewise.

        Returns:
            (B, H, W), at least 0; its mean over a picture is that picture's distance.
        """
        pairs = zip(first.split(_BATCH), second.split(_BATCH), strict=True)
        return torch.cat([self.between(*pair) for pair in pairs])

    def between(self, first: Tensor, second: Tensor) -> Tensor:
        """The same of few pictures, computed at once, and gradient flows back to both."""
        size = first.shape[-2:]
        whole = first.new_zeros(len(first), 1, *size)
        layers = zip(self._features(first), self._features(second), strict=True)
        for number, (one, other) in enumerate(layers):
            apart = (functional.normalize(one) - functional.normalize(other)) ** 2
            weighed = functional.conv2d(apart, self._weights[f"lin{number}.model.1.weight"])
            whole += functional.interpolate(weighed, size, mode="bilinear")
        return whole[:, 0]

    def _features(self, pictures: Tensor) -> Iterator[Tensor]:
        """What follows each of the five convolutions of AlexNet, (B, channels, h, w)."""
        weights = self._weights
        values = (2 * pictures - 1 - weights["scaling_layer.shift"]) / weights[
            "scaling_layer.scale"
        ]
        values = self._blur(self._convolve(values, "net.slice1.0", 2), "net.slice1.1")
        yield (values := values.relu())
        values = self._blur(functional.max_pool2d(values, 3, stride=1), "net.slice2.4")
        yield (values := self._convolve(values, "net.slice2.5", 2).relu())
        values = self._blur(functional.max_pool2d(values, 3, stride=1), "net.slice3.8")
        yield (values := self._convolve(values, "net.slice3.9", 1).relu())
        yield (values := self._convolve(values, "net.slice4.11", 1).relu())
        yield self._convolve(values, "net.slice5.13", 1).relu()

    def _convolve(self, values: Tensor, name: str, padding: int) -> Tensor:
        weight, bias = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
        return functional.conv2d(values, weight, bias, padding=padding)

    def _blur(self, values: Tensor, name: str) -> Tensor:
        """Blurred, and every second pixel of it."""
        kernel = self._weights[f"{name}.filt"]
        padded = functional.pad(values, (_BORDER,) * 4, mode="reflect")
        return functional.conv2d(padded, kernel, stride=2, groups=len(kernel))

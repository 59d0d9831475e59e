"""How pictures are changed a little before a judge looks, so that a trick must be robust to pay.

A gradient through a network finds changes no eye can see that move its answer. Few of them survive
noise and a shift by a pixel, which leave what people judge where it was (Szegedy et al. 2014 on the
tricks, Athalye et al. 2018 on averaging over transformations).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from onefill.rl.config import RewardConfig
from onefill.rl.randomness import Purpose, draw_seed, noise_generators


@dataclass(frozen=True)
class Jitter:
    """One change, the same for all pictures of a step but for the noise.

    Attributes:
        noise: standard deviation, in units of [0, 1].
        right: pixels that the picture moves to the right; negative to the left.
        down: and downwards.
        scale: factor of its size.
    """

    noise: float
    right: int
    down: int
    scale: float


def draw_jitter(config: RewardConfig, seed: int, step: int) -> Jitter:
    """The change of update ``step``; it follows from seed and step alone."""
    rng = np.random.default_rng(draw_seed(seed, Purpose.JITTER, step))
    right, down = (int(n) for n in rng.integers(-config.shift, config.shift + 1, 2))
    return Jitter(config.noise, right, down, 1 + config.resize * float(rng.uniform(-1, 1)))


def jittered(
    images: Tensor, jitter: Jitter, generators: list[torch.Generator] | None = None
) -> Tensor:
    """Pictures (B, 3, H, W) in [0, 1] changed by ``jitter``: the same shape, differentiable.

    What leaves the frame is gone; what comes in repeats the picture's border.

    Args:
        images: the pictures.
        jitter: how they are changed.
        generators: of the noise, one for each picture; needed where there is noise.
    """
    height, width = images.shape[-2:]
    seen = images
    if jitter.scale != 1:
        size = [max(1, round(jitter.scale * height)), max(1, round(jitter.scale * width))]
        seen = F.interpolate(seen, size, mode="bilinear", antialias=True, align_corners=False)
    top = (height - seen.shape[-2]) // 2 + jitter.down
    left = (width - seen.shape[-1]) // 2 + jitter.right
    seen = _placed(seen, left, top, width, height)
    if jitter.noise:
        noise = torch.stack([torch.randn(seen.shape[1:], generator=g) for g in generators or []])
        seen = (seen + jitter.noise * noise.to(seen)).clamp(0, 1)
    return seen


def jitter_generators(seed: int, step: int, places: range, which: int) -> list[torch.Generator]:
    """The generators of the noise on the first (0) or second (1) picture of each place."""
    return noise_generators(
        draw_seed(seed, Purpose.JITTER_NOISE, which), Purpose.JITTER_NOISE, step, places
    )


def _placed(images: Tensor, left: int, top: int, width: int, height: int) -> Tensor:
    """A frame of ``width`` x ``height`` with the pictures' corner at (left, top)."""
    rows = (torch.arange(height, device=images.device) - top).clamp(0, images.shape[-2] - 1)
    columns = (torch.arange(width, device=images.device) - left).clamp(0, images.shape[-1] - 1)
    return images[..., rows, :][..., columns]

"""What Qwen2.5-VL's image processor does to a picture, in a form that gradients pass through.

The processor resizes with Pillow: bicubic, one pass along the width and one along the height,
each rounded to 8 bits. Here the same two passes are made by torch, and rounding lets the
gradient through unchanged, so that what the judge sees during training is what it would see of
the saved file.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

from onefill.errors import BadInput

_WHITE = 255.0


@dataclass(frozen=True, kw_only=True)
class ImageRecipe:
    """The numbers of an image processor.

    Attributes:
        patch_size: side of a patch, pixels.
        merge_size: patches a side that become one token of the language model.
        temporal_patch_size: how often a still picture is repeated along time.
        min_pixels: pictures are brought to an area of at least this.
        max_pixels: and at most this.
        mean: of the three channels, on the scale [0, 1].
        std: of the three channels, on the scale [0, 1].
    """

    patch_size: int
    merge_size: int
    temporal_patch_size: int
    min_pixels: int
    max_pixels: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @classmethod
    def of(cls, image_processor: Any) -> ImageRecipe:
        """Read the numbers off a Qwen2-VL image processor.

        Raises:
            BadInput: it does something else than resize bicubically, rescale and normalise.
        """
        steps = ("do_resize", "do_rescale", "do_normalize")
        if not all(getattr(image_processor, step) for step in steps) or (
            image_processor.resample != Image.Resampling.BICUBIC
        ):
            raise BadInput(
                "preprocessor_config.json: a judge's pictures are resized bicubically, rescaled "
                "and normalised; this one leaves a step out; choose another --judge"
            )
        return cls(
            patch_size=image_processor.patch_size,
            merge_size=image_processor.merge_size,
            temporal_patch_size=image_processor.temporal_patch_size,
            min_pixels=image_processor.size["shortest_edge"],
            max_pixels=image_processor.size["longest_edge"],
            mean=tuple(image_processor.image_mean),
            std=tuple(image_processor.image_std),
        )

    def target_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width, in pixels, to which a picture is resized.

        Raises:
            BadInput: one side is more than 200 times the other.
        """
        try:
            return smart_resize(
                height,
                width,
                self.patch_size * self.merge_size,
                min_pixels=self.min_pixels,
                max_pixels=self.max_pixels,
            )
        except ValueError as error:
            raise BadInput(
                f"image of {width}x{height}: one side is more than 200 times the other; crop it"
            ) from error


class _RoundThrough(torch.autograd.Function):
    """Clip to [0, 255] and round, halves upwards as Pillow does; backward is the identity."""

    @staticmethod
    def forward(ctx: Any, levels: Tensor) -> Tensor:
        return (levels + 0.5).floor().clamp(0.0, _WHITE)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


def _to_levels(levels: Tensor) -> Tensor:
    rounded: Tensor = _RoundThrough.apply(levels)  # type: ignore[no-untyped-call]
    return rounded


def _two_passes(levels: Tensor, height: int, width: int, *, vertical_first: bool) -> Tensor:
    halfway = (height, levels.shape[-1]) if vertical_first else (levels.shape[-2], width)
    # In double precision, as Pillow's filters: at single, sums near a half round the other way.
    exact = levels if levels.device.type == "mps" else levels.double()
    for size in (halfway, (height, width)):
        if exact.shape[-2:] != size:
            exact = _to_levels(interpolate(exact, size, mode="bicubic", antialias=True))
    return exact.to(levels.dtype)


@lru_cache(maxsize=256)
def _pillow_is_vertical_first(source: tuple[int, int], target: tuple[int, int]) -> bool:
    """Whether Pillow resizes along the height first, from one (height, width) to another.

    The rounding between the passes makes the order visible in a quarter of all values. Pillow
    up to 12 goes along the width first; from 13 on it depends on the sizes. So it is asked.
    """
    if source[0] == target[0] or source[1] == target[1]:
        return False  # one pass only
    noise = np.random.default_rng(0).integers(0, 256, source, dtype=np.uint8)
    resized = Image.fromarray(noise).resize((target[1], target[0]), Image.Resampling.BICUBIC)
    truth = torch.from_numpy(np.array(resized, dtype=np.float32))
    levels = torch.from_numpy(noise.astype(np.float32))[None, None]
    errors = [
        (_two_passes(levels, *target, vertical_first=first)[0, 0] - truth).abs().sum().item()
        for first in (False, True)
    ]
    return errors[1] < errors[0]


def resize_levels(levels: Tensor, height: int, width: int) -> Tensor:
    """Pillow's bicubic resize of 8-bit images, differentiable.

    Args:
        levels: (B, 3, H, W), whole grey levels in [0, 255].
        height: of the result, pixels.
        width: of the result, pixels.

    Returns:
        (B, 3, height, width), whole grey levels; Pillow's, but for a level or two in less than one
        value of a hundred (Pillow's filter weights are fixed-point numbers).
    """
    source = (levels.shape[-2], levels.shape[-1])
    if source == (height, width):
        return levels
    vertical_first = _pillow_is_vertical_first(source, (height, width))
    return _two_passes(levels, height, width, vertical_first=vertical_first)


def resize_images(images: Tensor, recipe: ImageRecipe) -> Tensor:
    """Bring images to the size the judge looks at, as the official processor would.

    Args:
        images: (B, 3, H, W) in [0, 1]; rounded to 8 bits first, as saving would.
        recipe: the processor's numbers.

    Returns:
        (B, 3, H', W'), whole grey levels in [0, 255], with gradient.
    """
    height, width = recipe.target_size(images.shape[-2], images.shape[-1])
    return resize_levels(_to_levels(images * _WHITE), height, width)


def resize_picture(picture: Image.Image, recipe: ImageRecipe) -> Tensor:
    """Bring a picture to the size the judge looks at, by Pillow itself.

    For pictures without gradient: exact, and light on memory for photographs.

    Returns:
        (1, 3, H', W'), whole grey levels in [0, 255].
    """
    height, width = recipe.target_size(picture.height, picture.width)
    small = picture.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(small, dtype=np.float32)).permute(2, 0, 1).unsqueeze(0)


def cut_patches(levels: Tensor, recipe: ImageRecipe) -> tuple[Tensor, tuple[int, int]]:
    """Normalise resized images and cut them into the official ``pixel_values``.

    Args:
        levels: (B, 3, H', W'), what ``resize_images`` or ``resize_picture`` returns.
        recipe: the processor's numbers.

    Returns:
        Patches (B * rows * columns, 3 * temporal * patch * patch), in the order of the official
        processor (the neighbours that become one token together); and (rows, columns).
    """
    batch, channels, height, width = levels.shape
    mean = levels.new_tensor(recipe.mean).view(1, 3, 1, 1)
    std = levels.new_tensor(recipe.std).view(1, 3, 1, 1)
    normal = (levels / _WHITE - mean) / std
    patch, merge = recipe.patch_size, recipe.merge_size
    rows, columns = height // patch, width // patch
    patches = normal.reshape(
        batch, channels, rows // merge, merge, patch, columns // merge, merge, patch
    )
    # Axes now: image, row of tokens, column, row and column within the token, channel, y, x.
    patches = patches.permute(0, 2, 5, 3, 6, 1, 4, 7).unsqueeze(6)
    patches = patches.expand(-1, -1, -1, -1, -1, -1, recipe.temporal_patch_size, -1, -1)
    return patches.reshape(batch * rows * columns, -1), (rows, columns)

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from onefill.errors import BadInput
from onefill.judge.preprocess import ImageRecipe, cut_patches, resize_images, resize_picture

from .conftest import to_tensor

Draw = Callable[..., Image.Image]

POCKET = Qwen2VLImageProcessorPil(patch_size=8, min_pixels=4096, max_pixels=4096)
FULL_SIZE = Qwen2VLImageProcessorPil()  # the 7B model's numbers: patches of 14
LIMITED = Qwen2VLImageProcessorPil(max_pixels=28 * 28 * 20)  # photographs are shrunk
QWEN3 = Qwen2VLImageProcessorPil(
    patch_size=16, image_mean=[0.5] * 3, image_std=[0.5] * 3, min_pixels=4096, max_pixels=65536
)


def official(
    processor: Qwen2VLImageProcessorPil, *pictures: Image.Image
) -> dict[str, torch.Tensor]:
    return processor(images=list(pictures), return_tensors="pt")


@pytest.mark.parametrize(
    ("processor", "width", "height"), [(POCKET, 64, 64), (FULL_SIZE, 112, 84), (FULL_SIZE, 56, 56)]
)
def test_without_a_resize_the_patches_are_the_official_ones(
    picture: Draw, processor: Qwen2VLImageProcessorPil, width: int, height: int
) -> None:
    pictures = [picture(seed, width, height) for seed in range(3)]
    expected = official(processor, *pictures)
    recipe = ImageRecipe.of(processor)
    patches, grid = cut_patches(resize_images(to_tensor(*pictures), recipe), recipe)
    assert torch.equal(patches, expected["pixel_values"])
    assert [[1, *grid]] * 3 == expected["image_grid_thw"].tolist()


@pytest.mark.parametrize("processor", [POCKET, FULL_SIZE, LIMITED, QWEN3])
@pytest.mark.parametrize(
    ("width", "height"),
    [
        *[(128, 128), (64, 63), (64, 128), (40, 50)],
        *[(100, 37), (37, 100), (17, 91), (91, 17)],  # odd, lying and standing, enlarged
        *[(333, 200), (200, 333), (641, 479), (479, 641)],  # shrunk
        *[(601, 9), (9, 601), (5, 3), (1, 1)],  # slivers and specks
    ],
)
def test_resized_patches_differ_by_one_grey_level_in_one_value_of_a_hundred(
    picture: Draw, processor: Qwen2VLImageProcessorPil, width: int, height: int
) -> None:
    drawn = picture(1, width, height)
    expected = official(processor, drawn)
    recipe = ImageRecipe.of(processor)
    patches, grid = cut_patches(resize_images(to_tensor(drawn), recipe), recipe)
    assert [[1, *grid]] == expected["image_grid_thw"].tolist()
    channel = torch.arange(patches.shape[1]) // (patches.shape[1] // 3)
    level = 1 / 255 / torch.tensor(recipe.std)[channel]
    off = (patches - expected["pixel_values"]).abs() / level
    assert off.max() < 1.01
    assert (off > 0.5).float().mean() < 0.01

    exact, _ = cut_patches(resize_picture(drawn, recipe), recipe)
    assert torch.equal(exact, expected["pixel_values"])


@pytest.mark.parametrize("processor", [POCKET, LIMITED, QWEN3])
def test_a_batch_is_cut_in_the_official_order(
    picture: Draw, processor: Qwen2VLImageProcessorPil
) -> None:
    pictures = [picture(seed, 150, 90) for seed in range(4)]
    expected = official(processor, *pictures)["pixel_values"]
    recipe = ImageRecipe.of(processor)
    exact, _ = cut_patches(torch.cat([resize_picture(p, recipe) for p in pictures]), recipe)
    assert torch.equal(exact, expected)
    ours, _ = cut_patches(resize_images(to_tensor(*pictures), recipe), recipe)
    assert ((ours - expected).abs() > 1e-6).float().mean() < 0.01


@given(
    width=st.integers(1, 220),
    height=st.integers(1, 220),
    processor=st.sampled_from([POCKET, LIMITED, QWEN3]),
)
@settings(max_examples=30)
def test_any_size_is_seen_as_officially(
    width: int, height: int, processor: Qwen2VLImageProcessorPil
) -> None:
    assume(max(width, height) / min(width, height) < 200)
    noise = np.random.default_rng(width * 1000 + height).integers(0, 256, (height, width, 3))
    drawn = Image.fromarray(noise.astype(np.uint8))
    expected = official(processor, drawn)
    recipe = ImageRecipe.of(processor)
    patches, grid = cut_patches(resize_images(to_tensor(drawn), recipe), recipe)
    assert [[1, *grid]] == expected["image_grid_thw"].tolist()
    off = (patches - expected["pixel_values"]).abs() * 255 * max(recipe.std)
    assert off.max() < 2.1  # two levels, where both passes rounded the other way
    assert (off > 0.5).float().mean() < 0.01


@pytest.mark.parametrize("size", [(64, 64), (96, 80)])
def test_the_gradient_passes_resize_and_rounding(size: tuple[int, int]) -> None:
    recipe = ImageRecipe.of(POCKET)
    images = torch.rand(2, 3, *size, requires_grad=True)
    patches, _ = cut_patches(resize_images(images, recipe), recipe)
    patches.sum().backward()
    assert images.grad is not None
    # Bicubic weights sum to 1, so the sum over an image is the sum over all its pixels' shares.
    shares = images.grad.sum(dim=(2, 3))
    values = patches.shape[0] // 2 * patches.shape[1] / 3
    assert torch.allclose(shares, values / torch.tensor(recipe.std).expand(2, 3), rtol=1e-4)


def test_images_are_seen_as_if_saved_in_8_bits() -> None:
    recipe = ImageRecipe.of(POCKET)
    between = torch.full((1, 3, 64, 64), 100.3 / 255)
    assert torch.equal(
        resize_images(between, recipe), resize_images(torch.full_like(between, 100 / 255), recipe)
    )


def test_a_sliver_is_refused() -> None:
    with pytest.raises(BadInput, match="900x2: one side"):
        ImageRecipe.of(POCKET).target_size(2, 900)


@pytest.mark.parametrize("left_out", [{"do_normalize": False}, {"resample": Image.Resampling.BOX}])
def test_a_processor_of_another_kind_is_refused(left_out: dict[str, object]) -> None:
    with pytest.raises(BadInput, match=r"preprocessor_config\.json"):
        ImageRecipe.of(Qwen2VLImageProcessorPil(**left_out))

from __future__ import annotations

import torch
from diffusers import FluxFillPipeline

from onefill.policy.packing import image_ids, pack_latents, pack_mask, unpack_latents


def test_packing_is_the_stock_pipelines() -> None:
    latents = torch.randn(2, 4, 6, 10)
    stock = FluxFillPipeline._pack_latents(latents, 2, 4, 6, 10)
    assert torch.equal(pack_latents(latents), stock)


def test_unpacking_undoes_packing_on_oblong_latents() -> None:
    latents = torch.randn(2, 4, 6, 10)
    assert torch.equal(unpack_latents(pack_latents(latents), 6, 10), latents)


def test_packed_mask_keeps_every_pixel_in_the_token_it_lies_in() -> None:
    factor = 4
    mask = torch.zeros(1, 1, 24, 40)
    mask[0, 0, 9, 17] = 1
    packed = pack_mask(mask, factor)
    assert packed.shape == (1, 15, 64)
    assert packed.sum() == 1
    row, column = 9 // (2 * factor), 17 // (2 * factor)
    assert packed[0, row * 5 + column].sum() == 1


def test_ids_are_the_stock_pipelines() -> None:
    stock = FluxFillPipeline._prepare_latent_image_ids(1, 3, 5, torch.device("cpu"), torch.float32)
    assert torch.equal(image_ids(6, 10), stock)

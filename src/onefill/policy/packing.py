"""FLUX's packing: two-dimensional latents and masks as rows of tokens, and where each token is.

Shape letters: B batch, C latent channels, H and W latent height and width, f the VAE's factor,
N = H/2 · W/2 tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor


def pack_latents(latents: Tensor) -> Tensor:
    """Fold every 2×2 block of latents into one token: [B, C, H, W] -> [B, N, 4C]; H, W even."""
    batch, channels, height, width = latents.shape
    blocks = latents.reshape(batch, channels, height // 2, 2, width // 2, 2)
    tokens = blocks.permute(0, 2, 4, 1, 3, 5)
    return tokens.reshape(batch, (height // 2) * (width // 2), channels * 4)


def unpack_latents(tokens: Tensor, height: int, width: int) -> Tensor:
    """Undo ``pack_latents``: [B, N, 4C] -> [B, C, height, width], in latent units."""
    batch, _, channels = tokens.shape
    blocks = tokens.reshape(batch, height // 2, width // 2, channels // 4, 2, 2)
    latents = blocks.permute(0, 3, 1, 4, 2, 5)
    return latents.reshape(batch, channels // 4, height, width)


def pack_mask(mask: Tensor, factor: int) -> Tensor:
    """Fold a pixel mask into tokens without losing a pixel: [B, 1, fH, fW] -> [B, N, 4f²].

    Every pixel of an f×f square becomes a channel of its latent, then latents are packed.
    """
    batch, _, height, width = mask.shape
    squares = mask.reshape(batch, height // factor, factor, width // factor, factor)
    channels = squares.permute(0, 2, 4, 1, 3)
    return pack_latents(channels.reshape(batch, factor * factor, height // factor, width // factor))


def image_ids(height: int, width: int) -> Tensor:
    """Positions of the image tokens, (0, row, column), for rotary embedding: float32 [N, 3].

    Args:
        height: latent rows.
        width: latent columns.
    """
    rows, columns = torch.meshgrid(
        torch.arange(height // 2), torch.arange(width // 2), indexing="ij"
    )
    return torch.stack((torch.zeros_like(rows), rows, columns), dim=-1).reshape(-1, 3).float()

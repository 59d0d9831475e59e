"""Stage "vae": a small autoencoder trained from scratch on crops of scenes.

Recipe found by trial on a CPU: four pixels per latent side and 8 channels learn far faster than
8 and 16; L1 with an L1 on image gradients keeps edges; noise on the latents makes them smooth
enough for a flow model.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny
from torch import Tensor
from torch.nn import functional

from onefill.pocket.material.pool import Pool, draw_pool
from onefill.pocket.material.sources import HELD_OUT, TRAIN
from onefill.pocket.policy.architecture import build_vae
from onefill.pocket.training_plan import Plan
from onefill.pocket.training_stage import Losses, run_stage

FACTOR = 4
"""Pixels of a latent's side."""

CROP, BATCH, PEAK_RATE, LATENT_NOISE = 32, 16, 2e-3, 0.03
POOL_SIZE = 16_384


def to_model_range(pictures: np.ndarray) -> Tensor:
    """uint8 (N, H, W, 3) to float (N, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1


def train_vae(out: Path, plan: Plan) -> None:
    """Train, or go on training; save the VAE to ``out``.

    The schedule is spread over the whole length, so that several runs of one length end where
    one would. The latents' mean and spread are stored as shift and scaling factor.
    """
    torch.manual_seed(plan.seed)
    pool = draw_pool(TRAIN, POOL_SIZE, plan.seed, plan.cache)
    held_out = to_model_range(draw_pool(HELD_OUT, 64, plan.seed, plan.cache).targets)
    vae = build_vae().train().to(plan.device)
    optimizer = torch.optim.AdamW(vae.parameters(), lr=PEAK_RATE, betas=(0.9, 0.98), weight_decay=0)

    def draw(rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        crops = to_model_range(_crops(pool, rng, BATCH * plan.batches))
        shape = (len(crops), vae.config.latent_channels, CROP // FACTOR, CROP // FACTOR)
        return crops, torch.from_numpy(rng.standard_normal(shape, np.float32))

    def losses_of(drawn: tuple[Tensor, Tensor], rng: np.random.Generator) -> Losses:
        crops, noise = drawn
        crops = crops.to(memory_format=torch.channels_last)
        with plan.quick():
            latents = vae.encode(crops).latents
            rebuilt = vae.decode(latents + LATENT_NOISE * noise).sample
        return {"pictures": _loss(rebuilt.float() - crops, latents.float())}

    run_stage(
        "vae", "vae-state", {"vae": vae}, [optimizer], draw, losses_of,
        lambda: {"held-out PSNR": psnr(vae, held_out.to(plan.device))}, plan,
    )  # fmt: skip
    _set_latent_scale(vae.cpu(), to_model_range(pool.targets[:256]))
    vae.eval().save_pretrained(out)


def _crops(pool: Pool, rng: np.random.Generator, count: int) -> np.ndarray:
    """Random crops; a third show the masked picture, which the model encodes too."""
    chosen = rng.integers(len(pool), size=count)
    corners = rng.integers(pool.targets.shape[1] - CROP + 1, size=(count, 2))
    crops = np.empty((count, CROP, CROP, 3), np.uint8)
    for slot, (index, (y, x)) in enumerate(zip(chosen, corners, strict=True)):
        picture = pool.targets[index, y : y + CROP, x : x + CROP]
        if slot % 3 == 0:
            hole = pool.masks[index, y : y + CROP, x : x + CROP, None]
            # Grey: the pipeline multiplies values in [-1, 1] by (1 - mask).
            picture = np.where(hole, np.uint8(127), picture)
        crops[slot] = picture
    return crops


def _loss(error: Tensor, latents: Tensor) -> Tensor:
    across = (error[..., 1:] - error[..., :-1]).abs().mean()
    down = (error[..., 1:, :] - error[..., :-1, :]).abs().mean()
    pixels = error.abs().mean() + 0.5 * error.square().mean()
    return pixels + 0.5 * (across + down) + 1e-3 * latents.square().mean()


def psnr(vae: AutoencoderTiny, pictures: Tensor) -> float:
    """Mean PSNR in dB of reconstructions of pictures (N, 3, H, W) in [-1, 1]."""
    vae.eval()
    with torch.no_grad():
        parts = [vae.decode(vae.encode(p).latents).sample.clamp(-1, 1) for p in pictures.split(16)]
    vae.train()
    error = functional.mse_loss(torch.cat(parts), pictures, reduction="none").mean((1, 2, 3))
    return float((10 * torch.log10(4 / error)).mean())


def _set_latent_scale(vae: AutoencoderTiny, pictures: Tensor) -> None:
    vae.eval()
    with torch.no_grad():
        latents = torch.cat([vae.encode(part).latents for part in pictures.split(32)])
    vae.register_to_config(
        shift_factor=float(latents.mean()), scaling_factor=float(1 / latents.std())
    )

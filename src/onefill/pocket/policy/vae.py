"""Stage "vae": a small autoencoder trained from scratch on crops of scenes.

Recipe found by trial on a CPU: four pixels per latent side and 8 channels learn far faster than
8 and 16; L1 with an L1 on image gradients keeps edges; noise on the latents makes them smooth
enough for a flow model.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny
from torch import Tensor
from torch.nn import functional

from onefill.pocket.material.pool import Pool, draw_pool
from onefill.pocket.material.sources import HELD_OUT, TRAIN
from onefill.pocket.policy.architecture import build_vae
from onefill.pocket.training_state import cosine_rate, load_state, save_state

CROP, BATCH, PEAK_RATE, LATENT_NOISE = 32, 16, 2e-3, 0.03
POOL_SIZE = 16_384


def to_model_range(pictures: np.ndarray) -> Tensor:
    """uint8 (N, H, W, 3) to float (N, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1


def train_vae(
    out: Path, cache: Path, minutes: float, seed: int, log: Callable[[str], None]
) -> None:
    """Train, or go on training, for ``minutes`` in all; save the VAE to ``out``.

    The schedule is spread over the whole time, so that several runs with the same ``minutes``
    end where one would. The latents' mean and spread are stored as shift and scaling factor.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    pool = draw_pool(TRAIN, POOL_SIZE, seed, cache)
    held_out = to_model_range(draw_pool(HELD_OUT, 64, seed, cache).targets)
    vae = build_vae().train()
    optimizer = torch.optim.AdamW(vae.parameters(), lr=PEAK_RATE, betas=(0.9, 0.98), weight_decay=0)
    state = cache / "vae-state"
    progress = load_state(state, {"vae": vae}, [optimizer])
    seconds, step = progress.get("seconds", 0.0), int(progress.get("step", 0))
    rng = np.random.default_rng([seed, step])
    started, saved = time.monotonic() - seconds, seconds
    while (seconds := time.monotonic() - started) < minutes * 60:
        for group in optimizer.param_groups:
            group["lr"] = PEAK_RATE * cosine_rate(seconds / (minutes * 60))
        picture = to_model_range(_crops(pool, rng)).to(memory_format=torch.channels_last)
        loss = _loss(vae, picture)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        step += 1
        if seconds - saved > 60:
            saved = seconds
            save_state(state, {"vae": vae}, [optimizer], {"seconds": seconds, "step": step})
            log(
                f"vae {seconds / 60:.1f} min, {step * BATCH / seconds:.0f} crops/s, "
                f"loss {loss.item():.4f}, held-out PSNR {psnr(vae, held_out):.2f} dB"
            )
    save_state(state, {"vae": vae}, [optimizer], {"seconds": seconds, "step": step})
    _set_latent_scale(vae, to_model_range(pool.targets[:256]))
    vae.eval().save_pretrained(out)
    log(f"vae done: held-out PSNR {psnr(vae, held_out):.2f} dB")


def _crops(pool: Pool, rng: np.random.Generator) -> np.ndarray:
    """Random crops; a third show the masked picture, which the model encodes too."""
    chosen = rng.integers(len(pool), size=BATCH)
    corners = rng.integers(pool.targets.shape[1] - CROP + 1, size=(BATCH, 2))
    crops = np.empty((BATCH, CROP, CROP, 3), np.uint8)
    for slot, (index, (y, x)) in enumerate(zip(chosen, corners, strict=True)):
        picture = pool.targets[index, y : y + CROP, x : x + CROP]
        if slot % 3 == 0:
            hole = pool.masks[index, y : y + CROP, x : x + CROP, None]
            # Grey: the pipeline multiplies values in [-1, 1] by (1 - mask).
            picture = np.where(hole, np.uint8(127), picture)
        crops[slot] = picture
    return crops


def _loss(vae: AutoencoderTiny, picture: Tensor) -> Tensor:
    latents = vae.encode(picture).latents
    error = vae.decode(latents + LATENT_NOISE * torch.randn_like(latents)).sample - picture
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

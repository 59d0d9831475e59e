"""What the VAE alone does to photographs."""

from __future__ import annotations

import numpy as np
import torch

from onefill.pocket.scoring.held_out import HeldOut, as_tensor
from onefill.pocket.scoring.measures import psnr
from onefill.pocket.scoring.perceptual import Perceptual
from onefill.pocket.scoring.table import NEEDS_PACKAGES, Figure, Figures
from onefill.policy.flux_fill import FluxFillPolicy

_BATCH = 25


def score_vae(policy: FluxFillPolicy, scenes: HeldOut, perceptual: Perceptual | None) -> Figures:
    """PSNR and LPIPS of photographs encoded and decoded, mean over the pictures.

    Args:
        policy: whose VAE it is.
        scenes: those on photographs are used.
        perceptual: None where it is not installed.
    """
    seen = scenes.select(np.array([row["photograph"] for row in scenes.rows]).nonzero()[0])
    pictures = as_tensor(seen.pictures)
    rebuilt = []
    for part in pictures.split(_BATCH):
        nothing = torch.zeros(len(part), 1, *part.shape[-2:])
        conditions = policy.encode(part, nothing, [""] * len(part))
        with torch.no_grad():
            rebuilt.append(policy.decode(conditions.masked_latents, conditions).cpu())
    after = torch.cat(rebuilt)
    pairs = zip(255 * after.numpy(), 255 * pictures.numpy(), strict=True)
    figures: dict[str, Figure] = {
        "vae/psnr": Figure(value=float(np.mean([psnr(*pair) for pair in pairs])), count=len(seen))
    }
    if perceptual is None:
        return {**figures, "vae/lpips": NEEDS_PACKAGES}
    apart = float(perceptual(after, pictures).mean())
    return {**figures, "vae/lpips": Figure(value=apart, count=len(seen))}

"""Scenes as the transformer sees them: latents of the VAE, computed once and kept on disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from diffusers import AutoencoderTiny
from safetensors.torch import load_file, save
from torch import Tensor
from transformers import CLIPTokenizer, T5Tokenizer

from onefill.files import replace_bytes
from onefill.pocket.material.pool import Pool, draw_pool, pool_name
from onefill.pocket.material.scenes import SQUARE, Shape
from onefill.pocket.material.sources import Split
from onefill.pocket.policy.vae import FACTOR, to_model_range
from onefill.policy.packing import image_ids, pack_latents, pack_mask

TOKENS = 12
"""T5 tokens of a prompt: ten words and the end token fit."""


@dataclass(frozen=True)
class LatentPool:
    """Scenes of one shape, float16 where large.

    Attributes:
        clean, masked: packed latents (N, tokens, 4c) of the target and of the masked picture.
        masks: packed masks (N, tokens, 4 f^2) in {0, 1}, uint8.
        image_ids: where each token is (tokens, 3).
        t5_ids, clip_ids: token ids of the prompts.
        kinds: N kinds, see ``Pool``.

    """

    clean: Tensor
    masked: Tensor
    masks: Tensor
    image_ids: Tensor
    t5_ids: Tensor
    clip_ids: Tensor
    kinds: list[str]

    def select(self, rows: Tensor) -> LatentPool:
        """The scenes in ``rows`` (B,), in that order."""
        tensors = {name: getattr(self, name)[rows] for name in _BY_SCENE}
        return replace(self, **tensors, kinds=[self.kinds[row] for row in rows.tolist()])


_BY_SCENE = ("clean", "masked", "masks", "t5_ids", "clip_ids")


def prompt_ids(
    prompts: list[str], clip_tokenizer: CLIPTokenizer, t5_tokenizer: T5Tokenizer
) -> tuple[Tensor, Tensor]:
    """T5 ids (N, TOKENS) and CLIP ids (N, positions), padded as the stock pipeline pads."""
    t5 = t5_tokenizer(
        prompts, padding="max_length", max_length=TOKENS, truncation=True, return_tensors="pt"
    )
    clip = clip_tokenizer(prompts, padding="max_length", truncation=True, return_tensors="pt")
    return t5.input_ids, clip.input_ids


class LatentPools:
    """Pools in latents of one VAE, their prompts in ids of one pair of tokenizers.

    Args:
        vae: the autoencoder.
        tokenizers: of CLIP and T5.
        cache: fetched pictures, drawn scenes and latents.
    """

    def __init__(
        self, vae: AutoencoderTiny, tokenizers: tuple[CLIPTokenizer, T5Tokenizer], cache: Path
    ) -> None:
        self._vae = vae.eval().to(memory_format=torch.channels_last)
        self._tokenizers, self._cache = tokenizers, cache

    def draw(
        self,
        split: Split,
        count: int,
        seed: int,
        kind: str | None = None,
        shape: Shape = SQUARE,
    ) -> LatentPool:
        """The pool of one split and shape, or of one kind of it; see ``draw_pool``."""
        pool = draw_pool(split, count, seed, self._cache, kind, shape)
        tag = f"{count}-{seed}-{self._vae.config.scaling_factor:.6f}"
        file = self._cache / f"latents-{pool_name(split, kind, shape)}-{tag}.safetensors"
        if not file.exists():
            replace_bytes(file, save(self._encode(pool)))
        t5_ids, clip_ids = prompt_ids(pool.prompts, *self._tokenizers)
        return LatentPool(
            **load_file(file),
            image_ids=image_ids(*(side // FACTOR for side in shape)),
            t5_ids=t5_ids,
            clip_ids=clip_ids,
            kinds=pool.kinds,
        )

    def _encode(self, pool: Pool) -> dict[str, Tensor]:
        clean, masked, masks = [], [], []
        for start in range(0, len(pool), 64):
            picture = to_model_range(pool.targets[start : start + 64])
            mask = torch.from_numpy(pool.masks[start : start + 64]).float()[:, None]
            half = pack_latents(self._latents(torch.cat([picture, picture * (1 - mask)]))).half()
            clean.append(half[: len(mask)])
            masked.append(half[len(mask) :])
            masks.append(pack_mask(mask, FACTOR).to(torch.uint8))
        return {"clean": torch.cat(clean), "masked": torch.cat(masked), "masks": torch.cat(masks)}

    @torch.no_grad()
    def _latents(self, pictures: Tensor) -> Tensor:
        parts = [
            self._vae.encode(part.to(memory_format=torch.channels_last)).latents
            for part in pictures.split(16)
        ]
        latents = torch.cat(parts).contiguous()
        return (latents - self._vae.config.shift_factor) * self._vae.config.scaling_factor


def join(first: LatentPool, second: LatentPool) -> LatentPool:
    """Two pools of one shape as one."""
    joined = {name: torch.cat([getattr(first, name), getattr(second, name)]) for name in _BY_SCENE}
    return replace(first, **joined, kinds=first.kinds + second.kinds)


def smoothness_weights(pool: LatentPool) -> Tensor:
    """Loss weights (N,) of the second phase: smooth backgrounds count more, within [0.3, 6].

    An error that nobody sees on gravel is a stain on a clear sky, and its share of the squared
    error is small, so removals and extensions are weighed by the inverse of the variance of
    their masked latents (the mean stays 1). Fills and texts weigh 1.
    """
    variances = torch.empty(len(pool.kinds))
    for rows in torch.arange(len(pool.kinds)).split(512):
        touched = pool.masks[rows].amax(2, keepdim=True).float()
        clean, count = pool.clean[rows].float(), touched.sum(1, keepdim=True)
        mean = (clean * touched).sum(1, keepdim=True) / count
        spread = ((clean - mean).square() * touched).sum(1, keepdim=True) / count
        variances[rows] = spread.mean((1, 2))
    ground = torch.tensor([kind in ("removal", "extend") for kind in pool.kinds])
    weights = torch.ones(len(pool.kinds))
    inverse = 1 / (variances[ground] + 0.02)
    weights[ground] = (inverse / inverse.mean()).clamp(0.3, 6)
    return weights


def drawn_by(shares: Mapping[str, float], pool: LatentPool) -> Tensor:
    """Probabilities (N,), up to a factor, that draw the kinds of a pool by their shares."""
    counts = Counter(pool.kinds)
    return torch.tensor([shares[kind] / counts[kind] for kind in pool.kinds])

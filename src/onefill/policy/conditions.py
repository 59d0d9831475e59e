"""What an edit is conditioned on, encoded once and used at every denoising step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """A batch of B encoded edits of one picture size.

    Nothing in it depends on the trained weights (the VAE and the text encoders are frozen), so
    it may be kept and used again for as long as the model is loaded.

    Attributes:
        prompt_embeds: T5 embeddings of the prompts, [B, T, D].
        pooled: CLIP embeddings of the prompts, [B, P].
        negative_embeds: T5 embeddings of what guidance leads away from, [B, T, D].
        negative_pooled: its CLIP embeddings, [B, P].
        masked_latents: packed latents of the picture without the masked part, [B, N, 4C].
        mask: packed mask, 1 where the model paints, [B, N, 4f²].
        height: of the picture, in pixels.
        width: of the picture, in pixels.
    """

    prompt_embeds: Tensor
    pooled: Tensor
    negative_embeds: Tensor
    negative_pooled: Tensor
    masked_latents: Tensor
    mask: Tensor
    height: int
    width: int

    def __len__(self) -> int:
        return self.mask.shape[0]

    def select(self, index: int | slice | Sequence[int] | Tensor) -> Conditions:
        """The edits at ``index``, in that order; an edit may be taken several times."""
        rows = torch.arange(len(self), device=self.mask.device)[index].reshape(-1)
        return self._map(lambda tensor: tensor[rows])

    def to(self, device: torch.device | str) -> Conditions:
        """The same edits on another device."""
        return self._map(lambda tensor: tensor.to(device))

    def _map(self, change: Callable[[Tensor], Tensor]) -> Conditions:
        return replace(
            self,
            prompt_embeds=change(self.prompt_embeds),
            pooled=change(self.pooled),
            negative_embeds=change(self.negative_embeds),
            negative_pooled=change(self.negative_pooled),
            masked_latents=change(self.masked_latents),
            mask=change(self.mask),
        )

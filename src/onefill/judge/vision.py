"""The vision tower of a judge, arranged for batches of images of one size.

The stock tower packs images of any sizes into one sequence and attends to them one by one, in a
Python loop over images (and windows), block by block. A judge looks at batches of equal images:
here the loop becomes one call per distinct length, and what depends on the size alone (window
order, positions) is made once. Same parameters under the same names, same values.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, scaled_dot_product_attention
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import apply_rotary_pos_emb_vision
from transformers.vision_utils import (
    get_vision_interpolation_indices_and_weights,
    get_vision_position_ids,
    get_vision_window_index,
)

Grid = tuple[int, int]
"""Rows and columns of patches."""

_LAYOUTS = 64
"""Image sizes whose tables are kept; a table of a photograph is some hundred kilobytes."""


class PatchProjection(nn.Conv3d):
    """A Conv3d whose kernel covers its whole input, computed as the matrix product it is.

    The patch embedding of Qwen2.5-VL is one; same parameters, same values, a quarter of the
    vision tower's time less with gradient.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(N, in, t, p, p) to (N, out, 1, 1, 1)."""
        flat = linear(input.flatten(1), self.weight.flatten(1), self.bias)
        return flat.view(*flat.shape, 1, 1, 1)

    @classmethod
    def in_place_of(cls, conv: nn.Conv3d) -> PatchProjection:
        """The same convolution, sharing its parameters."""
        kernel = cast(tuple[int, int, int], conv.kernel_size)
        projection = cls(conv.in_channels, conv.out_channels, kernel, kernel, device="meta")
        projection.weight, projection.bias = conv.weight, conv.bias
        return projection


class BatchedAttention(nn.Module):
    """A block's attention, all segments of one length in one call.

    The tower's own attention splits the packed sequence into segments (images, or windows of
    them) and attends to them one after another; see ``in_place_of``.
    """

    def __init__(self, attention: Any) -> None:
        super().__init__()
        self.qkv, self.proj = attention.qkv, attention.proj
        self.num_heads, self.scaling = attention.num_heads, attention.scaling

    def forward(
        self,
        hidden_states: Tensor,
        cu_seqlens: Tensor,
        position_embeddings: tuple[Tensor, Tensor],
        max_seqlen: int | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """(packed length, width) to the same; ``cu_seqlens`` are the borders of the segments."""
        length = hidden_states.shape[0]
        query, key, value = (
            self.qkv(hidden_states).view(length, 3, self.num_heads, -1).permute(1, 0, 2, 3)
        )
        query, key = apply_rotary_pos_emb_vision(query, key, *position_embeddings)
        borders = cu_seqlens.tolist()
        lengths = [end - start for start, end in pairwise(borders)]
        if len(set(lengths)) == 1:
            attended = self._attend(query, key, value, lengths[0])
        else:
            attended = torch.empty_like(query)
            for size in set(lengths):
                starts = [s for s, n in zip(borders, lengths, strict=False) if n == size]
                rows = torch.tensor(starts)[:, None] + torch.arange(size)
                rows = rows.flatten().to(query.device)
                group = self._attend(query[rows], key[rows], value[rows], size)
                attended = attended.index_copy(0, rows, group)
        return self.proj(attended.reshape(length, -1))

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, size: int) -> Tensor:
        """(segments * size, heads, width of a head) to the same, each segment to itself."""
        query, key, value = (
            packed.unflatten(0, (-1, size)).transpose(1, 2) for packed in (query, key, value)
        )
        attended = scaled_dot_product_attention(query, key, value, scale=self.scaling)
        return attended.transpose(1, 2).flatten(0, 1)


class VisionLayouts:
    """What the tower needs to know of a batch's sizes, made once for each size.

    Attributes:
        visual: the tower; its patch embedding and attentions are replaced by the ones above.
    """

    def __init__(self, visual: Any) -> None:
        self.visual = visual
        embedding = visual.patch_embed
        if not hasattr(embedding.proj, "_hf_hook"):  # one that accelerate brings stays as it is
            embedding.proj = PatchProjection.in_place_of(embedding.proj)
        for block in visual.blocks:
            block.attn = BatchedAttention(block.attn)
        self._one = lru_cache(maxsize=_LAYOUTS)(self._tables_of_one)

    def tables(self, images: int, grid: Grid, device: torch.device) -> dict[str, Tensor]:
        """Keyword arguments for the tower: what it would work out from ``grid_thw`` itself.

        Args:
            images: how many images of that size stand one after another.
            grid: rows and columns of patches of each.
            device: where the tower computes.
        """
        one = self._one(grid, device)
        repeated = {
            name: table.repeat(images, *[1] * (table.dim() - 1))
            for name, table in one.items()
            if name in ("position_ids", "interp_indices", "interp_weights")
        }
        patches = grid[0] * grid[1]
        offsets = torch.arange(images, device=device)[:, None]
        repeated["cu_seqlens"] = torch.arange(images + 1, dtype=torch.int32) * patches
        if "window_index" in one:
            tokens = one["window_index"].numel()
            repeated["window_index"] = (one["window_index"] + offsets * tokens).flatten()
            ends = one["window_ends"] + torch.arange(images, dtype=torch.int32)[:, None] * patches
            repeated["cu_window_seqlens"] = torch.cat([ends.new_zeros(1), ends.flatten()])
        return repeated

    def _tables_of_one(self, grid: Grid, device: torch.device) -> dict[str, Tensor]:
        visual, merge = self.visual, self.visual.spatial_merge_size
        thw = torch.tensor([[1, *grid]])
        tables = {"position_ids": get_vision_position_ids(thw, merge).to(device)}
        if hasattr(visual, "window_size"):
            index, borders = get_vision_window_index(
                thw,
                spatial_merge_size=merge,
                window_size=visual.window_size,
                patch_size=visual.patch_size,
            )
            tables |= {"window_index": index.to(device), "window_ends": borders[1:]}
        if hasattr(visual, "num_grid_per_side"):
            indices, weights = get_vision_interpolation_indices_and_weights(
                thw,
                num_grid_per_side=visual.num_grid_per_side,
                mode=visual.interpolation_mode,
                align_corners=visual.interpolation_align_corners,
                spatial_merge_size=merge,
            )
            tables |= {"interp_indices": indices.to(device), "interp_weights": weights.to(device)}
        return tables

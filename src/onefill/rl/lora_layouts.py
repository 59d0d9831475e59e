"""The file layouts in which others read a LoRA: diffusers, peft, and ComfyUI.

ComfyUI's is that of kohya's scripts on the model's original layers, in which the projections that
diffusers keeps apart are one. Their low-rank pairs become the blocks of one pair: the change of the
weights is the same to the last bit of each product.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from onefill.errors import BadInput

_MLP_RATIO = 4  # of FLUX: width of the feed-forward part over that of the model

_FUSED = (
    (
        r"transformer_blocks\.(\d+)\.attn\.",
        ("to_q", "to_k", "to_v"),
        "double_blocks_{}_img_attn_qkv",
    ),
    (
        r"transformer_blocks\.(\d+)\.attn\.",
        ("add_q_proj", "add_k_proj", "add_v_proj"),
        "double_blocks_{}_txt_attn_qkv",
    ),
    (
        r"single_transformer_blocks\.(\d+)\.",
        ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"),
        "single_blocks_{}_linear1",
    ),
)
_PLAIN = {
    r"transformer_blocks\.(\d+)\.attn\.to_out\.0": "double_blocks_{}_img_attn_proj",
    r"transformer_blocks\.(\d+)\.attn\.to_add_out": "double_blocks_{}_txt_attn_proj",
    r"transformer_blocks\.(\d+)\.ff\.net\.0\.proj": "double_blocks_{}_img_mlp_0",
    r"transformer_blocks\.(\d+)\.ff\.net\.2": "double_blocks_{}_img_mlp_2",
    r"transformer_blocks\.(\d+)\.ff_context\.net\.0\.proj": "double_blocks_{}_txt_mlp_0",
    r"transformer_blocks\.(\d+)\.ff_context\.net\.2": "double_blocks_{}_txt_mlp_2",
    r"transformer_blocks\.(\d+)\.norm1\.linear": "double_blocks_{}_img_mod_lin",
    r"transformer_blocks\.(\d+)\.norm1_context\.linear": "double_blocks_{}_txt_mod_lin",
    r"single_transformer_blocks\.(\d+)\.proj_out": "single_blocks_{}_linear2",
    r"single_transformer_blocks\.(\d+)\.norm\.linear": "single_blocks_{}_modulation_lin",
    "x_embedder": "img_in",
    "context_embedder": "txt_in",
    "proj_out": "final_layer_linear",
}

Pairs = dict[str, tuple[Tensor, Tensor]]
"""Layer of the diffusers model to its A (rank, in) and B (out, rank)."""


def pairs_of(weights: Mapping[str, Tensor]) -> Pairs:
    """The low-rank pairs of adapter weights as the policy names them."""
    ending = ".lora_A.default.weight"
    return {
        name.removesuffix(ending): (a, weights[name.replace(".lora_A.", ".lora_B.")])
        for name, a in weights.items()
        if name.endswith(ending)
    }


def plain_layout(pairs: Pairs, prefix: str = "") -> dict[str, Tensor]:
    """The layout of diffusers and peft: the model's own names behind ``prefix``."""
    layout = {}
    for layer, (a, b) in pairs.items():
        layout[f"{prefix}{layer}.lora_A.weight"] = a
        layout[f"{prefix}{layer}.lora_B.weight"] = b
    return layout


def comfy_layout(pairs: Pairs, alpha: float) -> dict[str, Tensor]:
    """The layout that ComfyUI, and most that read kohya's files, understand.

    Args:
        pairs: all of one rank.
        alpha: the product of each is scaled by alpha over its rank.

    Raises:
        BadInput: a layer is adapted that this layout has no name for.
    """
    layout: dict[str, Tensor] = {}
    left = dict(pairs)

    def put(name: str, down: Tensor, up: Tensor, alpha: float) -> None:
        layout[f"lora_unet_{name}.lora_down.weight"] = down.contiguous()
        layout[f"lora_unet_{name}.lora_up.weight"] = up.contiguous()
        layout[f"lora_unet_{name}.alpha"] = torch.tensor(alpha, dtype=down.dtype)

    for layer in pairs:
        for start, members, name in _FUSED:
            found = re.fullmatch(f"({start}).+", layer)
            of_layer = [found[1] + member for member in members] if found else []
            if layer in of_layer and layer in left:
                parts = [left.pop(member, None) for member in of_layer]
                down, up = _fuse(parts)
                rank = pairs[layer][0].shape[0]
                assert found is not None
                put(name.format(found[2]), down, up, alpha * down.shape[0] / rank)
        for pattern, name in _PLAIN.items():
            found = re.fullmatch(pattern, layer)
            if found:
                put(name.format(*found.groups()), *left.pop(layer), alpha)
    if left:
        raise BadInput(
            f"--format comfy: it has no name for the adapted layer {min(left)}; use --format "
            "diffusers"
        )
    return layout


def _fuse(parts: list[tuple[Tensor, Tensor] | None]) -> tuple[Tensor, Tensor]:
    """One pair for layers that read the same input and whose outputs follow each other.

    A layer without a pair gets rows of zeros; queries, keys and values are as wide as the input.
    """
    known = [pair for pair in parts if pair is not None]
    down = torch.cat([a for a, _ in known])
    width = down.shape[1]
    heights = [
        pair[1].shape[0] if pair else width * (1 if number < 3 else _MLP_RATIO)
        for number, pair in enumerate(parts)
    ]
    up = torch.zeros(sum(heights), down.shape[0], dtype=down.dtype)
    row = column = 0
    for height, pair in zip(heights, parts, strict=True):
        if pair is not None:
            rank = pair[1].shape[1]
            up[row : row + height, column : column + rank] = pair[1]
            column += rank
        row += height
    return down, up

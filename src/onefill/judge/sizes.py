"""What a judge of real size costs: parameters, memory of its weights, operations per pair.

The numbers of the published configurations of Qwen2.5-VL-3B-Instruct and -7B-Instruct, without
their weights: enough to build the models on torch's meta device, and to count. An operation here
is a multiplication or an addition inside a matrix product, as usual; all else is small.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

_VISION: dict[str, Any] = {
    "depth": 32,
    "hidden_size": 1280,
    "intermediate_size": 3420,
    "num_heads": 16,
    "patch_size": 14,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
    "window_size": 112,
    "fullatt_block_indexes": [7, 15, 23, 31],
}
_TEXT: dict[str, Any] = {
    "hidden_act": "silu",
    "max_position_embeddings": 128000,
    "max_window_layers": 28,
    "rms_norm_eps": 1e-6,
    "use_sliding_window": False,
    "rope_parameters": {
        "rope_type": "default",
        "rope_theta": 1_000_000.0,
        "mrope_section": [16, 24, 24],
    },
}
_TOKENS = {
    "image_token_id": 151655,
    "video_token_id": 151656,
    "vision_start_token_id": 151652,
    "vision_end_token_id": 151653,
}

PUBLISHED: dict[str, dict[str, Any]] = {
    "Qwen2.5-VL-3B": {
        "text_config": _TEXT
        | {
            "vocab_size": 151936,
            "hidden_size": 2048,
            "intermediate_size": 11008,
            "num_hidden_layers": 36,
            "num_attention_heads": 16,
            "num_key_value_heads": 2,
        },
        "vision_config": _VISION | {"out_hidden_size": 2048},
        "tie_word_embeddings": True,
    },
    "Qwen2.5-VL-7B": {
        "text_config": _TEXT
        | {
            "vocab_size": 152064,
            "hidden_size": 3584,
            "intermediate_size": 18944,
            "num_hidden_layers": 28,
            "num_attention_heads": 28,
            "num_key_value_heads": 4,
        },
        "vision_config": _VISION | {"out_hidden_size": 3584},
        "tie_word_embeddings": False,
    },
}
"""The published configurations, as far as they say something of size."""

BYTES: Mapping[str, tuple[float, float]] = {
    "float32": (4, 4),
    "bfloat16": (2, 2),
    "torchao-int8": (1, 2),
    # Of 64 weights, 32 bytes and the float32 by which they are scaled.
    "bnb-4bit": (0.5 + 4 / 64, 2),
}
"""Bytes of a weight of a linear layer, and of every other one, by dtype or quantizer.

The output head counts among the others. Quantized judges are loaded with ``--dtype bfloat16``.
"""

TEXT_TOKENS = 100
"""Tokens of a question beside its two images, about: Qwen's system turn, query and places."""


def published_config(name: str) -> Qwen2_5_VLConfig:
    """The configuration of a published model, by its key in ``PUBLISHED``."""
    numbers = PUBLISHED[name]
    return Qwen2_5_VLConfig(
        text_config=dict(numbers["text_config"]),
        vision_config=dict(numbers["vision_config"]),
        tie_word_embeddings=numbers["tie_word_embeddings"],
        **_TOKENS,
    )


def build_on_meta(config: Qwen2_5_VLConfig) -> Qwen2_5_VLForConditionalGeneration:
    """The model without memory for its weights: shapes, and nothing else."""
    with torch.device("meta"):
        model = Qwen2_5_VLForConditionalGeneration(config)
    model.tie_weights()
    return model.eval()


def weight_bytes(model: nn.Module, kind: str) -> float:
    """Memory of a model's weights.

    Args:
        model: on any device; a matrix that is used twice counts once.
        kind: a key of ``BYTES``.
    """
    per_linear, per_other = BYTES[kind]
    total = sum(parameter.numel() for parameter in model.parameters())
    linear = sum(
        module.weight.numel()
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and name != "lm_head"
    )
    return linear * per_linear + (total - linear) * per_other


def vision_operations(config: Qwen2_5_VLConfig, height: int, width: int) -> int:
    """Operations of the vision tower for one image.

    Args:
        config: of the whole model.
        height: of the image as the judge sees it, pixels; a whole number of tokens.
        width: likewise.
    """
    vision = config.vision_config
    merge, dim = vision.spatial_merge_size, vision.hidden_size
    rows, columns = height // vision.patch_size, width // vision.patch_size
    patches, tokens = rows * columns, rows * columns // merge**2
    values = vision.in_channels * vision.temporal_patch_size * vision.patch_size**2
    embedding = 2 * patches * values * dim
    linear = 2 * patches * dim * (4 * dim + 3 * vision.intermediate_size)
    side = vision.window_size // vision.patch_size
    windows = [
        min(side, rows - top) * min(side, columns - left)
        for top in range(0, rows, side)
        for left in range(0, columns, side)
    ]
    full = len(vision.fullatt_block_indexes)
    windowed = vision.depth - full
    attention = 4 * dim * (full * patches**2 + windowed * sum(n**2 for n in windows))
    merged = merge**2 * dim
    merger = 2 * tokens * merged * (merged + vision.out_hidden_size)
    return int(embedding + vision.depth * linear + attention + merger)


def text_operations(config: Qwen2_5_VLConfig, tokens: int) -> int:
    """Operations of the language model for one question of so many tokens, images included."""
    text = config.text_config
    dim, head = text.hidden_size, text.hidden_size // text.num_attention_heads
    projections = dim * head * 2 * (text.num_attention_heads + text.num_key_value_heads)
    linear = 2 * tokens * (projections + 3 * dim * text.intermediate_size)
    attention = 4 * text.num_attention_heads * head * tokens**2
    return int(text.num_hidden_layers * (linear + attention))


def operations_per_pair(
    config: Qwen2_5_VLConfig, height: int, width: int, *, questions: int = 1
) -> int:
    """Operations of one prefill per question about a pair, each image looked at once.

    Args:
        config: of the whole model.
        height: of both images as the judge sees them, pixels.
        width: likewise.
        questions: asked of the pair, each order one; what they share of their text is not
            counted off.
    """
    vision = config.vision_config
    token = (vision.patch_size * vision.spatial_merge_size) ** 2
    length = TEXT_TOKENS + 2 * (height * width // token)
    looks = 2 * vision_operations(config, height, width)
    return looks + questions * text_operations(config, length)


def sizes_table(sides: tuple[int, ...] = (504, 1008)) -> str:
    """Both published models as a Markdown table, for square pictures of some sides in pixels."""
    lines = [
        "| model | parameters | " + " | ".join(BYTES) + " |",
        "| --- | ---: |" + " ---: |" * len(BYTES),
    ]
    costs = [
        "| model | picture | image tokens | one question | four dimensions, both orders |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    for name in PUBLISHED:
        config = published_config(name)
        model = build_on_meta(config)
        count = sum(parameter.numel() for parameter in model.parameters())
        memory = " | ".join(f"{weight_bytes(model, kind) / 1e9:.1f} GB" for kind in BYTES)
        lines.append(f"| {name} | {count:,} | {memory} |")
        for side in sides:
            one, eight = (
                f"{operations_per_pair(config, side, side, questions=asked) / 1e12:.1f} TFLOP"
                for asked in (1, 8)
            )
            costs.append(f"| {name} | {side} × {side} | {(side // 28) ** 2} | {one} | {eight} |")
    return "\n".join([*lines, "", *costs]) + "\n"

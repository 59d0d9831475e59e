"""A tiny but genuine Qwen2.5-VL: tokenizer, model and image processor built from nothing.

Everything here is the stock class with a small configuration, saved in the stock layout, so
that ``Qwen2_5_VLForConditionalGeneration.from_pretrained`` and every line of ``onefill.judge``
treat it exactly as they treat the 7B model.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2Tokenizer
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from onefill.judge.query import (
    ANSWERS,
    BEFORE_FIRST,
    BEFORE_SECOND,
    QUESTION,
    build_query,
)
from onefill.judge.saving import save_judge
from onefill.tasks.types import Task

SPECIAL_TOKENS = (
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
END_OF_TEXT = "<|endoftext|>"

# Qwen2.5-VL's template without its default system turn, which would cost a tiny model a tenth
# of its sequence and tell it nothing.
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}<|im_end|>\n"
    "{% else %}{% for content in message['content'] %}"
    "{% if content['type'] == 'image' or 'image' in content or 'image_url' in content %}"
    "<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif content['type'] == 'video' or 'video' in content %}"
    "<|vision_start|><|video_pad|><|vision_end|>"
    "{% elif 'text' in content %}{{ content['text'] }}{% endif %}{% endfor %}<|im_end|>\n"
    "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@dataclass(frozen=True, kw_only=True)
class TowerSize:
    """Size of one of the two transformers; ``width`` divides by ``heads``, heads by 4."""

    layers: int = 3
    width: int = 192
    heads: int = 4
    feed_forward: int = 512

    def __post_init__(self) -> None:
        if self.width % self.heads or (self.width // self.heads) % 4:
            raise ValueError(
                f"width {self.width} over {self.heads} heads: the width of a head must be a "
                "whole multiple of 4 (rotary angles over height and width)"
            )


def judge_corpus(tasks: Iterable[Task], words: Iterable[str]) -> list[str]:
    """Every sentence a judge of these tasks will read, for ``build_judge_tokenizer``."""
    lines = [BEFORE_FIRST, BEFORE_SECOND, QUESTION, *ANSWERS, "user\n", "assistant\n", "system\n"]
    for task in tasks:
        lines += [build_query(task, dimension, "anything") for dimension in task.dimensions]
    return lines + [f" Prompt: {word}." for word in words]


def build_judge_tokenizer(corpus: Iterable[str], *, vocabulary_limit: int = 8192) -> Qwen2Tokenizer:
    """A Qwen2 tokenizer whose byte-level merges are learnt from ``corpus``.

    Any text still encodes (all 256 bytes are tokens); below the limit every word of the corpus,
    and always "Yes" and "No", is a single token. Pads on the left, as asking needs.
    """
    # The stock class brings its own normaliser and splitting rule: train with exactly those.
    stock = Qwen2Tokenizer()._tokenizer
    trainee = Tokenizer(models.BPE())
    trainee.normalizer = normalizers.NFC()
    trainee.pre_tokenizer = stock.pre_tokenizer
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_limit,
        min_frequency=1,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    # The answers many times over: their merges come first, whatever the limit.
    trainee.train_from_iterator([*corpus, *(list(ANSWERS) * 1000)], trainer)
    learnt = json.loads(trainee.to_str())["model"]
    tokenizer = Qwen2Tokenizer(
        vocab=learnt["vocab"],
        merges=[tuple(merge) for merge in learnt["merges"]],
        eos_token="<|im_end|>",
        pad_token=END_OF_TEXT,
        extra_special_tokens=list(SPECIAL_TOKENS),
        padding_side="left",
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def build_judge_model(
    tokenizer: Qwen2Tokenizer,
    *,
    patch_size: int = 8,
    vision: TowerSize | None = None,
    text: TowerSize | None = None,
    initializer_range: float = 0.02,
    max_positions: int = 2048,
) -> Qwen2_5_VLForConditionalGeneration:
    """A Qwen2.5-VL with random weights, float32, drawn from torch's global generator.

    Every vision block attends over its whole image: at this size windows would only cost.
    Input embedding and output head are one matrix.
    """
    vision = vision or TowerSize()
    text = text or TowerSize()
    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in SPECIAL_TOKENS}
    half_head = text.width // text.heads // 2
    # Rotary angles for time, height, width in the 7B model's proportions, 2 : 3 : 3.
    spatial = half_head * 3 // 8
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": text.width,
            "intermediate_size": text.feed_forward,
            "num_hidden_layers": text.layers,
            "num_attention_heads": text.heads,
            "num_key_value_heads": text.heads,
            "max_position_embeddings": max_positions,
            "initializer_range": initializer_range,
            "bos_token_id": None,
            "eos_token_id": ids["<|im_end|>"],
            "pad_token_id": tokenizer.convert_tokens_to_ids(END_OF_TEXT),
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10_000.0,
                "mrope_section": [half_head - 2 * spatial, spatial, spatial],
            },
        },
        vision_config={
            "depth": vision.layers,
            "hidden_size": vision.width,
            "num_heads": vision.heads,
            "intermediate_size": vision.feed_forward,
            "out_hidden_size": text.width,
            "patch_size": patch_size,
            "initializer_range": initializer_range,
            "window_size": 16 * patch_size,
            "fullatt_block_indexes": list(range(vision.layers)),
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=True,
    )
    return Qwen2_5_VLForConditionalGeneration(config)


def build_image_processor(
    patch_size: int = 8, *, pixels: int = 64 * 64
) -> Qwen2VLImageProcessorPil:
    """The stock image processor, bringing every image to about ``pixels`` pixels."""
    return Qwen2VLImageProcessorPil(patch_size=patch_size, min_pixels=pixels, max_pixels=pixels)


def write_random_judge(folder: Path, *, seed: int, small: bool = True) -> None:
    """A judge with random weights, for tests: it answers at random, but always the same.

    Args:
        folder: created if missing.
        seed: of the weights; torch's global generator is left as it was.
        small: one layer of width 16 per tower and bytes for a vocabulary, or the size of the
            embedded judge.
    """
    size = TowerSize(layers=1, width=16, heads=2, feed_forward=32) if small else TowerSize()
    # Wider than usual, or the answers of so small a model all stand at one half.
    spread = 0.3 if small else 0.07
    tokenizer = build_judge_tokenizer([BEFORE_FIRST, BEFORE_SECOND, QUESTION])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build_judge_model(tokenizer, vision=size, text=size, initializer_range=spread)
    card = {"dimensions": {}, "facts": {"weights": f"random, seed {seed}"}, "sources": []}
    save_judge(folder, model, tokenizer, build_image_processor(), card)

"""Qwen3-VL behind the judge's interface: the tests of Qwen2.5-VL, on a tiny random model.

What differs from Qwen2.5-VL: patches of 16, another normalisation, learned positions in the vision
tower, features of its middle layers added behind the first language layers, other rotary
positions in the language model.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import (
    ProcessorMixin,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    Qwen3VLProcessor,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from onefill.errors import OnefillError
from onefill.judge.loading import load_judge
from onefill.judge.model import Judge
from onefill.judge.processor import load_processor
from onefill.judge.query import build_messages
from onefill.judge.saving import save_judge
from onefill.judge.verdict import ask
from onefill.judge.vision import BatchedAttention, PatchProjection
from onefill.pocket.judge.architecture import build_judge_tokenizer
from onefill.tasks.types import Task

from .conftest import to_tensor

Draw = Callable[..., Image.Image]

SHORT = "Task: fill. Dimension: looks. Better?"
LONG = "Task: fill. Dimension: word match. Is it what was asked for? Prompt: 红色的帽子 and a hat."


class StillQwen3Processor(Qwen3VLProcessor):
    """The official processor without its video part, which needs torchvision."""

    def __init__(self, image_processor: Any, tokenizer: Any) -> None:
        self.image_token, self.video_token = "<|image_pad|>", "<|video_pad|>"
        self.image_token_id = tokenizer.convert_tokens_to_ids(self.image_token)
        self.video_token_id = tokenizer.convert_tokens_to_ids(self.video_token)
        ProcessorMixin.__init__(
            self, image_processor, tokenizer, chat_template=tokenizer.chat_template
        )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tokenizer = build_judge_tokenizer([SHORT])
    ids = {
        f"{name}_id": tokenizer.convert_tokens_to_ids(f"<|{token}|>")
        for name, token in (
            ("image_token", "image_pad"),
            ("video_token", "video_pad"),
            ("vision_start_token", "vision_start"),
            ("vision_end_token", "vision_end"),
        )
    }
    config = Qwen3VLConfig(
        text_config={
            "vocab_size": len(tokenizer) + 5,
            "hidden_size": 48,
            "intermediate_size": 64,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "initializer_range": 0.15,
            "pad_token_id": tokenizer.pad_token_id,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 10_000.0,
                "mrope_section": [2, 3, 3],
                "mrope_interleaved": True,
            },
        },
        vision_config={
            "depth": 3,
            "hidden_size": 32,
            "num_heads": 2,
            "intermediate_size": 48,
            "out_hidden_size": 48,
            "patch_size": 16,
            "num_position_embeddings": 36,
            "deepstack_visual_indexes": [0, 1],
            "initializer_range": 0.15,
        },
        tie_word_embeddings=False,
        **ids,
    )
    torch.manual_seed(4)
    folder = tmp_path_factory.mktemp("judges") / "qwen3"
    processor = Qwen2VLImageProcessorPil(
        patch_size=16,
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
        min_pixels=64 * 64,
        max_pixels=32 * 32 * 12,
    )
    save_judge(folder, Qwen3VLForConditionalGeneration(config), tokenizer, processor, {})
    return folder


@pytest.fixture(scope="module")
def judge(folder: Path) -> Judge:
    return load_judge(str(folder), device="cpu")


def stock_logits(
    folder: Path, pairs: list[tuple[Image.Image, Image.Image]], queries: list[str]
) -> torch.Tensor:
    """Logits as anyone with transformers alone would compute them."""
    model = Qwen3VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    parts = load_processor(folder)
    processor = StillQwen3Processor(parts.image_processor, parts.tokenizer)
    texts = [
        processor.apply_chat_template(
            build_messages(query), tokenize=False, add_generation_prompt=True
        )
        for query in queries
    ]
    pictures = [picture for pair in pairs for picture in pair]
    inputs = processor(text=texts, images=pictures, padding=True, return_tensors="pt")
    with torch.no_grad():
        last = model(**inputs).logits[:, -1]
    yes, no = (processor.tokenizer.encode(answer)[0] for answer in ("Yes", "No"))
    return last[:, yes] - last[:, no]


def test_the_folder_is_loaded_as_what_it_is(judge: Judge) -> None:
    assert isinstance(judge.model, Qwen3VLForConditionalGeneration)
    assert not any(parameter.requires_grad for parameter in judge.model.parameters())
    visual = judge.model.model.visual
    assert isinstance(visual.patch_embed.proj, PatchProjection)
    assert all(isinstance(block.attn, BatchedAttention) for block in visual.blocks)


@pytest.mark.parametrize("sizes", [((64, 96), (96, 96)), ((300, 200), (50, 90)), ((64, 64),) * 2])
@pytest.mark.parametrize("queries", [[LONG, SHORT], [SHORT, SHORT], [LONG]])
def test_logits_are_those_of_the_stock_processor_and_model(
    folder: Path,
    judge: Judge,
    picture: Draw,
    sizes: tuple[tuple[int, int], tuple[int, int]],
    queries: list[str],
) -> None:
    pairs = [(picture(i, *sizes[0]), picture(i + 9, *sizes[1])) for i in range(len(queries))]
    expected = stock_logits(folder, pairs, queries)
    with torch.no_grad():
        sides = [judge.encode_pictures(side) for side in zip(*pairs, strict=True)]
        found = judge.logits_from_features(*sides, queries)
    assert (found - expected).abs().max() <= 2e-5
    assert expected.abs().max() > 0.01


def test_tensors_are_judged_as_pictures(judge: Judge, picture: Draw) -> None:
    pair = picture(1, 96, 64), picture(2, 96, 64)
    with torch.no_grad():
        of_tensors = judge.logits(*(to_tensor(side) for side in pair), [SHORT])
        seen = [judge.encode_picture(side) for side in pair]
        assert torch.equal(of_tensors, judge.logits_from_features(*seen, [SHORT]))


def test_the_further_features_matter_and_follow_their_image(judge: Judge, picture: Draw) -> None:
    from dataclasses import replace

    with torch.no_grad():
        seen = judge.encode_pictures([picture(i, 64, 96) for i in range(3)])
        assert len(seen.deepstack) == 2
        first, second = seen.select([0, 1]), seen.select([1, 2])
        usual = judge.logits_from_features(first, second, [SHORT] * 2)
        bare = replace(first, deepstack=tuple(level * 0 for level in first.deepstack))
        assert (judge.logits_from_features(bare, second, [SHORT] * 2) - usual).abs().min() > 1e-4
        joined = type(seen).join([seen.select([1]), seen.select([0])]).select([1, 0])
        assert torch.equal(judge.logits_from_features(joined, second, [SHORT] * 2), usual)
        tiled = judge.logits_from_features(first.tile(2), second.tile(2), [SHORT] * 2 + [LONG] * 2)
        assert torch.allclose(tiled[:2], usual, atol=1e-5)


def test_one_look_serves_both_orders(judge: Judge, task: Task, picture: Draw) -> None:
    looks: list[int] = []
    watch = judge.model.model.visual.register_forward_hook(lambda *_: looks.append(1))
    there = ask(judge, picture(1), picture(2, 130, 70), task, task.dimensions, "hat")
    watch.remove()
    assert len(looks) == 2
    back = ask(judge, picture(2, 130, 70), picture(1), task, task.dimensions, "hat")
    for forth, reverse in zip(there, back, strict=True):
        assert forth.p_first + reverse.p_first == pytest.approx(1.0, abs=1e-6)


def test_the_gradient_reaches_both_images_and_no_weight(judge: Judge, picture: Draw) -> None:
    first = to_tensor(picture(1, 80, 96)).requires_grad_()
    second = to_tensor(picture(2)).requires_grad_()
    judge.prob_first_better(first, second, [SHORT]).sum().backward()
    for image in (first, second):
        assert image.grad is not None
        assert torch.isfinite(image.grad).all()
        assert (image.grad != 0).float().mean() > 0.9
    assert all(parameter.grad is None for parameter in judge.model.parameters())


def test_training_the_judge_reaches_every_weight(folder: Path) -> None:
    judge = load_judge(str(folder), device="cpu")
    judge.model.requires_grad_(True)
    image = torch.rand(2, 3, 64, 64)
    judge.logits(image, image.flip(0), [SHORT, LONG]).sum().backward()
    untouched = [
        name
        for name, parameter in judge.model.named_parameters()
        if parameter.grad is None or not parameter.grad.any()
    ]
    assert not untouched


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_image_that_is_no_number_is_an_error(judge: Judge, value: float) -> None:
    image = torch.rand(1, 3, 64, 64)
    image[0, 1, 5, 5] = value
    with pytest.raises(OnefillError, match="an image holds values that are no numbers"):
        judge.logits(image, torch.rand(1, 3, 64, 64), [SHORT])


def test_an_output_head_kept_on_the_disk_is_brought(
    folder: Path, judge: Judge, picture: Draw
) -> None:
    where = {"model": "cpu", "lm_head": "disk"}
    loaded = load_judge(str(folder), device="cpu", device_map=where)
    assert loaded.model.lm_head.weight.is_meta
    pair = to_tensor(picture(1)), to_tensor(picture(2))
    with torch.no_grad():
        assert torch.allclose(loaded.logits(*pair, [LONG]), judge.logits(*pair, [LONG]), atol=1e-5)

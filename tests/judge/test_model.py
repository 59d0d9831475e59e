from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import nn
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from onefill.errors import BadInput
from onefill.judge.loading import load_judge
from onefill.judge.model import Judge
from onefill.judge.processor import StillProcessor, load_processor
from onefill.judge.query import build_messages
from onefill.judge.saving import save_judge
from onefill.judge.vision import PatchProjection
from onefill.pocket.judge.architecture import (
    CHAT_TEMPLATE,
    build_image_processor,
    build_judge_model,
    build_judge_tokenizer,
)

from .conftest import to_tensor

Draw = Callable[..., Image.Image]

SHORT = "Task: fill. Dimension: looks. Better?"
LONG = "Task: fill. Dimension: word match. Is it what was asked for? Prompt: 红色的帽子 and a hat."


def stock_logits(folder: Path, pairs: list[tuple[Image.Image, Image.Image]], queries: list[str]):
    """Logits as anyone with transformers alone would compute them."""
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    processor = load_processor(folder)
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


@pytest.fixture(scope="module")
def like_7b(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the 7B model has and the embedded one has not, in miniature.

    Windowed vision blocks, fewer key than query heads, an output head of its own, patches of 14,
    Qwen's system turn and a range of image sizes.
    """
    system = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
    tokenizer = build_judge_tokenizer([SHORT])
    tokenizer.chat_template = system + CHAT_TEMPLATE
    ids = {
        name: tokenizer.convert_tokens_to_ids(f"<|{token}|>")
        for name, token in (
            ("image_token_id", "image_pad"),
            ("video_token_id", "video_pad"),
            ("vision_start_token_id", "vision_start"),
            ("vision_end_token_id", "vision_end"),
        )
    }
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer) + 5,
            "hidden_size": 64,
            "intermediate_size": 96,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "initializer_range": 0.1,
            "pad_token_id": tokenizer.pad_token_id,
            "bos_token_id": None,
            "eos_token_id": None,
            "rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3]},
        },
        vision_config={
            "depth": 3,
            "hidden_size": 32,
            "num_heads": 2,
            "intermediate_size": 48,
            "out_hidden_size": 64,
            "patch_size": 14,
            "window_size": 56,
            "fullatt_block_indexes": [1],
            "initializer_range": 0.1,
        },
        tie_word_embeddings=False,
        **ids,
    )
    torch.manual_seed(3)
    folder = tmp_path_factory.mktemp("judges") / "like-7b"
    processor = Qwen2VLImageProcessorPil(min_pixels=56 * 56, max_pixels=28 * 28 * 12)
    save_judge(folder, Qwen2_5_VLForConditionalGeneration(config), tokenizer, processor, {})
    return folder


def test_logits_are_those_of_the_stock_processor_and_model(
    judge_folder: Path, judge: Judge, picture: Draw
) -> None:
    pairs = [(picture(2 * i), picture(2 * i + 1)) for i in range(3)]
    queries = [SHORT, LONG, SHORT]  # of different length: the short ones are padded
    expected = stock_logits(judge_folder, pairs, queries)
    first, second = (to_tensor(*side) for side in zip(*pairs, strict=True))
    with torch.no_grad():
        logits = judge.logits(first, second, queries)
    assert expected.std() > 0.01  # the comparison would see a difference
    assert (logits - expected).abs().max() <= 1e-5


def test_logits_of_a_judge_built_like_the_7b(like_7b: Path, picture: Draw) -> None:
    judge = load_judge(str(like_7b), device="cpu")
    pairs = [(picture(i, 112, 84), picture(i + 9, 84, 84)) for i in range(2)]
    queries = [LONG, SHORT]
    first, second = (to_tensor(*side) for side in zip(*pairs, strict=True))
    with torch.no_grad():
        logits = judge.logits(first, second, queries)
    assert (logits - stock_logits(like_7b, pairs, queries)).abs().max() <= 1e-5


@pytest.mark.parametrize("sizes", [((300, 200), (64, 64)), ((90, 90), (50, 100))])
def test_pictures_of_any_two_sizes_are_judged_as_the_stock_model_does(
    judge_folder: Path,
    judge: Judge,
    picture: Draw,
    sizes: tuple[tuple[int, int], tuple[int, int]],
) -> None:
    pair = (picture(1, *sizes[0]), picture(2, *sizes[1]))
    with torch.no_grad():
        features = [judge.encode_picture(side) for side in pair]
        logit = judge.logits_from_features(*features, [SHORT])
    assert (logit - stock_logits(judge_folder, [pair], [SHORT])).abs().max() <= 1e-5


def test_the_order_of_the_images_matters_to_the_model(judge: Judge, picture: Draw) -> None:
    a, b = to_tensor(picture(1)), to_tensor(picture(2))
    with torch.no_grad():
        assert abs(float(judge.logits(a, b, [SHORT]) - judge.logits(b, a, [SHORT]))) > 1e-3


def test_the_gradient_reaches_both_images_and_no_weight(judge: Judge, picture: Draw) -> None:
    first = to_tensor(picture(1, 80, 96)).requires_grad_()
    second = to_tensor(picture(2)).requires_grad_()
    judge.prob_first_better(first, second, [SHORT]).sum().backward()
    for image in (first, second):
        assert image.grad is not None
        assert torch.isfinite(image.grad).all()
        assert (image.grad != 0).float().mean() > 0.9
    assert all(parameter.grad is None for parameter in judge.model.parameters())


def test_the_gradient_is_that_of_the_logit(judge: Judge) -> None:
    """Along the gradient the logit rises by what the gradient promises."""
    torch.manual_seed(0)
    # Steps of whole grey levels: between them the judge, which sees 8 bits, sees nothing.
    levels = torch.randint(60, 190, (1, 3, 64, 64)).float()
    image = (levels / 255).requires_grad_()
    other = torch.rand(1, 3, 64, 64)
    before = judge.logits(image, other, [SHORT])
    before.sum().backward()
    assert image.grad is not None
    step = image.grad.sign() / 255 * (torch.rand(1, 1, 64, 64) < 0.1)
    with torch.no_grad():
        after = judge.logits(image + step, other, [SHORT])
        before_back = judge.logits(image - step, other, [SHORT])
    promised = float((image.grad * step).sum())
    assert float(after - before_back) / 2 == pytest.approx(promised, rel=0.05)


def test_a_batch_answers_as_its_members_do(judge: Judge, picture: Draw) -> None:
    first = to_tensor(*[picture(i) for i in range(4)])
    second = to_tensor(*[picture(i + 10) for i in range(4)])
    queries = [SHORT, LONG, LONG, SHORT]
    with torch.no_grad():
        together = judge.logits(first, second, queries)
        alone = [judge.logits(first[i : i + 1], second[i : i + 1], [queries[i]]) for i in range(4)]
    assert torch.allclose(together, torch.cat(alone), atol=1e-5)


def test_one_look_serves_several_questions_and_both_orders(judge: Judge, picture: Draw) -> None:
    a, b = to_tensor(picture(1), picture(2)), to_tensor(picture(3), picture(4))
    looks = []
    watch = judge.model.model.visual.register_forward_hook(lambda *_: looks.append(1))
    with torch.no_grad():
        seen_a, seen_b = judge.encode_images(a), judge.encode_images(b)
        queries = [SHORT, SHORT, LONG, LONG]
        forward = judge.logits_from_features(seen_a.tile(2), seen_b.tile(2), queries)
        backward = judge.logits_from_features(
            seen_b.select([1, 0]), seen_a.select([1, 0]), [LONG] * 2
        )
        assert len(looks) == 2
        watch.remove()
        expected = torch.cat([judge.logits(a, b, [SHORT] * 2), judge.logits(a, b, [LONG] * 2)])
        assert torch.allclose(forward, expected, atol=1e-5)
        assert torch.allclose(backward, judge.logits(b, a, [LONG] * 2).flip(0), atol=1e-5)


def test_the_probability_is_that_of_yes_among_the_two_answers(judge: Judge, picture: Draw) -> None:
    a, b = to_tensor(picture(1)), to_tensor(picture(2))
    with torch.no_grad():
        logit = judge.logits(a, b, [SHORT])
        assert torch.equal(judge.prob_first_better(a, b, [SHORT]), torch.sigmoid(logit))


def test_a_prompt_full_of_markers_stays_a_prompt(judge: Judge, task: Any, picture: Draw) -> None:
    from onefill.judge.query import build_query

    query = build_query(task, task.dimension("word-match"), "<|image_pad|><|im_end|> hat")
    with torch.no_grad():
        logit = judge.logits(to_tensor(picture(1)), to_tensor(picture(2)), [query])
    assert torch.isfinite(logit).all()


def test_a_prompt_longer_than_the_judge_reads_is_refused(judge: Judge, picture: Draw) -> None:
    image = to_tensor(picture(1))
    with pytest.raises(BadInput, match=r"--prompt: the question is .* shorten"):
        judge.logits(image, image, ["hat " * 3000])


def test_images_and_queries_must_be_as_many(judge: Judge) -> None:
    image = torch.rand(1, 3, 64, 64)
    with pytest.raises(ValueError, match="2 queries"):
        judge.logits(image, image, [SHORT, LONG])


def test_a_tokenizer_that_splits_an_answer_is_refused() -> None:
    whole = build_judge_tokenizer([SHORT])
    bytes_only = type(whole)(
        vocab={
            token: id_ for token, id_ in whole.get_vocab().items() if token not in {"Yes", "Ye"}
        },
        merges=[],
        extra_special_tokens=list(whole.extra_special_tokens),
    )
    bytes_only.chat_template = CHAT_TEMPLATE
    model = build_judge_model(whole)
    with pytest.raises(BadInput, match="'Yes' is 3 tokens, and a judge must answer with one"):
        Judge(model, StillProcessor(build_image_processor(), bytes_only))


def test_a_chat_template_without_places_for_images_is_refused() -> None:
    tokenizer = build_judge_tokenizer([SHORT])
    model = build_judge_model(tokenizer)
    text_only = "{% for m in messages %}{{ m['content'][0]['text'] }}{% endfor %}"
    with pytest.raises(BadInput, match="chat template: it has 0 places"):
        Judge(model, StillProcessor(build_image_processor(), tokenizer, text_only))


def test_the_patch_projection_is_the_convolution_it_replaces() -> None:
    torch.manual_seed(0)
    conv = nn.Conv3d(3, 10, (2, 8, 8), (2, 8, 8), bias=False)
    expected_weight = conv.weight
    patches = torch.randn(5, 3, 2, 8, 8, requires_grad=True)
    expected = conv(patches)
    gradients = torch.autograd.grad(expected.pow(2).sum(), [patches, conv.weight])
    projection = PatchProjection.in_place_of(conv)
    output = projection(patches)
    assert projection.weight is expected_weight
    assert torch.allclose(output, expected, atol=1e-6)
    for ours, theirs in zip(
        torch.autograd.grad(output.pow(2).sum(), [patches, projection.weight]),
        gradients,
        strict=True,
    ):
        assert torch.allclose(ours, theirs, atol=1e-4)


def test_training_the_judge_reaches_every_weight(judge_folder: Path) -> None:
    judge = load_judge(str(judge_folder), device="cpu")
    judge.model.requires_grad_(True)
    image = torch.rand(2, 3, 64, 64)
    judge.logits(image, image.flip(0), [SHORT, LONG]).sum().backward()
    untouched = [
        name
        for name, parameter in judge.model.named_parameters()
        if parameter.grad is None or not parameter.grad.any()
    ]
    # A key's bias shifts all scores of a query alike, and softmax does not see it.
    assert all(name.endswith("k_proj.bias") for name in untouched)

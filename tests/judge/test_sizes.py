"""Judges of real size, counted without their weights; shards, devices, dtypes, quantizers."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from onefill.errors import BadInput
from onefill.judge.loading import load_judge
from onefill.judge.model import Judge
from onefill.judge.processor import StillProcessor
from onefill.judge.quantize import check_quantizer, check_trainable
from onefill.judge.sizes import (
    PUBLISHED,
    build_on_meta,
    operations_per_pair,
    published_config,
    sizes_table,
    text_operations,
    vision_operations,
    weight_bytes,
)
from onefill.pocket.judge.architecture import build_image_processor, build_judge_tokenizer

from .conftest import to_tensor

Draw = Callable[..., Image.Image]
QUERY = "Task: fill. Dimension: looks. Better?"
PAGE = Path(__file__).parents[2] / "docs" / "judge-internals.md"


@pytest.fixture(scope="module", params=PUBLISHED)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def real(name: str) -> Judge:
    """A judge of real size on the meta device, with a small tokenizer."""
    tokenizer = build_judge_tokenizer([QUERY])
    config = published_config(name)
    config.image_token_id = tokenizer.convert_tokens_to_ids("<|image_pad|>")
    processor = build_image_processor(config.vision_config.patch_size, pixels=140 * 196)
    return Judge(build_on_meta(config), StillProcessor(processor, tokenizer))


def test_parameters_of_the_published_models(name: str, real: Judge) -> None:
    count = sum(parameter.numel() for parameter in real.model.parameters())
    assert count == {"Qwen2.5-VL-3B": 3_754_622_976, "Qwen2.5-VL-7B": 8_292_166_656}[name]
    assert weight_bytes(real.model, "float32") == 4 * count
    assert weight_bytes(real.model, "bfloat16") == 2 * count
    bits = [weight_bytes(real.model, kind) for kind in ("bfloat16", "torchao-int8", "bnb-4bit")]
    assert bits[0] > 1.5 * bits[1] > 2 * bits[2]


@torch.no_grad()
def test_operations_are_those_that_torch_counts_in_the_judge(real: Judge) -> None:
    """The whole judge runs on the meta device, windows, grouped heads and all."""
    config = real.model.config
    height, width = 140, 196  # windows of 4 tokens do not divide it
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as seeing:
        seen = real.encode_levels(torch.empty(2, 3, height, width, device="meta"))
    assert seen.tokens.shape == (2, 35, config.text_config.hidden_size)
    assert seeing.get_total_flops() == 2 * vision_operations(config, height, width)
    before, between, after = real._text_around_images(QUERY)
    length = len(before) + len(between) + len(after) + 2 * 35
    first, second = seen.select([0]), seen.select([1])
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as answering:
        hidden = real._read(first, second, [QUERY]).last_hidden_state[:, -1]
    assert hidden.shape == (1, config.text_config.hidden_size)
    assert answering.get_total_flops() == text_operations(config, length)


def test_more_questions_cost_no_more_looks() -> None:
    config = published_config("Qwen2.5-VL-7B")
    one, two, eight = (operations_per_pair(config, 504, 504, questions=n) for n in (1, 2, 8))
    assert eight - one == 7 * (two - one)
    assert one - (two - one) == 2 * vision_operations(config, 504, 504)


def test_the_page_shows_what_is_counted() -> None:
    assert sizes_table() in PAGE.read_text(encoding="utf-8")


def test_the_page_shows_what_the_embedded_judge_reads(judge: Judge) -> None:
    from onefill.judge.query import build_messages, build_query
    from onefill.tasks.registry import load_tasks

    fill = load_tasks().get("fill")
    query = build_query(fill, fill.dimension("text-alignment"), "straw hat")
    text = judge.processor.apply_chat_template(
        build_messages(query), tokenize=False, add_generation_prompt=True
    )
    assert f"```text\n{text}\n```" in PAGE.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def sharded(judge: Judge, judge_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("judges") / "sharded"
    judge.model.save_pretrained(folder, max_shard_size="8KB")
    judge.processor.tokenizer.save_pretrained(folder)
    judge.processor.image_processor.save_pretrained(folder)
    assert len(list(folder.glob("model-*.safetensors"))) > 2
    return folder


@pytest.mark.parametrize(
    "device_map",
    [
        None,
        "auto",
        {"": "cpu"},
        {"model.visual": "cpu", "model.language_model": "cpu", "lm_head": "cpu"},
    ],
)
def test_shards_load_and_spread_over_devices(
    sharded: Path, judge: Judge, picture: Draw, device_map: str | dict[str, str] | None
) -> None:
    loaded = load_judge(str(sharded), device="cpu", device_map=device_map)
    first, second = to_tensor(picture(1)), to_tensor(picture(2)).requires_grad_()
    with torch.no_grad():
        expected = judge.logits(first, second, [QUERY])
    found = loaded.logits(first, second, [QUERY])
    assert torch.equal(found, expected)
    found.sum().backward()
    assert second.grad is not None
    assert second.grad.any()


@pytest.mark.parametrize("kept", ["model.language_model.layers", "model.visual"])
def test_layers_kept_on_the_disk_answer_alike(
    sharded: Path, judge: Judge, picture: Draw, kept: str
) -> None:
    parts = ("embed_tokens", "layers", "norm", "rotary_emb")
    names = ["model.visual", "lm_head", *(f"model.language_model.{part}" for part in parts)]
    where = dict.fromkeys(names, "cpu") | {kept: "disk"}
    loaded = load_judge(str(sharded), device="cpu", device_map=where)
    assert next(loaded.model.get_submodule(kept).parameters()).is_meta
    first, second = (to_tensor(picture(i), picture(i + 2)) for i in (1, 5))
    for queries in ([QUERY, "Other?"], [QUERY] * 2):
        with torch.no_grad():
            found = loaded.logits(first, second, queries)
            assert torch.allclose(found, judge.logits(first, second, queries), atol=1e-5)


def test_a_missing_shard_is_refused(sharded: Path, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "broken"
    shutil.copytree(sharded, folder)
    next(iter(sorted(folder.glob("model-*.safetensors")))).unlink()
    with pytest.raises(BadInput, match="cannot be loaded"):
        load_judge(str(folder), device="cpu")


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_changes_an_answer_little(
    judge_folder: Path, judge: Judge, picture: Draw, dtype: str
) -> None:
    half = load_judge(str(judge_folder), device="cpu", dtype=dtype)
    assert {p.dtype for p in half.model.parameters()} == {getattr(torch, dtype)}
    pair = to_tensor(picture(1)), to_tensor(picture(2))
    with torch.no_grad():
        exact = judge.prob_first_better(*pair, [QUERY])
        assert abs(float(half.prob_first_better(*pair, [QUERY]) - exact)) < 0.1


def test_an_unknown_dtype_is_refused(judge_folder: Path) -> None:
    with pytest.raises(BadInput, match="--dtype float8: unknown; choose from float32"):
        load_judge(str(judge_folder), device="cpu", dtype="float8")


def test_an_unknown_quantizer_is_refused(judge_folder: Path) -> None:
    with pytest.raises(BadInput, match="--quantize tiny: unknown; choose from bnb-8bit"):
        load_judge(str(judge_folder), device="cpu", quantize="tiny")


def test_a_quantizer_that_needs_a_gpu_is_refused_without_one(judge_folder: Path) -> None:
    with pytest.raises(BadInput, match=r"works on cuda, and .* on cpu; try --quantize torchao"):
        load_judge(str(judge_folder), device="cpu", quantize="bnb-4bit")


@pytest.mark.parametrize("quantizer", ["bnb-8bit", "torchao-int8"])
def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, quantizer: str) -> None:
    monkeypatch.setattr("onefill.quantizers.find_spec", lambda name: None)
    with pytest.raises(BadInput, match=r"needs the package .*; `pip install "):
        check_quantizer(quantizer, torch.device("cpu"))


def test_a_quantized_judge_is_not_trained(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    from onefill.judge.training import session
    from onefill.judge.training.settings import JudgeTrainingSettings

    settings = JudgeTrainingSettings(pairs=("pairs.jsonl",), base="here", method="lora", rate=1e-4)
    monkeypatch.setattr(session, "load_judge", lambda *_, **__: judge)
    assert session._load_base(settings, offline=True) is judge
    monkeypatch.setattr(judge.model, "is_quantized", True, raising=False)
    with pytest.raises(BadInput, match="--base here: a quantized judge can be asked and not"):
        session._load_base(settings, offline=True)


@pytest.mark.parametrize(
    ("quantizer", "package"), [("torchao-int8", "torchao"), ("bnb-8bit", "bitsandbytes")]
)
def test_a_quantized_judge_answers_about_alike(
    judge_folder: Path, judge: Judge, picture: Draw, quantizer: str, package: str
) -> None:
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    small = load_judge(str(judge_folder), device="cpu", quantize=quantizer)
    with pytest.raises(BadInput, match="can be asked and not trained"):
        check_trainable(small.model, "--base")
    pair = to_tensor(picture(1)), to_tensor(picture(2))
    with torch.no_grad():
        exact = judge.prob_first_better(*pair, [QUERY])
        assert abs(float(small.prob_first_better(*pair, [QUERY]) - exact)) < 0.1

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from onefill.errors import BadInput
from onefill.judge.loading import load_judge
from onefill.judge.model import Judge
from onefill.judge.processor import StillProcessor, load_processor
from onefill.judge.vision import PatchProjection
from onefill.pocket.judge.architecture import (
    build_image_processor,
    build_judge_model,
    build_judge_tokenizer,
    judge_corpus,
    save_judge,
    write_random_judge,
)
from onefill.tasks.types import Task


@pytest.fixture
def copy(judge_folder: Path, tmp_path: Path) -> Path:
    """A judge folder to damage."""
    folder = tmp_path / "copy"
    shutil.copytree(judge_folder, folder)
    return folder


def edit_json(path: Path, change: Callable[[dict], None]) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def test_stock_transformers_loads_the_folder(judge_folder: Path) -> None:
    model, report = Qwen2_5_VLForConditionalGeneration.from_pretrained(
        judge_folder, output_loading_info=True
    )
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    ours = load_judge(str(judge_folder), device="cpu").model
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, ours.get_parameter(name))
    tokenizer = AutoTokenizer.from_pretrained(judge_folder)
    assert [len(tokenizer.encode(answer)) for answer in ("Yes", "No")] == [1, 1]


def test_a_loaded_judge_is_frozen_and_asks_in_evaluation_mode(judge_folder: Path) -> None:
    judge = load_judge(str(judge_folder), device="cpu")
    assert not judge.model.training
    assert not any(parameter.requires_grad for parameter in judge.model.parameters())


def test_half_precision_on_disk_is_single_precision_in_memory(
    judge_folder: Path, tmp_path: Path
) -> None:
    judge = load_judge(str(judge_folder), device="cpu")
    processor = judge.processor
    save_judge(
        tmp_path / "half",
        judge.model,
        processor.tokenizer,
        processor.image_processor,
        {"dimensions": {"fill/structure": {"accuracy": 0.8, "temperature": 1.5}}},
        dtype=torch.float16,
    )
    single, half = (folder / "model.safetensors" for folder in (judge_folder, tmp_path / "half"))
    assert half.stat().st_size < 0.6 * single.stat().st_size
    assert judge.model.lm_head.weight is judge.model.get_input_embeddings().weight
    assert "lm_head.weight" not in load_file(half)  # written once, as the stock model does
    again = load_judge(str(tmp_path / "half"), device="cpu")
    assert again.calibration == {"fill/structure": 1.5}
    for name, parameter in judge.model.named_parameters():
        loaded = again.model.get_parameter(name)
        assert loaded.dtype == torch.float32
        assert torch.equal(loaded, parameter.half().float())


def test_a_random_judge_depends_on_its_seed_alone(tmp_path: Path) -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        write_random_judge(tmp_path / name, seed=seed)
    assert torch.equal(torch.get_rng_state(), before)
    weights = [load_file(tmp_path / name / "model.safetensors") for name in "abc"]
    key = next(name for name in weights[0] if name.endswith("qkv.weight"))
    assert torch.equal(weights[0][key], weights[1][key])
    assert not torch.equal(weights[0][key], weights[2][key])


def test_every_word_of_the_corpus_is_one_token(task: Task) -> None:
    words = ["straw hat", "umbrella", "澳门"]
    tokenizer = build_judge_tokenizer(judge_corpus([task], words))
    for word in ("Yes", "No", " paint", " Dimension", " straw", " hat", " umbrella", " 澳门", "?"):
        assert len(tokenizer.encode(word)) == 1, word
    unseen = "Zebra-ähnlich 日本 🦓"
    assert tokenizer.decode(tokenizer.encode(unseen)) == unseen


def test_the_7b_configuration_is_wired_the_same_way() -> None:
    """Qwen2.5-VL-7B-Instruct's own numbers, without its weights."""
    tokenizer = build_judge_tokenizer(["x"])
    ids = {
        "image_token_id": tokenizer.convert_tokens_to_ids("<|image_pad|>"),
        "video_token_id": tokenizer.convert_tokens_to_ids("<|video_pad|>"),
    }
    config = Qwen2_5_VLConfig(
        hidden_size=3584,
        intermediate_size=18944,
        num_hidden_layers=28,
        num_attention_heads=28,
        num_key_value_heads=4,
        vocab_size=152064,
        max_position_embeddings=128000,
        rms_norm_eps=1e-6,
        rope_theta=1000000.0,
        rope_scaling={"type": "mrope", "mrope_section": [16, 24, 24]},
        tie_word_embeddings=False,
        vision_config={
            "depth": 32,
            "hidden_size": 1280,
            "intermediate_size": 3420,
            "num_heads": 16,
            "out_hidden_size": 3584,
            "patch_size": 14,
            "window_size": 112,
            "fullatt_block_indexes": [7, 15, 23, 31],
        },
        **ids,
    )
    with torch.device("meta"):
        model = Qwen2_5_VLForConditionalGeneration(config)
    judge = Judge(model, StillProcessor(build_image_processor(14), tokenizer))
    assert sum(parameter.numel() for parameter in model.parameters()) == 8_292_166_656
    projection = model.model.visual.patch_embed.proj
    assert isinstance(projection, PatchProjection)
    assert projection(torch.empty(6, 3, 2, 14, 14, device="meta")).shape == (6, 1280, 1, 1, 1)
    assert judge.recipe.patch_size == 14


def test_a_head_whose_width_does_not_suit_the_rotary_angles_is_refused() -> None:
    from onefill.pocket.judge.architecture import TowerSize

    with pytest.raises(ValueError, match="multiple of 4"):
        TowerSize(width=20, heads=2)
    model = build_judge_model(build_judge_tokenizer(["x"]), text=TowerSize(width=80, heads=4))
    section = model.config.text_config.rope_parameters["mrope_section"]
    assert sum(section) == 80 // 4 // 2


def refused(folder: Path | str, *, offline: bool = True) -> str:
    with pytest.raises(BadInput) as caught:
        load_judge(str(folder), device="cpu", offline=offline)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_judge_of_another_template_says_so(copy: Path) -> None:
    edit_json(copy / "onefill_judge.json", lambda card: card.update(template_version=99))
    assert "trained with query template 99" in refused(copy)


@pytest.mark.parametrize(
    "content",
    ["{", "[]", "{}", '{"template_version": 1, "dimensions": {"a/b": {"temperature": 0}}}', "null"],
)
def test_a_card_that_is_no_card_is_refused(copy: Path, content: str) -> None:
    (copy / "onefill_judge.json").write_text(content)
    assert "onefill_judge.json" in refused(copy)


def test_a_judge_without_a_card_is_asked_without_calibration(copy: Path) -> None:
    (copy / "onefill_judge.json").unlink()
    assert load_judge(str(copy), device="cpu").calibration == {}


@pytest.mark.parametrize(
    ("name", "hint"),
    [("nosuch", "`onefill models`"), ("../nosuch/x", "`onefill models`"), ("", "`onefill models`")],
)
def test_an_unknown_judge_is_refused(name: str, hint: str) -> None:
    assert hint in refused(name)


def test_a_hub_judge_that_is_not_in_the_cache_is_refused_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert "run once without --offline" in refused("nobody/no-such-judge")


def test_a_folder_of_another_model_is_refused(copy: Path) -> None:
    edit_json(copy / "config.json", lambda config: config.update(model_type="llama"))
    assert "a model of type llama" in refused(copy)


@pytest.mark.parametrize(
    "file", ["config.json", "model.safetensors", "preprocessor_config.json", "chat_template.jinja"]
)
def test_a_missing_file_is_refused(copy: Path, file: str) -> None:
    (copy / file).unlink()
    refused(copy)


def test_a_missing_tokenizer_is_refused(copy: Path) -> None:
    for path in copy.glob("tokenizer*"):
        path.unlink()
    refused(copy)


@pytest.mark.parametrize(
    "file", ["config.json", "model.safetensors", "preprocessor_config.json", "tokenizer.json"]
)
def test_a_truncated_file_is_refused(copy: Path, file: str) -> None:
    path = copy / file
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    refused(copy)


def test_missing_weights_are_refused_rather_than_drawn_at_random(copy: Path) -> None:
    path = copy / "model.safetensors"
    weights = load_file(path)
    del weights[next(name for name in weights if name.endswith("merger.mlp.0.weight"))]
    save_file(weights, path, metadata={"format": "pt"})
    assert "1 weights are missing" in refused(copy)


def test_an_unknown_device_is_refused(judge_folder: Path) -> None:
    with pytest.raises(BadInput, match=r"--device abacus: .*--device cpu"):
        load_judge(str(judge_folder), device="abacus")


def test_the_processor_needs_no_video_part(judge_folder: Path) -> None:
    processor = load_processor(judge_folder)
    assert not hasattr(processor, "video_processor")

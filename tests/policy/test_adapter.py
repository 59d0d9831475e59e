from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import FluxFillPipeline
from safetensors.torch import save_file
from torch import Tensor

from onefill.errors import BadInput
from onefill.pocket.policy.architecture import (
    assemble,
    build_text_encoders,
    build_tokenizers,
    build_transformer,
    build_vae,
)
from onefill.policy.choice import ADAPTER_FILE
from onefill.policy.flux_fill import FluxFillPolicy
from onefill.policy.loading import load_policy
from onefill.policy.settings import PolicySettings

from .conftest import disturb

Paint = Callable[..., Tensor]


@pytest.fixture
def trained(policy: FluxFillPolicy) -> FluxFillPolicy:
    policy.add_lora(rank=2, alpha=6, seed=3)
    disturb(policy.trainable_parameters())
    return policy


def test_a_fresh_adapter_changes_nothing_and_its_seed_decides_it(
    folder: Path, policy: FluxFillPolicy, paint: Paint
) -> None:
    before = paint(policy)
    state = torch.random.get_rng_state()
    policy.add_lora(rank=2, alpha=6, seed=3)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(paint(policy), before)
    for seed, equal in ((3, True), (4, False)):
        other = load_policy(str(folder))
        other.add_lora(rank=2, alpha=6, seed=seed)
        assert (other.fingerprint() == policy.fingerprint()) is equal


def test_adapter_off_is_exactly_the_untouched_model(
    folder: Path, trained: FluxFillPolicy, paint: Paint
) -> None:
    untouched = paint(load_policy(str(folder)), guidance=3.0)
    assert (paint(trained, guidance=3.0) - untouched).abs().max() > 1e-2
    with trained.adapter_off():
        assert torch.equal(paint(trained, guidance=3.0), untouched)
        assert len(trained.trainable_parameters()) > 30
    assert (paint(trained, guidance=3.0) - untouched).abs().max() > 1e-2
    assert all(p.requires_grad for p in trained.trainable_parameters().values())


def test_adapter_off_ends_even_when_painting_fails(trained: FluxFillPolicy, paint: Paint) -> None:
    before = paint(trained)
    with pytest.raises(RuntimeError), trained.adapter_off():
        raise RuntimeError
    assert torch.equal(paint(trained), before)


def test_without_an_adapter_adapter_off_changes_nothing(
    policy: FluxFillPolicy, paint: Paint
) -> None:
    before = paint(policy)
    with policy.adapter_off():
        assert torch.equal(paint(policy), before)


def test_the_stock_pipeline_loads_a_saved_adapter_and_paints_the_same(
    folder: Path, trained: FluxFillPolicy, paint: Paint, paint_stock: Paint, tmp_path: Path
) -> None:
    trained.save_adapter(tmp_path)
    stock = FluxFillPipeline.from_pretrained(folder)
    stock.load_lora_weights(tmp_path)
    assert (paint_stock(stock) - paint(trained)).abs().max() <= 1e-6


def test_a_saved_adapter_comes_back_exactly_and_can_be_trained_on(
    folder: Path, trained: FluxFillPolicy, tmp_path: Path
) -> None:
    trained.save_adapter(tmp_path)
    again = load_policy(str(folder))
    again.add_lora(rank=4, alpha=4, seed=0)  # replaced by what is loaded
    again.load_adapter(tmp_path)
    assert again.fingerprint() == trained.fingerprint()
    assert all(p.requires_grad for p in again.trainable_parameters().values())


def test_adapter_weights_are_float32_on_a_half_precision_model(
    folder: Path, trained: FluxFillPolicy, tmp_path: Path
) -> None:
    trained.save_adapter(tmp_path)
    half = load_policy(str(folder), dtype="bfloat16")
    half.load_adapter(tmp_path)
    exact = trained.trainable_parameters()
    for name, parameter in half.trainable_parameters().items():
        assert torch.equal(parameter, exact[name]), name
    half.add_lora(rank=2, alpha=2, seed=0)
    assert {p.dtype for p in half.trainable_parameters().values()} == {torch.float32}
    assert half.dtype == torch.bfloat16


def test_full_training_uses_float32_masters(folder: Path, paint: Paint) -> None:
    half = load_policy(str(folder), dtype="bfloat16")
    half.train_full()
    assert {p.dtype for p in half.trainable_parameters().values()} == {torch.float32}
    assert paint(half, guidance=2.0).isfinite().all()


def test_full_training_is_refused_on_top_of_an_adapter(trained: FluxFillPolicy) -> None:
    with pytest.raises(ValueError, match="adapter"):
        trained.train_full()


def test_a_saved_pipeline_has_the_adapter_worked_in(
    trained: FluxFillPolicy, paint: Paint, paint_stock: Paint, tmp_path: Path
) -> None:
    fingerprint = trained.fingerprint()
    trained.save_pipeline(tmp_path)
    assert (
        paint_stock(FluxFillPipeline.from_pretrained(tmp_path)) - paint(trained)
    ).abs().max() <= 1e-4
    assert trained.fingerprint() == fingerprint


def test_only_the_named_layers_are_adapted(policy: FluxFillPolicy) -> None:
    policy.add_lora(rank=2, alpha=2, seed=0, targets=["attn.to_q"])
    assert len(policy.trainable_parameters()) == 4
    assert all(".attn.to_q." in name for name in policy.trainable_parameters())


def test_saving_needs_an_adapter(policy: FluxFillPolicy, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no adapter"):
        policy.save_adapter(tmp_path)


def test_a_folder_without_adapter_and_a_broken_one_are_named(
    policy: FluxFillPolicy, paint: Paint, tmp_path: Path
) -> None:
    before = paint(policy)
    with pytest.raises(BadInput, match=ADAPTER_FILE):
        policy.load_adapter(tmp_path)
    (tmp_path / ADAPTER_FILE).write_bytes(b"no tensors")
    with pytest.raises(BadInput, match="does not fit"):
        policy.load_adapter(tmp_path)
    assert torch.equal(paint(policy), before)


def test_an_adapter_of_the_text_encoder_is_refused(policy: FluxFillPolicy, tmp_path: Path) -> None:
    layer = "text_encoder.encoder.layers.0.self_attn.q_proj"
    weights = {f"{layer}.lora_A.weight": torch.ones(2, 16)}
    save_file({**weights, f"{layer}.lora_B.weight": torch.ones(16, 2)}, tmp_path / ADAPTER_FILE)
    with pytest.raises(BadInput, match="text encoder, which stays frozen"):
        policy.load_adapter(tmp_path)


def test_an_adapter_of_another_model_is_refused(
    policy: FluxFillPolicy, paint: Paint, tmp_path: Path
) -> None:
    clip_tokenizer, t5_tokenizer = build_tokenizers(["cat"])
    clip, t5 = build_text_encoders(clip_tokenizer, t5_tokenizer, width=32)
    wide = assemble(
        clip_tokenizer=clip_tokenizer,
        t5_tokenizer=t5_tokenizer,
        clip=clip,
        t5=t5,
        transformer=build_transformer(layers=1, single_layers=1, heads=2, joint=32, pooled=32),
        vae=build_vae(width=8, blocks=1),
    )
    other = FluxFillPolicy(wide, PolicySettings(multiple=8))
    other.add_lora(rank=2, alpha=2, seed=0)
    other.save_adapter(tmp_path)
    before = paint(policy)
    with pytest.raises(BadInput, match="does not fit this model"):
        policy.load_adapter(tmp_path)
    assert torch.equal(paint(policy), before)
    assert policy.trainable_parameters() == {}

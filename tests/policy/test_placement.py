"""Weights that wait elsewhere, or take fewer bits, paint the same or nearly the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import FluxTransformer2DModel
from torch import Tensor

from onefill.errors import BadInput
from onefill.policy.choice import DTYPES, OFFLOADS, PRESETS, Memory, ModelChoice
from onefill.policy.flux_fill import FluxFillPolicy
from onefill.policy.loading import load_chosen, load_policy
from onefill.policy.published import FLUX_FILL, PUBLISHED, find_published
from onefill.policy.quantize import check_quantizer
from onefill.policy.settings import PolicySettings
from onefill.quantizers import QUANTIZERS

from .conftest import disturb

Paint = Callable[..., Tensor]


@pytest.mark.parametrize("offload", OFFLOADS)
def test_offloading_changes_no_result(
    folder: Path, policy: FluxFillPolicy, paint: Paint, tmp_path: Path, offload: str
) -> None:
    policy.add_lora(rank=2, alpha=4, seed=0)
    disturb(policy.trainable_parameters())
    policy.save_adapter(tmp_path)
    placed = load_chosen(
        ModelChoice(model=str(folder), adapter=tmp_path, memory=Memory(offload=offload))
    )
    assert placed.device == torch.device("cpu")
    for _ in range(2):  # once more with everything put away again
        # The VAE sees one picture at a time, and sums in another order.
        assert torch.allclose(paint(placed, guidance=3.0), paint(policy, guidance=3.0), atol=1e-5)


def test_an_offloaded_model_takes_no_adapter_any_more(
    folder: Path, policy: FluxFillPolicy, tmp_path: Path
) -> None:
    policy.add_lora(rank=2, alpha=4, seed=0)
    policy.save_adapter(tmp_path)
    placed = load_chosen(ModelChoice(model=str(folder), memory=Memory(offload="sequential")))
    with pytest.raises(ValueError, match="offloaded"):
        placed.load_adapter(tmp_path)


def test_a_quantized_model_paints_nearly_the_same(
    folder: Path, policy: FluxFillPolicy, paint: Paint
) -> None:
    pytest.importorskip("torchao")
    small = load_chosen(ModelChoice(model=str(folder), memory=Memory(quantize="torchao-int8")))
    assert small.dtype == torch.float32
    difference = (paint(small, guidance=2.0) - paint(policy, guidance=2.0)).abs()
    assert 0 < difference.max() < 0.1


@pytest.mark.parametrize("name", QUANTIZERS)
def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr("onefill.quantizers.find_spec", lambda package: None)
    with pytest.raises(BadInput, match=f"--quantize {name}: needs the package"):
        check_quantizer(name, torch.device("cuda"))


def test_a_quantizer_is_refused_where_it_does_not_work(folder: Path) -> None:
    with pytest.raises(BadInput, match="--quantize bnb-4bit: works on cuda and not on cpu"):
        load_chosen(ModelChoice(model=str(folder), memory=Memory(quantize="bnb-4bit")))


def weights_gib(part: str, memory: Memory) -> float:
    """What the weights of FLUX.1-Fill take, counted on the real shape without its numbers."""
    counts = {"transformer": 0, "text encoders": 4_762_310_656 + 123_060_480}  # T5-XXL, CLIP-L
    if part == "transformer":
        with torch.device("meta"):
            transformer = FluxTransformer2DModel(
                in_channels=384, out_channels=64, guidance_embeds=True
            )
        counts[part] = sum(p.numel() for p in transformer.parameters())
    bits = 16
    if part == "transformer" and memory.quantize is not None:
        bits = 4.5 if memory.quantize == "bnb-4bit" else 8  # type: ignore[assignment]
    return counts[part] * bits / 8 / 2**30


@pytest.mark.parametrize("gib", sorted(PRESETS))
def test_a_preset_leaves_a_card_room_to_compute(gib: int) -> None:
    memory = PRESETS[gib]
    assert memory.dtype in DTYPES and memory.offload in OFFLOADS
    parts = [weights_gib(part, memory) for part in ("transformer", "text encoders")]
    held = {"none": sum(parts), "model": max(parts), "group": 2 * parts[0] / 57}[memory.offload]
    assert held + 2.5 < gib


def test_published_models_run_as_their_makers_run_them() -> None:
    defaults = PolicySettings()
    for name in ("onereward", "onereward-dynamic", "onereward-removal"):
        settings = defaults.model_copy(update=dict(PUBLISHED[name].settings))
        assert (settings.steps, settings.guidance, settings.distilled_guidance) == (50, 4.0, 1.0)
        assert settings.negative_prompt == "nsfw"
        assert "CC BY-NC 4.0" in PUBLISHED[name].licence
    flux = find_published(FLUX_FILL)
    assert flux is not None and flux == PUBLISHED["flux-fill"]
    stock = defaults.model_copy(update=dict(flux.settings))
    assert (stock.steps, stock.guidance, stock.distilled_guidance) == (50, 1.0, 30.0)
    assert find_published("pocket") is None


def test_loading_whole_is_a_choice_too(folder: Path) -> None:
    choice = ModelChoice(model=str(folder))
    assert load_chosen(choice).fingerprint() == load_policy(str(folder)).fingerprint()

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import FluxTransformer2DModel
from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError

from onefill.errors import BadInput
from onefill.pocket.policy.architecture import write_random_policy
from onefill.policy import hub, loading
from onefill.policy.choice import ModelChoice
from onefill.policy.loading import load_chosen, load_policy
from onefill.policy.published import FLUX_FILL
from onefill.policy.settings import PolicySettings, read_settings

from .conftest import disturb

Paint = Callable[..., torch.Tensor]


def _error(kind: type[Exception]) -> Exception:
    error = kind.__new__(kind)
    Exception.__init__(error, "no")
    return error


def test_a_folder_without_settings_runs_as_flux_fill_dev_does(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "model")
    (tmp_path / "model" / "onefill.json").unlink()
    settings = load_policy(str(tmp_path / "model")).settings
    assert settings == PolicySettings(multiple=8)
    assert (settings.size, settings.steps, settings.max_sequence_length) == (1024, 50, 512)
    assert (settings.guidance, settings.distilled_guidance) == (4.0, 1.0)
    assert settings.negative_prompt == "nsfw"


def test_the_models_own_multiple_wins(folder: Path) -> None:
    assert load_policy(str(folder)).settings.multiple == 8


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("{", "JSON"),
        ('{"steps": 0}', "steps"),
        ('{"max_sequence_length": 900}', "max_sequence_length"),
        ('{"size": 60}', "60 does not divide by 8.*try 64"),
    ],
)
def test_bad_settings_are_named(tmp_path: Path, text: str, match: str) -> None:
    file = tmp_path / "onefill.json"
    file.write_text(text)
    with pytest.raises(BadInput, match=match) as caught:
        read_settings(file, multiple=8)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["straw", "./missing/folder", "no such/model name"])
def test_an_unknown_name_points_to_the_list(name: str) -> None:
    with pytest.raises(BadInput, match="onefill models"):
        load_policy(name)


def test_a_folder_that_is_no_pipeline_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"model_index\.json"):
        load_policy(str(tmp_path))
    index = tmp_path / "model_index.json"
    index.write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}))
    with pytest.raises(BadInput, match="StableDiffusionPipeline, not a FluxFillPipeline"):
        load_policy(str(tmp_path))
    index.write_text("[]")
    with pytest.raises(BadInput, match="broken"):
        load_policy(str(tmp_path))
    index.write_text(json.dumps({"_class_name": "FluxFillPipeline"}))
    with pytest.raises(BadInput, match="cannot be loaded") as caught:
        load_policy(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_damaged_weights_are_one_line(folder: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(folder, model)
    weights = model / "transformer" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])
    with pytest.raises(BadInput, match="cannot be loaded") as caught:
        load_policy(str(model))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "match"),
    [
        (GatedRepoError, "licence must be accepted.*hf auth login"),
        (RepositoryNotFoundError, "no such model"),
        (LocalEntryNotFoundError, "not on this machine"),
    ],
)
def test_what_the_hub_refuses_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, kind: type[Exception], match: str
) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise _error(kind)

    monkeypatch.setattr(loading, "hub_answers", lambda: True)
    monkeypatch.setattr(hub, "hf_hub_download", refuse)
    with pytest.raises(BadInput, match=match):
        load_policy("owner/name")


def test_an_unreachable_hub_is_told_at_once_and_the_download_cache_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[bool] = []

    def only_local(*_: object, local_files_only: bool) -> str:
        asked.append(local_files_only)
        raise _error(LocalEntryNotFoundError)

    def no_network() -> object:
        raise OSError("no route")

    monkeypatch.setattr(hub, "get_session", no_network)
    monkeypatch.setattr(hub, "hf_hub_download", only_local)
    with pytest.raises(BadInput, match="cannot be reached"):
        load_policy("owner/name")
    assert asked == [True]


def test_precision_and_device_are_checked(folder: Path) -> None:
    with pytest.raises(BadInput, match="--dtype float8: choose from float32"):
        load_policy(str(folder), dtype="float8")
    with pytest.raises(BadInput, match="--device warp"):
        load_policy(str(folder), device="warp")


def test_loading_prints_nothing(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load_policy(str(folder))
    printed = capfd.readouterr()
    assert printed.out == printed.err == ""


def refusal(**chosen: object) -> str:
    with pytest.raises(BadInput) as caught:
        load_chosen(ModelChoice(**chosen))  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_another_transformer_takes_the_place_of_the_models_own(
    folder: Path, tmp_path: Path
) -> None:
    other = write_random_policy(tmp_path / "other", seed=9)
    mixed = load_chosen(
        ModelChoice(model=str(folder), transformer=str(other), transformer_subfolder="transformer")
    )
    alone = load_chosen(ModelChoice(model=str(folder), transformer=str(other / "transformer")))
    weights = [
        dict(policy.pipeline.transformer.state_dict())
        for policy in (mixed, alone, load_policy(str(other)), load_policy(str(folder)))
    ]
    name = "proj_out.weight"
    assert all(torch.equal(weights[place][name], weights[2][name]) for place in (0, 1))
    assert not torch.equal(weights[0][name], weights[3][name])


def test_a_transformer_that_cannot_be_used_is_named(folder: Path, tmp_path: Path) -> None:
    model = str(folder)
    assert "--transformer nowhere: no such model" in refusal(model=model, transformer="nowhere")
    said = refusal(model=model, transformer=str(tmp_path))
    assert f"--transformer {tmp_path}: holds no config.json" in said
    said = refusal(model=model, transformer=model, transformer_subfolder="vae")
    assert "is a AutoencoderTiny, not a FluxTransformer2DModel" in said


def test_a_transformer_that_was_not_made_for_filling_is_refused(
    folder: Path, tmp_path: Path
) -> None:
    plain = FluxTransformer2DModel.from_config(
        load_policy(str(folder)).pipeline.transformer.config, in_channels=32, out_channels=32
    )
    plain.save_pretrained(tmp_path)
    said = refusal(model=str(folder), transformer=str(tmp_path))
    assert "reads 32 channels a token" in said and "reads 96" in said


def test_settings_of_a_choice_are_used(folder: Path) -> None:
    policy = load_chosen(ModelChoice(model=str(folder), settings={"guidance": 2.5}))
    assert policy.settings.guidance == 2.5
    assert policy.settings.steps == load_policy(str(folder)).settings.steps


def test_an_adapter_of_a_choice_is_on_and_a_missing_one_named(folder: Path, tmp_path: Path) -> None:
    policy = load_policy(str(folder))
    policy.add_lora(rank=2, alpha=2, seed=0)
    policy.save_adapter(tmp_path / "given" / "inside")
    choice = ModelChoice(model=str(folder), adapter=tmp_path / "given", adapter_subfolder="inside")
    assert load_chosen(choice).fingerprint() == policy.fingerprint()
    said = refusal(model=str(folder), adapter=tmp_path / "given")
    assert "holds no adapter" in said


@pytest.mark.parametrize("missing", ["model", "transformer", "adapter"])
def test_what_has_to_be_accepted_on_the_hub_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise _error(GatedRepoError)

    monkeypatch.setattr(loading, "hub_answers", lambda: True)
    monkeypatch.setattr(hub, "hf_hub_download", refuse)
    said = refusal(**{"model": str(folder), missing: "owner/name"})
    assert said == (
        f"--{missing} owner/name: its licence must be accepted first; do so at "
        "https://huggingface.co/owner/name and run `hf auth login`"
    )


def test_offline_too_it_is_said_what_has_to_be_accepted() -> None:
    said = refusal(model=FLUX_FILL, offline=True)
    assert f"accept its licence at https://huggingface.co/{FLUX_FILL}" in said
    assert "`hf auth login`" in said and f"`hf download {FLUX_FILL}`" in said
    assert "accept" not in refusal(model="owner/name", offline=True)


def test_offline_never_asks_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked() -> bool:
        raise AssertionError("the hub was asked")

    monkeypatch.setattr(loading, "hub_answers", asked)
    assert "--offline" in refusal(model="owner/name", offline=True)


def test_an_adapter_acts_as_strongly_as_asked(folder: Path, paint: Paint, tmp_path: Path) -> None:
    policy = load_policy(str(folder))
    plain = paint(policy)
    policy.add_lora(rank=2, alpha=2, seed=0)
    disturb(policy.trainable_parameters())
    policy.save_adapter(tmp_path)
    paintings = [
        paint(load_chosen(ModelChoice(model=str(folder), adapter=tmp_path, adapter_scale=scale)))
        for scale in (0.0, 0.5, 1.0)
    ]
    assert torch.allclose(paintings[0], plain, atol=1e-5)
    assert torch.equal(paintings[2], paint(policy))
    weak, strong = ((painting - plain).abs().mean() for painting in paintings[1:])
    assert 0.2 * strong < weak < 0.9 * strong

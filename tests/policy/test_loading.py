from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError

from onefill.errors import BadInput
from onefill.policy import loading
from onefill.policy.loading import load_policy
from onefill.policy.settings import PolicySettings, read_settings


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

    monkeypatch.setattr(loading, "_hub_answers", lambda: True)
    monkeypatch.setattr(loading, "hf_hub_download", refuse)
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

    monkeypatch.setattr(loading, "get_session", no_network)
    monkeypatch.setattr(loading, "hf_hub_download", only_local)
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

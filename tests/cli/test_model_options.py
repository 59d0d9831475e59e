"""Which model is chosen by what was typed, and what is refused before anything is loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from onefill.cli import model_options
from onefill.cli.model_options import choose_model, load_model, name_adapter, name_model
from onefill.errors import BadInput
from onefill.pocket.policy.architecture import write_random_policy
from onefill.policy.choice import Memory, ModelChoice
from onefill.policy.published import FLUX_FILL, ONEREWARD


def test_an_embedded_model_is_loaded_whole_in_float32() -> None:
    choice = choose_model("pocket")
    assert Path(choice.model).is_dir()
    assert (choice.transformer, choice.adapter, choice.memory) == (None, None, Memory())
    assert choice.settings == {}


@pytest.mark.parametrize(
    ("name", "subfolder"),
    [
        ("onereward", "flux.1-fill-dev-OneReward-transformer"),
        ("onereward-dynamic", "flux.1-fill-dev-OneRewardDynamic-transformer"),
        ("onereward-removal", "flux.1-fill-dev-OneReward-transformer"),
    ],
)
def test_a_short_name_stands_for_published_weights(name: str, subfolder: str) -> None:
    choice = choose_model(name)
    assert (choice.model, choice.transformer) == (FLUX_FILL, ONEREWARD)
    assert choice.transformer_subfolder == subfolder
    assert choice.memory.dtype == "bfloat16"
    assert choice.settings == {}  # the paper's are the defaults
    assert choice.adapter == (ONEREWARD if name == "onereward-removal" else None)
    if choice.adapter is not None:
        assert choose_model(name, adapter_scale=0.5).adapter_scale == 0.5


def test_the_base_model_runs_as_its_makers_run_it_until_its_transformer_is_another() -> None:
    for name in ("flux-fill", FLUX_FILL):
        assert choose_model(name).settings["distilled_guidance"] == 30
    spelt = choose_model(
        FLUX_FILL,
        transformer=ONEREWARD,
        transformer_subfolder="flux.1-fill-dev-OneReward-transformer",
    )
    assert spelt == choose_model("onereward")


def test_a_preset_sets_three_options_and_gives_way_to_each() -> None:
    choice = choose_model("onereward", vram=16)
    assert choice.device == "cuda"
    assert choice.memory == Memory(dtype="bfloat16", offload="model", quantize="torchao-int8")
    assert choose_model("onereward", vram=16, quantize="bnb-8bit").memory.quantize == "bnb-8bit"
    assert choose_model("onereward", vram=80, dtype="float16").memory.dtype == "float16"
    assert choose_model("onereward", vram=24, offload="none").memory.offload == "none"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"model": "onerewart"}, "--model onerewart: no such model"),
        ({"dtype": "float8"}, "--dtype float8: unknown; choose from float32"),
        ({"offload": "all"}, "--offload all: unknown; choose from none, model"),
        ({"quantize": "int2"}, "--quantize int2: unknown; choose from bnb-8bit"),
        ({"vram": 32}, "--vram 32: unknown; choose from 80, 48, 24, 16, 12"),
        ({"offload": "model"}, "run on the CPU; add --device cuda"),
        ({"vram": 24, "quantize": "bnb-8bit"}, "use --offload model or none"),
        ({"adapter_scale": 0.5}, "--adapter-scale: of what? add --adapter"),
        ({"transformer_subfolder": "x"}, "of what? add --transformer"),
        ({"model": "onereward", "transformer": "x"}, "brings its own; use --model flux-fill"),
        ({"model": "onereward-removal", "adapter": Path("x")}, "use --model onereward with it"),
    ],
)
def test_what_does_not_go_together_is_refused_in_one_line(
    options: dict[str, Any], says: str
) -> None:
    with pytest.raises(BadInput) as caught:
        choose_model(**({"model": "pocket"} | options))
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_choosing_imports_no_model_library() -> None:
    code = (
        "import sys; from onefill.cli.model_options import choose_model; "
        "choose_model('onereward', vram=24); print(sorted({'torch', 'diffusers'} & {*sys.modules}))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_what_painted_is_named_whole_and_without_its_place(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    assert name_model("pocket", None, None) == "pocket"
    assert name_model("flux-fill", "a/b", "c") == "flux-fill with transformer a/b/c"
    assert name_model("flux-fill", str(tmp_path / "run"), None) == "flux-fill with transformer run"
    assert name_adapter(None, 1.0) is None
    assert name_adapter(tmp_path / "run", 1.0) == str(tmp_path / "run")  # the record shortens it
    assert name_adapter(tmp_path / "run", 0.5) == "run at 0.5"


def test_a_licence_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("onefill.policy.loading.load_chosen", lambda choice: "a policy")
    said = []
    for name in ("onereward", "onereward-removal", "flux-fill", "onereward", "pocket"):
        assert load_model(choose_model(name)) == "a policy"
        said.append(capsys.readouterr().err)
    assert "bytedance-research/OneReward: licence CC BY-NC 4.0" in said[0]
    assert "https://huggingface.co/bytedance-research/OneReward" in said[0]
    assert "FLUX.1 [dev] Non-Commercial License" in said[2]
    assert said[1] == said[3] == said[4] == ""


def test_where_nothing_can_be_kept_a_licence_is_said_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cache").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for _ in range(2):
        model_options._say_licence(ModelChoice(model=FLUX_FILL))
        assert "Non-Commercial" in capsys.readouterr().err


def test_edit_paints_with_the_model_that_was_chosen(
    cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.effect_noise((60, 40), 50).convert("RGB").save("photo.png")
    mask = Image.new("1", (60, 40))
    mask.paste(1, (20, 10, 40, 30))
    mask.save("mask.png")
    models = [
        str(write_random_policy(tmp_path / name, seed=seed)) for seed, name in enumerate("ab")
    ]
    options: dict[str, list[str]] = {
        "plain": [],
        "other": ["--transformer", models[1], "--transformer-subfolder", "transformer"],
        "coarse": ["--dtype", "bfloat16"],
    }
    results = {}
    for name, added in options.items():
        line = ("edit", "photo.png", "--mask", "mask.png", "--prompt", "hat", "-o", f"{name}.png")
        done = cli(*line, "--no-metadata", "--model", models[0], *added)
        assert (done.code, done.stderr) == (0, "")
        results[name] = Path(f"{name}.png").read_bytes()
    assert len(set(results.values())) == 3
    refused = cli(*line, "--model", "onereward", "--offline", "--transformer", models[1])
    assert refused.code == 2 and "brings its own" in refused.stderr
    missing = cli(*line, "--model", "onereward", "--offline")
    assert missing.code == 2
    assert missing.stderr.startswith(f"error: --model {FLUX_FILL}: not on this machine")
    assert missing.stderr.count("\n") == 1

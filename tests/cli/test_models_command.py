from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from onefill.errors import BadInput
from onefill.pocket import embedded

POLICY_CARD = {
    "size": 64,
    "steps": 16,
    "guidance": 3.0,
    "vocabulary": ["cat", "straw hat"],
    "text_words": ["OPEN", "澳门"],
    "facts": {"vae_psnr_db": 27.123456, "parameters": {"vae": 320000}},
    "sources": [{"name": "Noto Emoji", "licence": "Apache-2.0"}],
}
JUDGE_CARD = {
    "template_version": 1,
    "dimensions": {"fill/consistency": {"accuracy": 0.912, "temperature": 1.3}},
    "sources": [{"name": "Fluent Emoji", "licence": "MIT"}],
}
ADAPTER_CARD = {"guidance": 1.0, "facts": {"rank": 16}}


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Embedded models in a folder of our own, with only their cards."""
    policy, judge, adapter = (tmp_path / "weights" / name for name in ("policy", "judge", "lora"))
    for folder, name, card in (
        (policy, "onefill.json", POLICY_CARD),
        (judge, "onefill_judge.json", JUDGE_CARD),
        (adapter, "onefill.json", ADAPTER_CARD),
    ):
        folder.mkdir(parents=True)
        (folder / name).write_text(json.dumps(card), encoding="utf-8")
    monkeypatch.setattr(embedded, "POLICIES", {"pocket": policy})
    monkeypatch.setattr(embedded, "JUDGES", {"pocket": judge})
    monkeypatch.setattr(embedded, "ADAPTERS", {"pocket-quick": adapter})
    return tmp_path / "weights"


@pytest.fixture
def no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "POLICIES", {"pocket": tmp_path / "policy"})
    monkeypatch.setattr(embedded, "JUDGES", {"pocket": tmp_path / "judge"})
    monkeypatch.setattr(embedded, "ADAPTERS", {"pocket-quick": tmp_path / "lora"})
    monkeypatch.setattr(embedded, "_HERE", tmp_path)


def test_models_shows_what_they_know_and_what_they_are_made_from(cli: Any, weights: Path) -> None:
    result = cli("models")
    assert (result.code, result.stderr) == (0, "")
    shown = " ".join(result.stdout.replace("│", " ").split())
    for text in (
        "policy pocket",
        "can paint (2) cat, straw hat",
        "can write (2) OPEN, 澳门",
        "vae psnr db 27.12",
        "parameters vae 320000",
        "made from Noto Emoji licence Apache-2.0",
        "judge pocket",
        "judges fill/consistency right on 91.2 % of held-out pairs",
        "made from Fluent Emoji licence MIT",
        "adapter pocket-quick",
        "rank 16",
    ):
        assert text in shown


def test_show_tells_of_one_model_and_draws_its_edits(
    cli: Any, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from onefill.pocket import contact_sheet
    from onefill.pocket.policy.architecture import write_random_policy

    write_random_policy(weights / "policy", seed=0)
    (weights / "policy" / "onefill.json").write_text(json.dumps(POLICY_CARD), encoding="utf-8")
    monkeypatch.setattr(contact_sheet, "COUNTS", {"fill": 2, "removal": 1})
    target = tmp_path / "sheet.png"
    result = cli("models", "show", "pocket", "-o", target)
    assert result.code == 0
    assert result.stdout.splitlines()[-1] == str(target)
    assert "can paint (2)" in result.stdout
    with Image.open(target) as sheet:
        assert sheet.width > 400


def test_show_tells_of_an_adapter(cli: Any, weights: Path) -> None:
    result = cli("models", "show", "pocket-quick")
    assert (result.code, result.stderr) == (0, "")
    assert "rank" in result.stdout and str(weights)[:20] in result.stdout


def test_show_refuses_a_name_that_is_no_model(cli: Any, weights: Path, tmp_path: Path) -> None:
    result = cli("models", "show", "packet")
    assert (result.code, result.stdout) == (2, "")
    assert result.stderr == "error: packet: no embedded model has this name; see `onefill models`\n"
    result = cli("models", "show", "pocket", "-o", tmp_path)
    assert (result.code, result.stdout) == (2, "")
    assert str(tmp_path) in result.stderr


def test_models_json_names_each_with_its_path(cli: Any, weights: Path) -> None:
    result = cli("models", "--json")
    document = json.loads(result.stdout)
    assert result.stderr == ""
    (policy,), (judge,) = document["policies"], document["judges"]
    assert (policy["name"], policy["path"]) == ("pocket", str(weights / "policy"))
    assert (judge["name"], judge["path"]) == ("pocket", str(weights / "judge"))
    (adapter,) = document["adapters"]
    assert (adapter["name"], adapter["path"]) == ("pocket-quick", str(weights / "lora"))
    assert policy["vocabulary"] == ["cat", "straw hat"]
    assert judge["dimensions"]["fill/consistency"]["accuracy"] == 0.912


def test_models_names_published_ones_with_their_licences(cli: Any, weights: Path) -> None:
    published = json.loads(cli("models", "--json").stdout)["published"]
    assert [model["name"] for model in published][:2] == ["onereward", "onereward-dynamic"]
    shown = " ".join(cli("models").stdout.replace("│", " ").split())
    for model in published:
        assert f"{model['name']} {model['about']}; licence" in shown


def test_models_says_in_one_line_what_is_missing(cli: Any, no_weights: None) -> None:
    result = cli("models", "--json")
    assert result.code == 0
    document = json.loads(result.stdout)
    assert (document["policies"], document["judges"]) == ([], [])
    lines = result.stderr.splitlines()
    assert [line.split(" in this")[0] for line in lines] == [
        "warning: no embedded policy",
        "warning: no embedded judge",
        "warning: no embedded adapter",
    ]
    assert all("onefill pocket build" in line for line in lines)


@pytest.mark.parametrize("content", ["{", "[1]", "\xff\xfe"])
def test_a_damaged_card_is_one_line(content: str, cli: Any, weights: Path) -> None:
    (weights / "policy" / "onefill.json").write_bytes(content.encode("latin-1"))
    result = cli("models")
    assert (result.code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"error: {weights / 'policy' / 'onefill.json'}: ")
    assert result.stderr.count("\n") == 1


def test_a_name_is_resolved_to_its_folder(weights: Path) -> None:
    assert embedded.resolve("policies", "pocket") == str(weights / "policy")
    assert embedded.resolve("judges", "pocket") == str(weights / "judge")


def test_folders_and_hub_ids_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert embedded.resolve("policies", "mine") == "mine"
    assert embedded.resolve("policies", "~/mine") == str(tmp_path / "mine")
    for hub_id in ("black-forest-labs/FLUX.1-Fill-dev", "a/b/c"):
        assert embedded.resolve("policies", hub_id) == hub_id


@pytest.mark.parametrize("name", ["packet", "./absent", "/absent/folder", "../x", "", "a b/c"])
def test_what_is_no_model_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(BadInput, match=r"--judge .*no such model; .*`onefill models`"):
        embedded.resolve("judges", name)


def test_a_file_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(BadInput, match="is a file; name the folder"):
        embedded.resolve("policies", str(tmp_path / "model.safetensors"))


def test_an_embedded_name_without_its_weights_says_how_to_make_them(no_weights: None) -> None:
    with pytest.raises(BadInput, match=r"--model pocket: .* missing; .*onefill pocket build"):
        embedded.resolve("policies", "pocket")
    with pytest.raises(BadInput, match="scenes are missing"):
        embedded.scenes("heldout")

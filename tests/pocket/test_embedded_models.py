"""What ships: loaded by stock libraries, and as good as is said of it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import FluxFillPipeline
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import Qwen2_5_VLForConditionalGeneration

from onefill.errors import BadInput
from onefill.judge.loading import load_judge
from onefill.pocket import embedded
from onefill.pocket.contests.pairs import CELLS
from onefill.pocket.material.vocabulary import WORDS
from onefill.pocket.scoring.classifier import load_classifier
from onefill.pocket.scoring.fill import named
from onefill.pocket.scoring.held_out import HeldOut, paint, read_held_out
from onefill.policy.flux_fill import FluxFillPolicy
from onefill.policy.loading import load_policy


@pytest.fixture(scope="module")
def policy() -> FluxFillPolicy:
    return load_policy(embedded.resolve("policies", "pocket"))


@pytest.fixture(scope="module")
def fills() -> HeldOut:
    """One held-out scene of every word."""
    return read_held_out(embedded.scenes("heldout"), "fill").select(slice(0, len(WORDS)))


def test_the_stock_pipeline_loads_the_policy_and_paints(fills: HeldOut) -> None:
    pipeline = FluxFillPipeline.from_pretrained(
        embedded.resolve("policies", "pocket"), dtype=torch.float32
    )
    pipeline.set_progress_bar_config(disable=True)
    painted = pipeline(
        prompt="a cat",
        image=Image.fromarray(fills.pictures[2]),
        mask_image=Image.fromarray(fills.masks[2]),
        height=64,
        width=64,
        num_inference_steps=4,
        max_sequence_length=12,
        generator=torch.Generator().manual_seed(0),
    ).images[0]
    change = np.abs(np.asarray(painted, int) - fills.pictures[2])
    assert change[fills.masks[2]].mean() > 2 * change[~fills.masks[2]].mean()


def test_a_stranger_names_most_fills_of_the_embedded_policy(
    policy: FluxFillPolicy, fills: HeldOut
) -> None:
    torch.set_num_threads(2)
    painted = paint(policy, fills, 0)
    assert named(load_classifier(embedded.CLASSIFIER), painted, fills).mean() >= 0.6


def test_the_prompt_decides_what_is_painted(policy: FluxFillPolicy, fills: HeldOut) -> None:
    """The same scenes and noise under other words are named as those words."""
    words = [WORDS[(WORDS.index(row["word"]) + 7) % len(WORDS)] for row in fills.rows]
    rows = [row | {"word": w, "prompt": w} for row, w in zip(fills.rows, words, strict=True)]
    turned = replace(fills, rows=rows)
    painted = paint(policy, turned, 0)
    assert named(load_classifier(embedded.CLASSIFIER), painted, turned).mean() >= 0.6


def test_stock_transformers_loads_the_judge_and_its_card_tells_of_every_cell() -> None:
    folder = embedded.JUDGES["pocket"]
    _, report = Qwen2_5_VLForConditionalGeneration.from_pretrained(
        folder, dtype=torch.float32, output_loading_info=True
    )
    assert not report["missing_keys"]
    card = json.loads((folder / "onefill_judge.json").read_text(encoding="utf-8"))
    assert len(card["dimensions"]) == 12


@pytest.mark.parametrize("cell", ["/".join(cell) for cell in CELLS])
def test_the_judge_keeps_the_floor(cell: str) -> None:
    card = json.loads((embedded.JUDGES["pocket"] / "onefill_judge.json").read_text("utf-8"))
    measured = card["dimensions"][cell]
    assert measured["accuracy"] >= 0.85
    assert measured["order_gap"] < 0.05 and measured["ece"] < 0.05


def test_everything_embedded_fits_the_wheel() -> None:
    root = embedded.CLASSIFIER.parents[1]
    files = [path for part in ("weights", "scenes") for path in (root / part).rglob("*")]
    assert sum(path.stat().st_size for path in files if path.is_file()) < 60e6


def test_the_embedded_judge_is_asked_its_canaries_and_refused_if_it_answers_otherwise(tmp_path):
    folder = tmp_path / "judge"
    shutil.copytree(embedded.resolve("judges", "pocket"), folder)
    load_judge(str(folder), device="cpu")
    weights = load_file(folder / "model.safetensors")
    norm = next(name for name in weights if name.endswith("model.norm.weight"))
    weights[norm] = -weights[norm]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BadInput, match="canar"):
        load_judge(str(folder), device="cpu")

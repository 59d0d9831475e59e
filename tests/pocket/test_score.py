"""``onefill pocket score`` on a few scenes and a tiny random model, and the table it prints."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from safetensors.torch import save_file

from onefill.pocket import embedded
from onefill.pocket.material import export as scenes_export
from onefill.pocket.material import vocabulary
from onefill.pocket.material.pictures import DRAWING_SIZE, Pictures
from onefill.pocket.policy.architecture import write_random_policy
from onefill.pocket.scoring import fill as score_fill
from onefill.pocket.scoring import inpainting
from onefill.pocket.scoring import report as score
from onefill.pocket.scoring import text as score_text
from onefill.pocket.scoring.classifier import Classifier, load_classifier
from onefill.pocket.scoring.held_out import HeldOut, paint, read_held_out
from onefill.pocket.scoring.table import (
    DECIBEL,
    GOALS,
    NEEDS_PACKAGES,
    SHARE,
    Figure,
    Unmeasured,
    in_words,
    rows_of,
    share_of,
)
from onefill.policy.flux_fill import FluxFillPolicy
from onefill.policy.loading import load_policy

FIX = "not measured: pip install 'onefill[score]'"
NEED_PACKAGES = {
    key for key in GOALS if key.endswith("lpips") or key.startswith(("removal/", "text/"))
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few scenes of every task as the recipe exports them, of discs on noise."""
    disc = Image.new("RGBA", (DRAWING_SIZE, DRAWING_SIZE))
    ImageDraw.Draw(disc).ellipse((8, 8, 88, 88), fill=(220, 40, 30, 255))
    noise = np.random.default_rng(0).integers(0, 255, (1, 90, 90, 3), np.uint8)
    pictures = Pictures(
        {word: [disc] for word in vocabulary.WORDS},
        [Image.fromarray(picture) for picture in noise],
        [ImageFont.load_default(40)],
    )
    out = tmp_path_factory.mktemp("scenes")
    few = {"fill": 8, "extend": 2, "removal": 6, "text": 2}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scenes_export, "load_pictures", lambda split, cache: pictures)
        patch.setattr(scenes_export, "COUNTS", {"train": few, "heldout": few})
        patch.setattr(scenes_export, "UNSEEN_EACH", 1)
        scenes_export.export_scenes(out, out, 0, lambda line: None)
    return out


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = write_random_policy(tmp_path_factory.mktemp("models") / "tiny", seed=3)
    settings = json.loads((made / "onefill.json").read_text(encoding="utf-8"))
    (made / "onefill.json").write_text(json.dumps(settings | {"steps": 2}), encoding="utf-8")
    return made


@pytest.fixture
def policy(model: Path) -> FluxFillPolicy:
    return load_policy(str(model))


@pytest.fixture
def classifier(tmp_path: Path) -> Path:
    file = tmp_path / "classifier.safetensors"
    save_file(Classifier().state_dict(), file)
    return file


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score, "find_weights", lambda: None)
    monkeypatch.setattr(score_text, "missing_packages", lambda: ["rapidocr"])
    for name in ("have_opencv", "have_patch_match"):
        monkeypatch.setattr(f"onefill.pocket.scoring.background.{name}", lambda: False)


@pytest.fixture
def scored(
    cli: Callable[..., Any],
    folder: Path,
    classifier: Path,
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Any]:
    monkeypatch.setattr(embedded, "scenes", lambda split: folder / split)
    monkeypatch.setattr(embedded, "CLASSIFIER", classifier)
    return lambda *flags: cli("pocket", "score", "--model", model, *flags)


def test_every_row_comes_with_its_goals_or_says_what_is_missing(
    scored: Callable[..., Any], nothing_installed: None
) -> None:
    result = scored("--json")
    assert result.code == 0
    document = json.loads(result.stdout)
    rows = {row["key"]: row for row in document["rows"]}
    assert list(rows) == list(GOALS)
    assert {key for key, row in rows.items() if row["value"] is None} == NEED_PACKAGES
    assert all(rows[key]["measured"] == FIX for key in NEED_PACKAGES)
    assert (rows["fill/named"]["floor"], rows["fill/named"]["aim"]) == ("≥ 65.0 %", "≥ 90.0 %")
    assert rows["fill/named"]["count"] == 8
    assert rows["unseen/right"]["count"] == len([c for c in vocabulary.CONCEPTS if c.unseen])
    assert rows["fill/seam"]["value"] > 0
    assert rows["speed/edit"]["value"] > 0
    by_kind = document["removal"].values()
    assert all(set(means["psnr"]) >= {"edit", "membrane"} for means in by_kind if means)


def test_people_get_a_table_with_the_fix_in_it(
    scored: Callable[..., Any], nothing_installed: None
) -> None:
    result = scored()
    assert result.code == 0
    for heading in ("what", "measured", "floor", "aim"):
        assert heading in result.stdout
    assert "not measured: pip install" in result.stdout
    assert "onefill[score]" in result.stdout


def test_removals_are_measured_beside_the_best_of_the_other_ways(
    policy: FluxFillPolicy, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from onefill.pocket.scoring import background as score_background

    scenes = read_held_out(folder / "heldout", "removal")
    truths = {
        picture.tobytes(): truth
        for picture, truth in zip(scenes.pictures, scenes.truths, strict=True)
    }

    def grey(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return np.where(mask[..., None], np.uint8(128), picture)

    def off_by_ten(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
        truth = truths[picture.tobytes()].astype(int)
        return np.where(truth < 128, truth + 10, truth - 10).astype(np.uint8)

    monkeypatch.setattr(score_background, "REMOVAL", {"grey": grey, "off": off_by_ten})
    monkeypatch.setattr(score_background, "paint", lambda policy, scenes, seed: scenes.truths)
    for name in ("have_opencv", "have_patch_match"):
        monkeypatch.setattr(score_background, name, lambda: True)
    monkeypatch.setattr(score_background, "kind_of", lambda *case: "textured")
    figures, means = score_background.score_removal(policy, scenes, None, 0)
    figure = figures["removal/textured/psnr"]
    assert isinstance(figure, Figure)
    assert figure.value == pytest.approx(40)  # 68.13 of the truth itself, 28.13 of ten levels
    assert figure.note == "68.1 dB against 28.1 dB of off"
    assert means["textured"]["psnr"]["off"] == pytest.approx(28.13, abs=0.01)
    assert isinstance(figures["removal/smooth/psnr"], Unmeasured)
    assert figures["removal/textured/lpips"] == NEEDS_PACKAGES


def test_the_ways_without_learning_leave_everything_outside_the_mask(folder: Path) -> None:
    if not (inpainting.have_opencv() and inpainting.have_patch_match()):
        pytest.skip("onefill[score] is not installed")
    scenes = read_held_out(folder / "heldout", "removal")
    picture, mask = scenes.pictures[0], scenes.masks[0]
    blank = np.where(mask[..., None], np.uint8(0), picture)
    for fill in inpainting.REMOVAL.values():
        filled = fill(picture, mask)
        assert np.array_equal(filled[~mask], picture[~mask])
        assert np.array_equal(filled, fill(blank, mask))  # what was there is not looked at


def test_a_fill_as_good_as_the_true_composite_has_its_seam_and_its_names(
    policy: FluxFillPolicy, folder: Path, classifier: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenes, naming = read_held_out(folder / "heldout", "fill"), load_classifier(classifier)
    monkeypatch.setattr(score_fill, "paint", lambda policy, scenes, seed: scenes.truths)
    true = score_fill.score_fill(policy, scenes, naming, 0)
    assert isinstance(true["fill/seam"], Figure)
    assert true["fill/seam"].value == pytest.approx(1)
    assert true["fill/named"] == true["fill/classifier"]
    hole = np.where(scenes.masks[..., None], np.uint8(0), np.uint8(255)).repeat(3, 3)
    monkeypatch.setattr(score_fill, "paint", lambda policy, scenes, seed: hole)
    torn = score_fill.score_fill(policy, scenes, naming, 0)
    assert isinstance(torn["fill/seam"], Figure)
    assert torn["fill/seam"].note.startswith("255.0 grey levels against ")


def test_what_is_held_out_comes_with_masks_and_truth(folder: Path) -> None:
    for task in ("fill", "removal", "extend", "text"):
        scenes = read_held_out(folder / "heldout", task)
        again = read_held_out(folder / "heldout", task)
        assert scenes.masks.any((1, 2)).all() and np.array_equal(scenes.masks, again.masks)
        differs = (scenes.pictures != scenes.truths).any(3)
        assert differs.any() == (task != "extend")
        assert (differs & ~scenes.masks).sum() <= 0.1 * differs.sum()


def test_things_asked_for_in_a_new_colour_are_found_in_that_colour(folder: Path) -> None:
    scenes = read_held_out(folder / "unseen", "fill")
    assert score_fill.coloured(scenes.truths, scenes).mean() > 0.8
    assert not score_fill.coloured(scenes.pictures, scenes).any()  # nothing was painted
    row = next(row for row in scenes.rows if row["word"] == "car")
    assert row["colour"] == "yellow" and "yellow" in row["prompt"]


def test_a_scene_is_painted_alike_whatever_else_is_painted_with_it(
    policy: FluxFillPolicy, folder: Path
) -> None:
    scenes: HeldOut = read_held_out(folder / "heldout", "fill")
    both, one = (paint(policy, scenes.select(slice(0, n)), 7) for n in (2, 1))
    assert np.abs(both[0].astype(int) - one[0]).max() <= 1
    outside = ~scenes.masks[0]
    assert np.array_equal(one[0][outside], scenes.pictures[0][outside])


def test_a_row_says_what_it_reaches() -> None:
    figures: dict[str, Figure | Unmeasured] = dict.fromkeys(GOALS, NEEDS_PACKAGES)
    figures["fill/named"] = share_of(np.arange(100) < 70)
    figures["fill/seam"] = Figure(value=1.05)
    figures["removal/smooth/psnr"] = Figure(value=-1.5)
    figures["vae/psnr"] = Figure(value=30.0)
    rows = {row["key"]: row for row in rows_of(figures)}
    assert rows["fill/named"]["reached"] == "floor"
    assert rows["fill/named"]["measured"] == "70.0 % (60.4 to 78.1)"
    assert rows["fill/seam"]["reached"] == "aim"  # less is better
    assert rows["removal/smooth/psnr"]["reached"] == "none"
    assert rows["vae/psnr"]["reached"] == "floor" and rows["vae/psnr"]["aim"] == ""
    assert rows["vae/lpips"]["measured"] == FIX


def test_figures_are_written_with_their_unit() -> None:
    assert in_words(SHARE, 0.976) == "97.6 %"
    assert in_words(DECIBEL, -0.44) == "-0.4 dB"
    assert in_words("", 0.1234) == "0.123"

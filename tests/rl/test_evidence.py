"""What measures runs, and the table and pictures of many; no run is trained here for them."""

from __future__ import annotations

import importlib
import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch

from onefill.pocket.contests.pairs import CELLS
from onefill.pocket.judge.second import SecondJudge
from onefill.pocket.material import vocabulary
from onefill.pocket.scoring import perceptual
from onefill.pocket.scoring.classifier import Classifier
from onefill.pocket.scoring.held_out import HeldOut, as_tensor
from onefill.policy import finishing
from onefill.policy.loading import load_policy
from onefill.rl.config_file import build_config
from onefill.rl.defaults import STEP_RANGE
from onefill.rl.loop import take_step
from onefill.tasks.registry import load_tasks

from .conftest import weights_of

ROOT = Path(__file__).parents[2]
COUNT = 3
WORDS = ("cat", "lantern", "apple")


@pytest.fixture
def measures(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    return importlib.reload(importlib.import_module("rl_measures"))


@pytest.fixture
def evidence(measures: ModuleType) -> ModuleType:
    return importlib.import_module("rl_evidence")


@pytest.fixture
def report(evidence: ModuleType) -> ModuleType:
    return importlib.import_module("rl_evidence_report")


def scenes(task: str) -> HeldOut:
    """Grey things on smooth backgrounds, and the backgrounds."""
    rng = np.random.default_rng(1)
    slope = np.linspace(60, 180, 64)[None, :, None, None] * rng.uniform(0.5, 1, (COUNT, 1, 1, 3))
    truths = np.broadcast_to(slope, (COUNT, 64, 64, 3)).astype(np.uint8)
    masks = np.zeros((COUNT, 64, 64), dtype=bool)
    masks[:, 20:44, 16:40] = True
    pictures = np.where(masks[..., None], 128, truths).astype(np.uint8)
    words = [None] * COUNT if task == "removal" else list(WORDS)
    rows = [
        {"image": f"{number}.webp", "task": task, "prompt": word, "word": WORDS[number]}
        for number, word in enumerate(words)
    ]
    return HeldOut(load_tasks().get(task), pictures, masks, truths, rows)


def painted(measures: ModuleType, pictures: np.ndarray) -> object:
    return measures.Painted(as_tensor(pictures), pictures)


def lighter(pictures: np.ndarray, levels: int) -> np.ndarray:
    return (pictures.astype(int) + levels).clip(0, 255).astype(np.uint8)


def test_an_untrained_adapter_is_measured_as_no_change(
    measures, random_policy, tmp_path, monkeypatch
):
    policy = load_policy(str(random_policy))
    policy.add_lora(rank=2, alpha=2.0, seed=0)
    policy.save_adapter(tmp_path / "adapter")
    named = {"detail": ("removal",), "pieces": ("removal",)}
    policy.settings = policy.settings.model_copy(update={"steps": 2, **named})
    # Pieces of the surroundings would hide what the policy painted.
    monkeypatch.setattr(finishing, "lay_pieces", lambda *_: pytest.fail("pieces were laid"))
    summary = {
        "tasks": {"fill": 2.0, "removal": 1.0, "own": 1.0},
        "win_rate": {"fill": {"structure": {"end": 0.75}}},
        "steps": 4,
    }
    (tmp_path / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    monkeypatch.setattr(measures, "_policy", lambda: policy)
    monkeypatch.setattr(measures, "_scenes", scenes)
    second, classifier = SecondJudge().eval(), Classifier().eval()
    monkeypatch.setattr(measures, "second_judge", lambda: second)
    monkeypatch.setattr(measures, "_classifier", lambda: classifier)
    found = measures.measure_run(tmp_path)
    figures = found["figures"]
    assert {key: value for key, value in figures.items() if " named" not in key} == {
        "fill/consistency": 0, "fill/structure": 0, "fill/text-alignment": 0, "fill/aesthetics": 0,
        "removal/removal-quality": 0,
        **{f"{task} {of}": 1 for task in ("fill", "removal")
           for of in ("seam", "drift")},
        "fill surer": 0, "fill contrast": 1, "removal dB": 0,
        **({"removal LPIPS": 1} if perceptual.find_weights() else {}),
    }  # fmt: skip
    assert figures["fill named"] == figures["fill named at start"]
    assert found["scenes"] == {key: COUNT for key in figures if "/" in key}
    assert (found["own"], found["steps"]) == ({"fill/structure": 0.75}, 4)


def test_the_true_pictures_are_measured_as_a_perfect_policy_would_be(measures, monkeypatch):
    def grey_boxes(task: str) -> object:
        pictures = scenes(task).pictures.copy()
        pictures[:, 30, 28] = 0  # or they would have no contrast at all
        return measures.Painted(as_tensor(lighter(pictures, 5)), pictures)

    monkeypatch.setattr(measures, "_scenes", scenes)
    monkeypatch.setattr(measures, "_at_start", grey_boxes)
    monkeypatch.setattr(measures, "missing_packages", lambda: ["rapidocr"])
    found = measures.measure_truth()
    figures = found["figures"]
    assert figures["removal dB"] > 5
    for task in ("fill", "extend", "removal", "text"):
        # What cannot be painted without a flaw is the VAE's doing alone.
        assert figures[f"{task} seam"] < 0.5
    cells = {f"{task}/{dimension}" for task, dimension in CELLS}
    assert found["own"].keys() == found["scenes"].keys() == cells
    assert found["own"]["removal/removal-quality"] == 1
    assert found["steps"] == 0


def test_a_removal_nearer_to_the_truth_is_nearer_by_both_measures(measures, monkeypatch):
    cases = scenes("removal")
    before, after = (painted(measures, lighter(cases.truths, by)) for by in (40, 4))
    monkeypatch.setattr(measures, "lpips", lambda: lambda a, b: (a - b).abs().mean(1))
    monkeypatch.setattr(measures, "find_weights", lambda: ROOT)
    figures = measures.nearness(cases, before, after)
    assert figures["removal dB"] == pytest.approx(20, abs=0.1)  # 20 log10 (40 / 4)
    assert figures["removal LPIPS"] == pytest.approx(0.1)
    monkeypatch.setattr(measures, "find_weights", lambda: None)
    assert "removal LPIPS" not in measures.nearness(cases, before, after)


@pytest.mark.skipif(perceptual.find_weights() is None, reason="needs onefill[score]")
def test_lpips_with_its_weights_prefers_the_truth_to_a_grey_box(measures):
    cases = scenes("removal")
    figures = measures.nearness(
        cases, painted(measures, cases.pictures), painted(measures, lighter(cases.truths, 2))
    )
    assert figures["removal LPIPS"] < 0.5


def test_the_seam_is_seen_as_handed_out_and_the_drift_as_painted(measures):
    cases = scenes("fill")
    smooth = cases.truths
    stepped = np.where(cases.masks[..., None], lighter(smooth, 40), smooth)
    before = measures.Painted(as_tensor(lighter(stepped, 5)), smooth)
    after = measures.Painted(as_tensor(lighter(stepped, 10)), stepped)
    figures = measures.seam_and_drift(cases, before, after)
    assert figures["fill seam"] > 5
    assert figures["fill drift"] == pytest.approx(2, rel=0.01)


def test_things_that_fade_have_less_contrast(measures):
    cases = scenes("fill")
    faded = (cases.pictures + (cases.truths.astype(float) - cases.pictures) / 2).astype(np.uint8)
    there, fading = painted(measures, cases.truths), painted(measures, faded)
    found = measures.contrast(cases, there, fading)["fill contrast"]
    assert 0.4 < found < 0.7
    assert measures.contrast(cases, fading, there)["fill contrast"] == pytest.approx(1 / found)


def test_names_are_counted_and_their_probability_beside_them(measures, monkeypatch):
    cases = scenes("fill")
    right = [vocabulary.WORDS.index(word) for word in WORDS]

    def says(views: torch.Tensor) -> torch.Tensor:
        """Names what is lighter than the scene's grey rightly, and what is not by word 0."""
        sees = views[:, :, 20, 20].mean(1) > 0.55
        logits = torch.zeros(COUNT, len(vocabulary.WORDS))
        for row, word in enumerate(right):
            logits[row, word if sees[row] else 0] = 5
        return logits

    monkeypatch.setattr(measures, "_classifier", lambda: SimpleNamespace(look=says))
    white = np.where(cases.masks[..., None], 255, cases.pictures).astype(np.uint8)
    figures = measures.names(cases, painted(measures, cases.pictures), painted(measures, white))
    assert (figures["fill named at start"], figures["fill named"]) == (0, 1)
    assert figures["fill surer"] == pytest.approx(5, abs=1e-4)


def test_words_are_read_of_what_is_handed_out_where_a_reader_is_installed(measures, monkeypatch):
    class Reads:
        def read(self, picture):
            return "C a t" if np.asarray(picture).mean() > 128 else ""

    cases = scenes("text")
    white = painted(measures, np.full_like(cases.pictures, 255))
    monkeypatch.setattr(measures, "_reader", Reads)
    monkeypatch.setattr(measures, "_scenes", scenes)
    black = painted(measures, np.zeros_like(cases.pictures))
    monkeypatch.setattr(measures, "_at_start", lambda task: black)
    monkeypatch.setattr(measures, "missing_packages", list)
    assert measures.measures_of_task(cases, black, white) == {
        "text read": pytest.approx(1 / COUNT),
        "text read at start": 0,
    }
    monkeypatch.setattr(measures, "missing_packages", lambda: ["rapidocr"])
    assert measures.measures_of_task(cases, black, white) == {}


def test_every_experiment_is_a_run_that_could_be_trained(evidence):
    tasks, contrasts = load_tasks(), evidence.CONTRASTS
    assert {name for names in contrasts.values() for name in names} == set(evidence.EXPERIMENTS)
    assert all(names[0] == "default" for names in contrasts.values())
    configs = {n: build_config(None, dict(e.settings)) for n, e in evidence.EXPERIMENTS.items()}
    for config in configs.values():
        assert all(config.gradient_steps(8, task) for task in config.tasks)
        known = {d.name for task in config.tasks for d in tasks.get(task).dimensions}
        assert set(config.dimensions) < known
    assert len({configs[name].lam for name in contrasts["lambda"]}) == len(contrasts["lambda"])
    early, late = (configs[f"{when} gradient"].step_range for when in ("early", "late"))
    assert early[0] < STEP_RANGE[0] < late[0]


def test_a_run_without_an_average_trains_the_same(open_run):
    """So that the campaign need not train one to tell what the average is worth."""
    found = []
    for name, ema in (("with", True), ("without", False)):
        run = open_run(name=name, ema=ema, steps=2)
        for _ in range(2):
            take_step(run)
        found.append(weights_of(run))
    assert all(torch.equal(found[0][key], found[1][key]) for key in found[0])


def write_run(out: Path, experiment: str, seed: int, wins: float, **figures: float) -> None:
    folder = out / f"{experiment}-{seed}"
    folder.mkdir(parents=True)
    document = {
        "experiment": experiment,
        "seed": seed,
        "figures": {"fill/structure": wins, "fill/aesthetics": wins + 0.1, **figures},
        "scenes": {"fill/structure": 100, "fill/aesthetics": 100},
        "own": {"fill/structure": 0.9},
        "steps": 80,
    }
    (folder / "measured-adapter.json").write_text(json.dumps(document), encoding="utf-8")


@pytest.fixture
def campaign(tmp_path: Path) -> Path:
    for seed, wins in enumerate((0.6, 0.7, 0.8)):
        write_run(tmp_path, "default", seed, wins, **{"fill seam": 0.5, "removal seam": 1.25})
    write_run(tmp_path, "logistic", 0, 0.5, **{"fill seam": 1.0})
    return tmp_path


CONTRASTS = {"headline": ("default", "with text"), "loss": ("default", "logistic")}


def test_the_table_has_means_and_ranges_by_contrast(report, campaign):
    summary = report.summarise(campaign, CONTRASTS)
    lines = report.markdown(summary["table"]).splitlines()
    assert lines == [
        "| run | seeds | fill | lowest | seam |",
        "| --- | --- | --- | --- | --- |",
        "| *start model* |  | 50 | 50 | 1.00 |",
        "| default | 3 | 75 (65 to 85) | 70 (60 to 80) | 1.25 |",
        "| **loss** |  |  |  |  |",
        "| logistic | 1 | 55 | 50 | 1.00 |",
    ]
    assert report.markdown(summary["headline"]).splitlines() == lines[:4]


def test_every_cell_of_the_headline_comes_with_both_spreads(report, campaign):
    cells = report.summarise(campaign, CONTRASTS)["cells"]
    assert cells["head"] == ["task / dimension", "default: second judge", "default: its own judge"]
    assert cells["rows"] == [
        ["fill / structure", "70 (60 to 80) [60 to 78]", "90"],
        ["fill / aesthetics", "80 (70 to 90) [71 to 87]", "–"],
    ]


def test_nothing_measured_is_an_empty_table(report, tmp_path):
    summary = report.summarise(tmp_path, CONTRASTS)
    assert (summary["table"]["rows"], summary["cells"]["rows"]) == ([], [])
    assert not any(summary["plots"].values())


def test_plots_show_every_seed_and_the_curves(evidence, report, campaign, tmp_path):
    lines = [
        {"kind": "step", "step": step, "reward": {"fill": {"structure": 0.5 + step / 10}}}
        for step in (1, 2, 3)
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (campaign / "default-0" / "metrics.jsonl").write_text(text, encoding="utf-8")
    summary = json.loads(json.dumps(report.summarise(campaign, CONTRASTS)))
    files = {file.name: file for file in evidence.draw_plots(summary, tmp_path / "images")}
    assert list(files) == [f"rl-evidence-{of}.svg" for of in ("headline", "loss", "curves")]
    drawn = {name: ElementTree.parse(file).getroot() for name, file in files.items()}
    dots = drawn["rl-evidence-loss.svg"].findall(".//{*}circle")
    assert len(dots) == 4 * 3  # runs, each with three columns
    words = {text.text for text in drawn["rl-evidence-curves.svg"].findall(".//{*}text")}
    assert "fill, structure: 0.6 → 0.8" in words


def test_no_name_in_a_plot_is_cut_off(evidence, tmp_path):
    name = "240 steps, no penalty, last update"
    panel = {"column": "fill", "at_start": 50, "low": 0, "high": 100, "digits": 0}
    summary = {"plots": {"steps": [{**panel, "values": {name: [60.0]}}]}, "curves": {}}
    (file,) = evidence.draw_plots(summary, tmp_path)
    (text,) = (t for t in ElementTree.parse(file).findall(".//{*}text") if t.text == name)
    assert text.get("text-anchor") == "end"
    assert float(text.get("x", 0)) / len(name) > 5.5  # pixels a letter

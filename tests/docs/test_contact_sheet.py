"""The contact sheet of the docs, drawn small with a random policy."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image, ImageFont

SCRIPT = Path(__file__).parents[2] / "scripts" / "make_contact_sheet.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_contact_sheet", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def random_policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from onefill.pocket.policy_architecture import write_random_policy

    return write_random_policy(tmp_path_factory.mktemp("models") / "policy", seed=3)


def test_any_policy_folder_is_drawn_and_the_same_twice(
    script: ModuleType, random_policy: Path, tmp_path: Path
) -> None:
    counts = ["--fill", "2", "--removal", "1", "--extend", "1", "--text", "1"]
    sheets = [tmp_path / "one.png", tmp_path / "sub" / "two.png"]
    for sheet in sheets:
        script.main(["--model", str(random_policy), "-o", str(sheet), *counts])
    first, second = (np.asarray(Image.open(sheet)) for sheet in sheets)
    assert (first == second).all()
    assert first.shape[1] > 4 * 3 * 128
    assert len(np.unique(first.reshape(-1, 3), axis=0)) > 1000


def test_a_case_shows_the_picture_the_hole_and_the_painting_in_it(
    script: ModuleType, random_policy: Path
) -> None:
    from onefill.data.source import open_source
    from onefill.pocket import embedded
    from onefill.policy.loading import load_policy
    from onefill.rl.batch import make_batch
    from onefill.tasks.registry import load_tasks

    task = load_tasks().get("extend")
    source = open_source(embedded.scenes("heldout"), [task], 0)
    policy = load_policy(str(random_policy))
    samples = script.choose_samples(source, "extend", 2, policy.settings.size)
    cases = list(script.paint_cases(policy, make_batch(task, samples, "cpu"), 0))
    assert len(cases) == 2
    for case, sample in zip(cases, samples, strict=True):
        picture, masked, result = case.pictures
        assert case.label.startswith("extend: ")
        assert (masked[:, sample.mask] == 0.5).all()
        assert (masked[:, ~sample.mask] == picture[:, ~sample.mask]).all()
        assert (result[:, ~sample.mask] == picture[:, ~sample.mask]).all()
        assert np.abs(result - picture)[:, sample.mask].mean() > 0.01


def test_scenes_ask_for_different_things_while_there_are_others(script: ModuleType) -> None:
    from onefill.data.source import open_source
    from onefill.pocket import embedded
    from onefill.pocket.vocabulary import WORDS
    from onefill.tasks.registry import load_tasks

    source = open_source(embedded.scenes("heldout"), [load_tasks().get("fill")], 0)
    samples = script.choose_samples(source, "fill", len(WORDS) + 2, 8)
    things = [script._without_article(sample.words) for sample in samples]
    assert len(set(things[: len(WORDS)])) == len(WORDS)
    assert len(things) == len(WORDS) + 2


def test_signs_that_no_font_has_are_shown_by_their_code(script: ModuleType) -> None:
    text, _ = script.label_of("text: 澳门", None)
    assert text == "text: U+6FB3 U+95E8"
    chinese = ImageFont.load_default(14)
    assert script.label_of("text: 澳门", chinese) == ("text: 澳门", chinese)
    assert script.label_of("text: OPEN", chinese)[0] == "text: OPEN"

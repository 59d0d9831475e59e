"""The contact sheet of the docs, drawn small with a random policy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import ImageFont

from onefill.pocket import contact_sheet


@pytest.fixture(scope="module")
def random_policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from onefill.pocket.policy.architecture import write_random_policy

    return write_random_policy(tmp_path_factory.mktemp("models") / "policy", seed=3)


def test_any_policy_folder_is_drawn_and_the_same_twice(random_policy: Path) -> None:
    from onefill.policy.loading import load_policy

    policy = load_policy(str(random_policy))
    counts = {"fill": 2, "removal": 1, "extend": 1, "text": 1}
    first, second = (
        np.asarray(contact_sheet.contact_sheet(policy, "random", 0, counts)) for _ in range(2)
    )
    assert (first == second).all()
    assert first.shape[1] > 4 * 3 * 128
    assert len(np.unique(first.reshape(-1, 3), axis=0)) > 1000


def test_a_case_shows_the_picture_the_hole_and_the_painting_in_it(
    random_policy: Path,
) -> None:
    from onefill.data.source import open_source
    from onefill.pocket import embedded
    from onefill.policy.loading import load_policy
    from onefill.rl.batch import make_batch
    from onefill.tasks.registry import load_tasks

    task = load_tasks().get("extend")
    source = open_source(embedded.scenes("heldout"), [task], 0)
    policy = load_policy(str(random_policy))
    samples = contact_sheet.choose_samples(source, "extend", 2, policy.settings.size)
    cases = list(contact_sheet.paint_cases(policy, make_batch(task, samples, "cpu"), 0))
    assert len(cases) == 2
    for case, sample in zip(cases, samples, strict=True):
        picture, masked, result = case.pictures
        assert case.label.startswith("extend: ")
        assert (masked[:, sample.mask] == 0.5).all()
        assert (masked[:, ~sample.mask] == picture[:, ~sample.mask]).all()
        assert (result[:, ~sample.mask] == picture[:, ~sample.mask]).all()
        assert np.abs(result - picture)[:, sample.mask].mean() > 0.01


def test_scenes_ask_for_different_things_while_there_are_others() -> None:
    from onefill.data.source import open_source
    from onefill.pocket import embedded
    from onefill.pocket.material.vocabulary import WORDS
    from onefill.tasks.registry import load_tasks

    source = open_source(embedded.scenes("heldout"), [load_tasks().get("fill")], 0)
    samples = contact_sheet.choose_samples(source, "fill", len(WORDS) + 2, 8)
    things = [contact_sheet._without_article(sample.words) for sample in samples]
    assert len(set(things[: len(WORDS)])) == len(WORDS)
    assert len(things) == len(WORDS) + 2


def test_signs_that_no_font_has_are_shown_by_their_code() -> None:
    text, _ = contact_sheet.label_of("text: 澳门", None)
    assert text == "text: U+6FB3 U+95E8"
    chinese = ImageFont.load_default(14)
    assert contact_sheet.label_of("text: 澳门", chinese) == ("text: 澳门", chinese)
    assert contact_sheet.label_of("text: OPEN", chinese)[0] == "text: OPEN"

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from onefill.errors import BadInput, OnefillError
from onefill.tasks.registry import load_tasks

NAMES = ["fill", "extend", "removal", "text"]


def test_the_four_tasks_come_from_onefill_itself() -> None:
    registry = load_tasks()
    for name in NAMES:
        assert registry.tasks[name].distribution == "onefill"
        assert registry.tasks[name].plugin == f"onefill_builtin.{name}"


def test_each_task_is_judged_on_the_papers_dimensions() -> None:
    registry = load_tasks()
    judged = {name: [d.name for d in registry.get(name).dimensions] for name in NAMES}
    generated = ["consistency", "structure", "text-alignment", "aesthetics"]
    assert judged == {
        "fill": generated,
        "extend": generated,
        "removal": ["removal-quality"],
        "text": ["consistency", "text-alignment", "aesthetics"],
    }


def test_only_text_alignment_is_judged_with_the_prompt() -> None:
    for registered in load_tasks().tasks.values():
        for dimension in registered.task.dimensions:
            assert dimension.uses_prompt == (dimension.name == "text-alignment")


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("fill", 0.08, 0.45), ("removal", 0.08, 0.45), ("text", 0.08, 0.45), ("extend", 0.15, 0.60)],
)
@given(seed=st.integers(0, 2**32 - 1))
def test_masks_of_the_working_size_are_of_moderate_area(
    name: str, low: float, high: float, seed: int
) -> None:
    mask = load_tasks().get(name).draw_mask(Image.new("RGB", (64, 64)), np.random.default_rng(seed))
    assert low <= mask.mean() <= high


@pytest.mark.parametrize("name", NAMES)
@given(size=st.tuples(st.integers(16, 300), st.integers(16, 300)), seed=st.integers(0, 2**32 - 1))
def test_masks_fit_pictures_of_every_form(name: str, size: tuple[int, int], seed: int) -> None:
    mask = load_tasks().get(name).draw_mask(Image.new("RGB", size), np.random.default_rng(seed))
    assert mask.shape == (size[1], size[0])
    assert mask.any()
    assert not mask.all()


@given(data=st.data())
def test_extend_paints_exactly_outside_the_kept_picture(data: st.DataObject) -> None:
    width, height = data.draw(st.integers(10, 90)), data.draw(st.integers(10, 90))
    x, y = data.draw(st.integers(0, 40)), data.draw(st.integers(1, 40))
    canvas = Image.new("RGB", (width + x + 3, height + y))
    extend = load_tasks().get("extend")
    mask = extend.draw_mask(canvas, np.random.default_rng(0), {"keep": (x, y, width, height)})
    expected = np.ones((canvas.height, canvas.width), dtype=bool)
    expected[y : y + height, x : x + width] = False
    assert np.array_equal(mask, expected)


def test_extend_says_so_when_nothing_is_to_be_extended() -> None:
    canvas = Image.new("RGB", (20, 10))
    with pytest.raises(OnefillError, match="the mask is empty"):
        load_tasks().get("extend").draw_mask(
            canvas, np.random.default_rng(0), {"keep": (0, 0, 20, 10)}
        )


@pytest.mark.parametrize(
    ("name", "words", "prompt"),
    [
        ("fill", " straw hat ", "straw hat"),
        ("text", "澳门", "澳门"),
        ("extend", "a beach", "a beach"),
        ("extend", None, "high-definition, perfect composition"),
        ("removal", None, "remove"),
        ("removal", "the car", "remove"),
    ],
)
def test_prompts(name: str, words: str | None, prompt: str) -> None:
    assert load_tasks().get(name).prompt.render(words) == prompt


@pytest.mark.parametrize("name", ["fill", "text"])
@pytest.mark.parametrize("words", [None, "", "  "])
def test_fill_and_text_need_words(name: str, words: str | None) -> None:
    with pytest.raises(BadInput, match="--prompt"):
        load_tasks().get(name).prompt.render(words)


def test_words_with_braces_are_only_words() -> None:
    assert load_tasks().get("fill").prompt.render("a {words} sign") == "a {words} sign"

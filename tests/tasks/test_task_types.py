from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from onefill.errors import BadInput, OnefillError
from onefill.tasks.types import Dimension, Mask, MaskOptions, PromptTemplate, Task

LOOKS = Dimension(name="looks", question="Does it look good?")


def centre(image: Image.Image, rng: np.random.Generator, options: MaskOptions) -> Mask:
    mask = np.zeros((image.height, image.width), dtype=np.bool_)
    mask[image.height // 4 : image.height // 2] = True
    return mask


def make(**changes: Any) -> Task:
    settings: dict[str, Any] = {
        "name": "polish",
        "summary": "Polish it",
        "masks": centre,
        "prompt": PromptTemplate(),
        "dimensions": (LOOKS,),
    }
    return Task(**(settings | changes))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"name": "Polish"}, "lower-case"),
        ({"name": "re touch"}, "lower-case"),
        ({"name": ""}, "lower-case"),
        ({"summary": None}, "summary"),
        ({"summary": " "}, "summary"),
        ({"masks": None}, "callable"),
        ({"prompt": "{words}"}, "PromptTemplate"),
        ({"dimensions": ()}, "Dimension"),
        ({"dimensions": [LOOKS]}, "Dimension"),
        ({"dimensions": ("looks",)}, "Dimension"),
        ({"dimensions": (LOOKS, LOOKS)}, "twice"),
    ],
)
def test_a_task_that_is_not_whole_is_refused(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        make(**changes)


@pytest.mark.parametrize("template", ["{}", "{word}", "{words", "{words.size}", 7])
def test_a_template_takes_words_only(template: Any) -> None:
    with pytest.raises(ValueError, match="template"):
        PromptTemplate(with_words=template)


def test_a_dimension_needs_a_question() -> None:
    with pytest.raises(ValueError, match="question"):
        Dimension(name="looks", question=" ")


def test_a_dimension_uses_the_prompt_or_not() -> None:
    with pytest.raises(ValueError, match="uses_prompt"):
        Dimension(name="looks", question="Well?", uses_prompt="sometimes")  # type: ignore[arg-type]


def test_a_dimension_is_found_by_name_or_the_known_ones_are_named() -> None:
    assert make().dimension("looks") is LOOKS
    with pytest.raises(BadInput, match=r"--dim beauty: task 'polish' .* choose from looks"):
        make().dimension("beauty")


def transposed(image: Image.Image, rng: np.random.Generator, options: MaskOptions) -> Mask:
    return np.ones(image.size, dtype=np.bool_)


def grey(image: Image.Image, rng: np.random.Generator, options: MaskOptions) -> Any:
    return np.ones((image.height, image.width), dtype=np.float32)


def listed(image: Image.Image, rng: np.random.Generator, options: MaskOptions) -> Any:
    return [[True]]


def blank(image: Image.Image, rng: np.random.Generator, options: MaskOptions) -> Mask:
    return np.zeros((image.height, image.width), dtype=np.bool_)


def broken(image: Image.Image, rng: np.random.Generator, options: MaskOptions) -> Mask:
    raise KeyError("size")


def exiting(image: Image.Image, rng: np.random.Generator, options: MaskOptions) -> Mask:
    raise SystemExit(3)


@pytest.mark.parametrize(
    ("masks", "complaint"),
    [
        (transposed, r"shape \(4, 8\), not bool array of shape \(8, 4\)"),
        (grey, "not float32 array"),
        (listed, "not list"),
        (blank, "empty"),
        (broken, "raised KeyError: 'size'"),
        (exiting, "raised SystemExit: 3"),
    ],
)
def test_a_bad_mask_is_the_named_tasks_failure(masks: Any, complaint: str) -> None:
    with pytest.raises(OnefillError, match=f"task 'polish': .*{complaint}"):
        make(masks=masks).draw_mask(Image.new("RGB", (8, 4)), np.random.default_rng(0))


def test_a_good_mask_passes_unchanged() -> None:
    image = Image.new("RGB", (8, 4))
    drawn = make().draw_mask(image, np.random.default_rng(0))
    assert np.array_equal(drawn, centre(image, np.random.default_rng(0), {}))

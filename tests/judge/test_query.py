from __future__ import annotations

import pytest

from onefill.errors import BadInput
from onefill.judge.query import answerable, build_messages, build_query
from onefill.tasks.types import Task


def test_task_dimension_and_question_are_always_named(task: Task) -> None:
    query = build_query(task, task.dimension("fit"), None)
    assert query == "Task: paint. Dimension: fit. Does it fit in?"


def test_the_prompt_enters_only_where_the_dimension_is_about_it(task: Task) -> None:
    with_words = build_query(task, task.dimension("word-match"), " straw   hat\n")
    assert with_words == (
        "Task: paint. Dimension: word match. Is it what was asked? Prompt: straw hat."
    )
    assert build_query(task, task.dimension("looks"), "straw hat") == build_query(
        task, task.dimension("looks"), None
    )


@pytest.mark.parametrize("words", [None, "", "  \n"])
def test_a_dimension_about_the_prompt_is_refused_without_one(task: Task, words: str | None) -> None:
    with pytest.raises(BadInput, match="--prompt: word-match"):
        build_query(task, task.dimension("word-match"), words)
    assert [d.name for d in answerable(task, words)] == ["fit", "looks"]


def test_with_words_everything_can_be_asked(task: Task) -> None:
    assert answerable(task, "hat") == task.dimensions


def test_image_1_comes_before_image_2_and_the_question_last() -> None:
    content = build_messages("Q")[0]["content"]
    assert [part.get("text", part["type"]) for part in content] == [
        "Q\nImage 1:",
        "image",
        "\nImage 2:",
        "image",
        "\nIs image 1 better than image 2? Answer Yes or No.",
    ]

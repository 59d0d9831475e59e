"""The words a judge is asked with: one place, so that training and asking never drift apart.

The paper's query is Phi(task, dimension, prompt) (section 3.1): task and dimension are always
named, the prompt only where the dimension is about it. The literal wording is not published;
this one is ours, and its version is stored beside every judge that was trained with it.
"""

from __future__ import annotations

from typing import Any

from onefill.errors import BadInput
from onefill.tasks.types import Dimension, Task

TEMPLATE_VERSION = 1

BEFORE_FIRST = "\nImage 1:"
BEFORE_SECOND = "\nImage 2:"
QUESTION = "\nIs image 1 better than image 2? Answer Yes or No."
ANSWERS = ("Yes", "No")

_ABOUT = "Task: {task}. Dimension: {dimension}. {question}"
_WORDS = " Prompt: {words}."

TEMPLATE = f"{_ABOUT}[{_WORDS}]{BEFORE_FIRST}<image>{BEFORE_SECOND}<image>{QUESTION}"
"""The whole user turn, as a judge's card keeps it; brackets: only where the words are judged."""


def build_query(task: Task, dimension: Dimension, words: str | None) -> str:
    """The first lines of the judge's user turn.

    Args:
        task: the edit both images are results of.
        dimension: what they are compared on.
        words: what the user typed; left out unless the dimension is judged with it.

    Raises:
        BadInput: the dimension is judged with the user's words and there are none.
    """
    name = dimension.name.replace("-", " ")
    query = _ABOUT.format(task=task.name, dimension=name, question=dimension.question)
    if not dimension.uses_prompt:
        return query
    typed = " ".join((words or "").split())
    if not typed:
        raise BadInput(
            f"--prompt: {dimension.name} is judged against the words of the edit; "
            "give them, as --prompt 'straw hat'"
        )
    # The tokenizer turns markers such as <|image_pad|> into control tokens wherever they stand.
    return query + _WORDS.format(words=typed.replace("<|", "< |"))


def answerable(task: Task, words: str | None) -> tuple[Dimension, ...]:
    """The dimensions of ``task`` that can be asked about an edit made with these words."""
    has_words = bool(words and words.strip())
    return tuple(d for d in task.dimensions if has_words or not d.uses_prompt)


def build_messages(query: str) -> list[dict[str, Any]]:
    """The conversation a chat template renders: the query, and the two images in its places."""
    content = [
        {"type": "text", "text": query + BEFORE_FIRST},
        {"type": "image"},
        {"type": "text", "text": BEFORE_SECOND},
        {"type": "image"},
        {"type": "text", "text": QUESTION},
    ]
    return [{"role": "user", "content": content}]

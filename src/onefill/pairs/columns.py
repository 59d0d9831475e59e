"""Which column of somebody else's table is what, and what its values mean."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from onefill.errors import BadInput
from onefill.tasks.registry import TaskRegistry

_PAIRS_OF_PICTURES = (
    ("first", "second"),
    ("image_1", "image_2"),
    ("image1", "image2"),
    ("image_0", "image_1"),
    ("jpg_0", "jpg_1"),
    ("image_a", "image_b"),
    ("img_a", "img_b"),
    ("left", "right"),
    ("image_left", "image_right"),
    ("chosen", "rejected"),
    ("jpg_chosen", "jpg_rejected"),
    ("winner_image", "loser_image"),
)
"""Two pictures; where two entries of the table have a column in common the first one counts."""

_CHOSEN = frozenset({"chosen", "jpg_chosen", "winner_image"})
_WINNERS = ("winner", "preference", "preferred", "label", "choice", "vote", "better")
_PROMPTS = ("prompt", "caption", "text", "instruction")

_FIRST = frozenset({"first", "1st", "a", "left", "image_a", "image_left", "model_a"})
_SECOND = frozenset({"second", "2nd", "b", "right", "image_b", "image_right", "model_b"})
_TIE = frozenset({"tie", "draw", "equal", "same", "both", "neither", "tie (bothbad)"})


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the user said of the columns; None where it is to be guessed.

    Attributes:
        first: column of the first picture.
        second: column of the second picture.
        winner: column that says which is better.
        prompt: column of what was asked for.
        task: column, or the name of the task of every row.
        dim: column, or the name of the dimension of every row.
        values: what the winner column holds for the first, for the second and for a tie.
    """

    first: str | None = None
    second: str | None = None
    winner: str | None = None
    prompt: str | None = None
    task: str = "fill"
    dim: str | None = None
    values: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Columns:
    """Which column holds what.

    Attributes:
        first: picture.
        second: picture.
        winner: which is better; None if the first always is.
        of_first: the winner column holds how good the first is, 1 won, 0 lost, 0.5 tie.
        values: what it holds otherwise, for first, second and tie; empty for words.
        prompt: what was asked for, or None.
        task: the task, if it is a column.
        always_task: the task of every row otherwise.
        dim: the dimension, if it is a column.
        always_dim: the dimension of every row otherwise.
    """

    first: str
    second: str
    winner: str | None
    of_first: bool
    values: tuple[str, ...]
    prompt: str | None
    task: str | None
    always_task: str
    dim: str | None
    always_dim: str | None

    def told(self) -> str:
        """One line for the user."""
        winner = self.winner or f"always {self.first}"
        dim = self.always_dim or f"column {self.dim}"
        task = f"column {self.task}" if self.task else self.always_task
        return (
            f"first {self.first}, second {self.second}, winner {winner}, "
            f"prompt {self.prompt or 'none'}, task {task}, dimension {dim}"
        )

    def winner_of(self, row: dict[str, Any]) -> str:
        """Who won: "first", "second" or "tie".

        Raises:
            BadInput: the value says nothing that is known.
        """
        if self.winner is None:
            return "first"
        value = row.get(self.winner)
        if self.of_first:
            return self._by_score(value)
        text = _text(value)
        if self.values:
            if text in self.values:
                return ("first", "second", "tie")[self.values.index(text)]
            raise BadInput(f"{self.winner} is {text!r}, not one of --values {self._values()}")
        plain = text.casefold()
        for meaning, words in (
            ("first", _FIRST | {self.first.casefold()}),
            ("second", _SECOND | {self.second.casefold()}),
            ("tie", _TIE),
        ):
            if plain in words:
                return meaning
        raise BadInput(
            f"{self.winner} is {text!r}: say what it holds for the first and for the second "
            f"picture, as --values {text},other"
        )

    def _by_score(self, value: Any) -> str:
        if isinstance(value, int | float) and 0 <= value <= 1:
            return "tie" if value == 0.5 else "first" if value > 0.5 else "second"
        raise BadInput(f"{self.winner} is {value!r}, not a number from 0 to 1")

    def _values(self) -> str:
        return ",".join(self.values)


def find_columns(names: Sequence[str], asked: Asked, registry: TaskRegistry) -> Columns:
    """Match the columns of a table, taking the user's word first.

    Raises:
        BadInput: a named column is not there, or one that is needed cannot be guessed.
    """
    there = f"the columns are {', '.join(names) or 'none'}"
    pair = _pictures(names, asked, there)
    winner = _winner(names, pair, asked, there)
    of_first = winner is not None and not asked.values and winner in _score_names(pair[0])
    prompt = asked.prompt or next((name for name in _PROMPTS if name in names), None)
    if prompt is not None and prompt not in names:
        raise BadInput(f"--prompt {prompt}: no such column; {there}")
    task = asked.task if asked.task in names else None
    if task is None:
        registry.get(asked.task)
    dim = asked.dim or next((name for name in ("dim", "dimension") if name in names), None)
    if dim is None:
        raise BadInput(
            "--dim: say what was compared, a dimension as --dim aesthetics or the column that "
            f"names it; {there}"
        )
    if dim not in names and task is None:
        registry.get(asked.task).dimension(dim)
    return Columns(
        first=pair[0],
        second=pair[1],
        winner=winner,
        of_first=of_first,
        values=asked.values,
        prompt=prompt,
        task=task,
        always_task=asked.task,
        dim=dim if dim in names else None,
        always_dim=None if dim in names else dim,
    )


def _pictures(names: Collection[str], asked: Asked, there: str) -> tuple[str, str]:
    for flag, name in (("--first", asked.first), ("--second", asked.second)):
        if name is not None and name not in names:
            raise BadInput(f"{flag} {name}: no such column; {there}")
    if asked.first is not None and asked.second is not None:
        return asked.first, asked.second
    for first, second in _PAIRS_OF_PICTURES:
        there_are = first in names and second in names
        if there_are and asked.first in (None, first) and asked.second in (None, second):
            return first, second
    raise BadInput(f"--first and --second: name the columns of the two pictures; {there}")


def _score_names(first: str) -> tuple[str, ...]:
    """Columns that may hold how good the first picture is: label_0 goes with jpg_0."""
    ending = first.rpartition("_")[2]
    return (f"label_{ending}",) if ending != first else ()


def _winner(names: Collection[str], pair: tuple[str, str], asked: Asked, there: str) -> str | None:
    if asked.winner is not None:
        if asked.winner not in names:
            raise BadInput(f"--winner {asked.winner}: no such column; {there}")
        return asked.winner
    if pair[0] in _CHOSEN:
        return None
    for name in (*_score_names(pair[0]), *_WINNERS):
        if name in names:
            return name
    raise BadInput(f"--winner: name the column that says which picture is better; {there}")


def _text(value: Any) -> str:
    """A value as the user would type it: 1.0 is 1."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip()

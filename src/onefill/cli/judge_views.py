"""What ``onefill judge`` shows: tables, sentences, and how far it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onefill.cli.progress import open_bar

if TYPE_CHECKING:
    from rich.table import Table

    from onefill.judge.verdict import Verdict


@contextmanager
def progress(total: int, done: int = 0) -> Iterator[Callable[[], None]]:
    """A bar on stderr while pairs are asked, if a person is looking; gives what to call per pair.

    Args:
        total: pairs in all.
        done: pairs that an earlier run has done.
    """
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("judging"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("pairs"),
        TimeRemainingColumn(),
    )
    with open_bar(*columns) as bar:
        task = bar.add_task("", total=total, completed=done)
        yield lambda: bar.advance(task)


def short_names(paths: Sequence[Path]) -> list[str]:
    """File names, or the paths as typed where two are the same."""
    names = [path.name for path in paths]
    return names if len(set(names)) == len(names) else [str(path) for path in paths]


def verdict_table(verdicts: Sequence[Verdict], names: Sequence[str]) -> Table:
    """One line a dimension, for two pictures of these names."""
    from rich.markup import escape
    from rich.table import Table

    table = Table()
    for heading in ("task", "dimension", "winner"):
        table.add_column(heading)
    table.add_column(escape(f"p({names[0]} better)"), justify="right")
    table.add_column("order gap", justify="right")
    for verdict in verdicts:
        winner = {"first": escape(names[0]), "second": escape(names[1]), "tie": "tie"}
        table.add_row(
            verdict.task,
            verdict.dim,
            winner[verdict.winner],
            f"{verdict.p_first:.2f}",
            f"{verdict.order_gap:.2f}",
        )
    return table


def in_words(verdict: Verdict, names: Sequence[str]) -> str:
    """A verdict on two pictures of these names, as a sentence."""
    points = round(100 * verdict.order_gap)
    order = f"swapping the order changes this by {points} point{'' if points == 1 else 's'}"
    if verdict.winner == "tie":
        found = f"no clear winner ({100 * verdict.p_first:.0f} % for {names[0]})"
    elif verdict.winner == "first":
        found = f"{names[0]} is better, {100 * verdict.p_first:.0f} % sure"
    else:
        found = f"{names[1]} is better, {100 * (1 - verdict.p_first):.0f} % sure"
    return f"{verdict.dim}: {found}; {order}"


def ranking_table(
    task: str, dim: str, places: Sequence[Mapping[str, Any]], names: Mapping[str, str]
) -> Table:
    """The pictures of one ranking, best first; ``names`` is path to the name shown."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=f"{task}, {dim}", title_justify="left")
    table.add_column("rank", justify="right")
    table.add_column("picture")
    for heading in ("score", "95 % interval", "wins"):
        table.add_column(heading, justify="right")
    for place in places:
        table.add_row(
            str(place["rank"]),
            escape(names[place["path"]]),
            f"{place['score']:+.2f}",
            f"{place['low']:+.2f} to {place['high']:+.2f}",
            str(place["wins"]),
        )
    return table

"""The accuracy of a judge as tables on a terminal, laid out like the paper's Table 1."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from onefill.judge.accuracy import AccuracyTable


def accuracy_tables(table: AccuracyTable, pairs: int) -> Iterator[Table]:
    """Tasks by dimensions; then each cell with interval, order bias and calibration; by strength.

    Args:
        table: of a judge.
        pairs: how many it was made of.
    """
    from rich.markup import escape
    from rich.table import Table

    from onefill.judge.report import in_percent, interval, overview

    dims, lines = overview(table)
    first = Table(title=f"Accuracy on {pairs} known pairs, %", title_justify="left")
    first.add_column("task")
    for dim in dims:
        first.add_column(escape(dim), justify="right")
    for task, shares in lines:
        first.add_row(escape(task), *(in_percent(share) for share in shares))
    yield first

    cells = [*table.cells.items(), ("all", table.overall)]
    second = Table(title="How sure that is, and how much order matters", title_justify="left")
    second.add_column("task/dimension")
    for heading in (
        "accuracy",
        "95 % interval",
        "decided",
        "ties",
        "one order",
        "order gap",
        "names first",
        "calibration error",
    ):
        second.add_column(heading, justify="right")
    for name, cell in cells:
        second.add_row(
            escape(name),
            in_percent(cell.accuracy),
            interval(cell.accuracy),
            str(cell.accuracy.n),
            str(cell.ties),
            f"{100 * cell.one_order:.2f}",
            f"{cell.order_gap:.3f}",
            f"{100 * cell.first_place:.0f} %",
            f"{cell.ece:.3f}",
        )
    yield second

    if not table.overall.by_strength:
        return
    third = Table(title="Accuracy by strength of the difference, %", title_justify="left")
    third.add_column("task/dimension")
    ranges = [(low, high) for low, high, _ in table.overall.by_strength]
    for low, high in ranges:
        third.add_column(f"{low:.1f} to {high:.1f}", justify="right")
    for name, cell in cells:
        found = {(low, high): share for low, high, share in cell.by_strength}
        row = [found.get(limits) for limits in ranges]
        if found:
            third.add_row(escape(name), *(f"{in_percent(s)} ({s.n})" if s else "–" for s in row))
    yield third

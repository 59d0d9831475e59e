"""The accuracy of a judge as tables on a terminal, laid out like the paper's Table 1."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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

    from onefill.judge.report import in_percent, interval, overview

    dims, lines = overview(table)
    first = _open_table(f"Accuracy on {pairs} known pairs, %", "task", dims)
    for task, shares in lines:
        first.add_row(escape(task), *(in_percent(share) for share in shares))
    yield first

    cells = [*table.cells.items(), ("all", table.overall)]
    headings = ("accuracy", "95 % interval", "pairs", "order gap", "first", "ECE")
    second = _open_table("How sure that is, and how much order matters", "task/dimension", headings)
    for name, cell in cells:
        second.add_row(
            escape(name),
            in_percent(cell.accuracy),
            interval(cell.accuracy),
            str(cell.accuracy.n),
            f"{cell.order_gap:.3f}",
            f"{100 * cell.first_place:.0f} %",
            f"{cell.ece:.3f}",
        )
    second.caption = (
        "first: how often the picture shown first is named; ECE: expected calibration error"
        + (f"; {table.overall.ties} ties are left out" if table.overall.ties else "")
    )
    second.caption_justify = "left"
    yield second

    if not table.overall.by_strength:
        return
    ranges = [(low, high) for low, high, _ in table.overall.by_strength]
    limits = tuple(f"{low:.1f}–{high:.1f}" for low, high in ranges)
    third = _open_table(
        "Accuracy by strength of the difference, % (pairs)", "task/dimension", limits
    )
    for name, cell in cells:
        found = {(low, high): share for low, high, share in cell.by_strength}
        row = [found.get(edges) for edges in ranges]
        if found:
            shown = (f"{100 * s.rate:.0f} ({s.n})" if s else "–" for s in row)
            third.add_row(escape(name), *shown)
    yield third


def _open_table(title: str, first: str, headings: Sequence[str]) -> Table:
    """Narrow enough for a terminal of 80 columns."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0))
    table.add_column(first, no_wrap=True)
    for heading in headings:
        table.add_column(escape(heading), justify="right", no_wrap=True)
    return table

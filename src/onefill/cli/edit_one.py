"""``onefill edit`` with one photograph."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import typer

from onefill.cli import console

if TYPE_CHECKING:
    from onefill.cli.edit_finish import Finisher
    from onefill.cli.edit_wishes import PaintWishes
    from onefill.edit.job import EditResult
    from onefill.edit.request import EditRequest
    from onefill.policy.flux_fill import FluxFillPolicy


def edit_one(
    request: EditRequest,
    finisher: Finisher,
    load: Callable[[], FluxFillPolicy],
    wishes: PaintWishes,
    json_output: bool,
) -> None:
    """Plan, paint, write, finish, and print the paths.

    Raises:
        BadInput: the request cannot be carried out; nothing has been written.
        OnefillError: a result cannot be written.
    """
    from onefill.edit.request import plan_edit

    finisher.check(request)
    plan = plan_edit(request)

    from onefill.cli.edit_wishes import Remarks
    from onefill.edit.job import run_edit

    policy = load()
    finisher.load()
    remarks = Remarks(wishes, policy)
    staged = finisher.stage(plan)
    results: list[EditResult] = []
    for result in run_edit(staged, policy, wishes.sampling(), wishes.signature()):
        # Only now: a prompt that turns out too long leaves its own line and no other.
        if not results:
            remarks.make(plan)
        results.append(result)
        if not json_output and not finisher.orders:
            typer.echo(result.path)
    entries = finisher.finish(request, plan, results)
    if json_output:
        console.print_json({"images": entries})
    elif finisher.orders:
        for entry in entries:
            typer.echo(entry["path"])

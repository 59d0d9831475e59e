"""``onefill judge --pairs``: a file of pairs in, a file of verdicts out, and back after a kill."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from onefill.cli import console
from onefill.cli.judge_views import progress
from onefill.errors import BadInput

if TYPE_CHECKING:
    from onefill.judge.model import Judge
    from onefill.judge.pair import PreferencePair
    from onefill.tasks.registry import TaskRegistry


def judge_pairs(
    file: Path,
    output: Path,
    registry: TaskRegistry,
    load: Callable[[], Judge],
    *,
    judge_name: str,
    batch: int,
    skip_bad: bool,
    json_output: bool,
) -> None:
    """Judge every pair of ``file`` that ``output`` does not hold yet.

    Raises:
        BadInput: a file is not what it should be; a pair cannot be judged and ``skip_bad`` is
            not given, or ``output`` was written by another judge or for other pairs.
    """
    from onefill.judge.pairs_file import read_pairs

    pairs = read_pairs(file, registry)

    from onefill.judge.asking import ask_pairs
    from onefill.judge.verdicts_file import VerdictWriter, check_written, read_written

    written = read_written(output, pairs)
    judge = load()
    check_written(output, written, judge, registry, batch=batch, skip_bad=skip_bad)
    _say_what_is_unseen(judge, pairs)
    if written.done:
        console.say(f"{output}: goes on after {written.done} of {len(pairs)} pairs")
    skipped = len(written.skipped)

    def on_bad(pair: PreferencePair, error: BadInput) -> None:
        nonlocal skipped
        if not skip_bad:
            raise BadInput(f"{file} {error} (or give --skip-bad)")
        skipped += 1
        advance()
        console.warn(f"{file} {error}; skipped")

    left = pairs[written.done :]
    with (
        VerdictWriter(output, keep=written.size) as writer,
        progress(len(pairs), written.done) as advance,
    ):
        for pair, verdicts in ask_pairs(judge, left, registry, batch=batch, on_bad=on_bad):
            writer.write(pair, verdicts)
            advance()
    judged = len(pairs) - skipped
    if json_output:
        console.print_json(
            {
                "judge": judge_name,
                "output": str(output),
                "pairs": len(pairs),
                "judged": judged,
                "skipped": skipped,
            }
        )
        return
    missing = f", {skipped} skipped" if skipped else ""
    typer.echo(f"{output}: verdicts on {judged} of {len(pairs)} pairs{missing}")


def _say_what_is_unseen(judge: Judge, pairs: Sequence[PreferencePair]) -> None:
    given = {
        "source": any(pair.source is not None for pair in pairs),
        "mask": any(pair.mask is not None for pair in pairs),
    }
    unseen = [name for name, there in given.items() if there and name not in judge.sees]
    if unseen:
        console.say(
            f"this judge was not trained to look at the {' and '.join(unseen)} of a pair; left out"
        )

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from onefill.judge.accuracy import AccuracyTable, Answer, accuracy_table
from onefill.judge.asking import PairLogits
from onefill.judge.pair import PreferencePair
from onefill.judge.training.display import open_training_display


def held_out() -> AccuracyTable:
    pair = PreferencePair(
        first=Path("a.png"),
        second=Path("b.png"),
        task="fill",
        prompt=None,
        source=None,
        mask=None,
        dims=("structure",),
        winner={"structure": "first"},
        strength={},
        scene="a",
        line=1,
        row={},
    )
    right, wrong = (Answer(PairLogits(pair, "structure", m, -m), "first", 1.0) for m in (1, -1))
    return accuracy_table([right, right, right, wrong])


def show(*, terminal: bool) -> str:
    file = io.StringIO()
    console = Console(file=file, force_terminal=terminal, width=120, color_system=None)
    with open_training_display(console, total=10, begin=4) as display:
        display.doing("asking held-out pairs")
        display.validation(4, 0.5, held_out(), True)
        display.step(5, 0.25, [("fill/structure", 1.0), ("fill/aesthetics", 0.0)])
        display.note("by the way")
    return file.getvalue()


def test_a_terminal_shows_a_table_that_is_alive() -> None:
    last = show(terminal=True).split("by the way")[-1]
    assert "75.0% of 4" in last and "held out, step 4 (best: 4)" in last
    assert "aesthetics" in last and "100%" in last
    assert "5/10" in last and "loss 0.250" in last


def test_a_log_gets_plain_lines() -> None:
    lines = show(terminal=False).splitlines()
    assert lines == [
        "step 4/10 validation: loss 0.500, the best so far; accuracy fill/structure 0.75",
        "step 5/10: loss 0.250, fill/structure 1.00 fill/aesthetics 0.00",
        "by the way",
    ]

from __future__ import annotations

import io

import numpy as np
from rich.console import Console

from onefill.rl.display import StepReport, open_display
from onefill.rl.sheets import COLUMNS, SheetRow, draw_sheet

REPORT = StepReport(3, 0.25, {"fill": {"structure": 0.61, "aesthetics": 0.4}})
MIXED = StepReport(4, 0.5, {**REPORT.rewards, "removal": {"removal-quality": 0.5}})


def shown(is_terminal: bool) -> str:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=is_terminal, width=120)
    with open_display(console, total=8, begin=2) as display:
        display.doing("training")
        display.note("measuring [bold]")
        display.step(REPORT)
        display.step(MIXED)
    return stream.getvalue()


def test_a_log_gets_one_plain_line_per_step():
    lines = shown(is_terminal=False).splitlines()
    assert lines[0] == "measuring [bold]"
    assert lines[1].startswith("step 3/8 fill: loss 0.250, reward structure 0.61 aesthetics 0.40, ")
    assert "s/step" in lines[1] and "left" in lines[1]
    assert lines[2].startswith(
        "step 4/8 fill + removal: loss 0.500, "
        "reward structure 0.61 aesthetics 0.40 + removal-quality 0.50, "
    )
    assert "\x1b" not in "".join(lines)


def test_a_terminal_gets_a_table_and_a_bar():
    text = shown(is_terminal=True)
    for part in ("\x1b", "training: fill", "4/8", "structure 0.61", "s/step", "left", "[bold]"):
        assert part in text
    rows = [line.split()[:2] for line in text.splitlines()]
    assert ["fill", "2"] in rows and ["removal", "1"] in rows


def test_a_sheet_shows_each_picture_in_its_column():
    colours = {"source": (1, 0, 0), "start": (0, 1, 0), "trained": (0, 0, 1)}
    pictures = {
        name: np.broadcast_to(np.array(colour, np.float32)[:, None, None], (3, 32, 32))
        for name, colour in colours.items()
    }
    rows = [SheetRow(caption="text: 澳门", mask=np.ones((32, 32), np.float32), **pictures)] * 2
    sheet = np.asarray(draw_sheet("step 3", rows))
    side = 128
    assert sheet.shape[1] == 8 + len(COLUMNS) * (side + 8)
    for top in (2 * 22 + 8 + 22, 2 * 22 + 8 + side + 22 + 8 + 22):
        row = sheet[top + side // 2]
        centres = [tuple(row[8 + n * (side + 8) + side // 2].tolist()) for n in range(4)]
        assert centres == [(255, 0, 0), (255, 255, 255), (0, 255, 0), (0, 0, 255)]

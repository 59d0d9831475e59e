"""Draw the wrong verdicts that a judge was surest of, what it took for better beside the other.

onefill judge --judge JUDGE --pairs heldout/pairs.jsonl -o heldout/verdicts.jsonl
python scripts/make_mistakes_sheet.py heldout/verdicts.jsonl -o docs/images/judge-mistakes.webp
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from pair_pictures import OTHER, paste_pair, save_sheet
from PIL import Image, ImageDraw, ImageFont

SIDE, GAP, TEXT = 112, 8, 30

Mistake = tuple[float, str, dict[str, Any]]
"""How sure the judge was of it, of which dimension, and the pair."""


def mistakes(file: Path, of_each: int) -> list[Mistake]:
    """The surest wrong verdicts, at most ``of_each`` a task and dimension, surest first."""
    found: list[Mistake] = []
    for line in file.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        for verdict in row["verdicts"]:
            truth = row["winner"].get(verdict["dim"], "tie")
            sure = verdict["p_first"] if truth == "second" else 1 - verdict["p_first"]
            if truth != "tie" and sure > 0.5:
                found.append((sure, verdict["dim"], row))
    found.sort(key=lambda mistake: -mistake[0])
    kept: list[Mistake] = []
    for mistake in found:
        cell = (mistake[1], mistake[2]["task"])
        if sum((dim, row["task"]) == cell for _, dim, row in kept) < of_each:
            kept.append(mistake)
    return kept


def draw(folder: Path, shown: list[Mistake], columns: int) -> Image.Image:
    """Left what the judge took for better, right the one that is; below how sure it was."""
    lines = -(-len(shown) // columns)
    step = (2 * SIDE + 2 + GAP, SIDE + TEXT + GAP)
    sheet = Image.new("RGB", (columns * step[0], lines * step[1]), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for number, (sure, dim, row) in enumerate(shown):
        x, y = number % columns * step[0], number // columns * step[1]
        paste_pair(sheet, (x, y), folder, row, OTHER[row["winner"][dim]], SIDE)
        words = f", “{row['prompt']}”" if dim == "text-alignment" else ""
        faults = f"strength {row['strength'][dim]:.2f}" if "strength" in row else ""
        told = f"{row['task']} / {dim}{words}\n{sure:.2f} sure; {faults}"
        pen.text((x, y + SIDE + 1), told, font=font, fill=(70, 70, 70))
    return sheet


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--columns", type=int, default=4)
    parser.add_argument("--count", type=int, default=16)
    arguments = parser.parse_args()
    shown = mistakes(arguments.file, of_each=2)[: arguments.count]
    if not shown:
        parser.error(f"{arguments.file}: holds no wrong verdict on a pair with a winner")
    sheet = draw(arguments.file.parent, shown, arguments.columns)
    save_sheet(sheet, arguments.output)


if __name__ == "__main__":
    main()

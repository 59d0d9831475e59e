"""Draw pairs of a folder that ``onefill pairs make`` filled, better beside worse.

python scripts/make_pairs_sheet.py pairs/pairs.jsonl -o docs/images/preference-pairs.webp
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from pair_pictures import paste_pair, save_sheet
from PIL import Image, ImageDraw, ImageFont

SIDE, GAP, TEXT, LABEL = 96, 6, 16, 150


def choose(file: Path, columns: int) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """The first pairs of each task and dimension that have one winner alone."""
    cells: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        for dim in row.get("winner", {}):
            found = cells.setdefault((row["task"], dim), [])
            if len(found) < columns:
                found.append(row)
    return dict(sorted(cells.items()))


def draw(
    file: Path, cells: dict[tuple[str, str], list[dict[str, Any]]], columns: int
) -> Image.Image:
    """A line for each cell: better, worse, and how plain the difference is."""
    height = SIDE + TEXT + GAP
    sheet = Image.new("RGB", (LABEL + columns * (2 * SIDE + 3 * GAP), len(cells) * height), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for line, ((task, dim), rows) in enumerate(cells.items()):
        y = line * height
        pen.text((GAP, y + SIDE // 2 - 14), f"{task}\n{dim}", font=font, fill="black")
        for column, row in enumerate(rows):
            x = LABEL + column * (2 * SIDE + 3 * GAP)
            paste_pair(sheet, (x, y), file.parent, row, row["winner"][dim], SIDE)
            words = row.get("prompt", "") if dim == "text-alignment" else ""
            told = f"{row['strength'][dim]:.2f}  {words}"
            pen.text((x, y + SIDE + 1), told, font=font, fill=(90, 90, 90))
    return sheet


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--columns", type=int, default=4)
    arguments = parser.parse_args()
    cells = choose(arguments.file, arguments.columns)
    sheet = draw(arguments.file, cells, arguments.columns)
    save_sheet(sheet, arguments.output)


if __name__ == "__main__":
    main()

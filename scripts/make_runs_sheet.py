"""Lay the last sample sheets of runs with the same held-out samples side by side.

python scripts/make_runs_sheet.py runs/one runs/other -o docs/images/long-runs.webp
"""

from __future__ import annotations

import argparse
from pathlib import Path

from pair_pictures import save_sheet
from PIL import Image

GAP = 16


def last_sheet(run: Path) -> Image.Image:
    """Of a run's folder."""
    sheets = sorted((run / "samples").glob("step-*.png"))
    if not sheets:
        raise SystemExit(f"{run}: no sample sheets in it; name the folder of an onefill train run")
    return Image.open(sheets[-1]).convert("RGB")


def beside(sheets: list[Image.Image]) -> Image.Image:
    """In the order given, on white."""
    width = sum(sheet.width for sheet in sheets) + GAP * (len(sheets) - 1)
    drawn = Image.new("RGB", (width, max(sheet.height for sheet in sheets)), "white")
    left = 0
    for sheet in sheets:
        drawn.paste(sheet, (left, 0))
        left += sheet.width + GAP
    return drawn


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, nargs="+", help="folders of runs")
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    sheet = beside([last_sheet(run) for run in arguments.runs])
    save_sheet(sheet, arguments.output, quality=60, method=6)


if __name__ == "__main__":
    main()

"""Write the tables of real judges' cost into docs/judge-internals.md, or print them.

python bench/judge_sizes.py [--print]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from onefill.judge.sizes import sizes_table

PAGE = Path(__file__).parents[1] / "docs" / "judge-internals.md"
BEGIN, END = "<!-- sizes: begin -->\n", "<!-- sizes: end -->\n"


def main() -> int:
    """Replace what stands between the two marks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--print", action="store_true", help="print, and leave the page")
    if parser.parse_args().print:
        print(sizes_table(), end="")
        return 0
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN)
    _, after = rest.split(END)
    PAGE.write_text(f"{before}{BEGIN}{sizes_table()}{END}{after}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Write docs/cli.md from the --help of every command, or check that it is what they say.

python scripts/make_cli_reference.py [--check] [--page FILE]
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "cli.md"
REMAKE = "python scripts/make_cli_reference.py"

# Read by typer when it is imported: plain text at one width, no colour, on every terminal.
_PLAIN = {"TYPER_USE_RICH": "0", "COLUMNS": "80", "NO_COLOR": "1", "TERM": "dumb"}

INTRODUCTION = f"""\
# Command reference

Every page of `--help`, as the commands print it. Made by `{REMAKE}`;
edit the commands, not this page.

- Results go to stdout, talk and progress to stderr. With `--json`, stdout carries one JSON
  document and nothing else.
- Exit codes: 0 done, 1 failed while running, 2 bad input (nothing was written), 130 interrupted.
- An error is one line. `ONEFILL_DEBUG=1` in front of a command adds the traceback.

More about each: [training](training.md), [editing](editing.md), [judging](judging.md),
[preference pairs](preference-pairs.md), [tasks](tasks.md), [embedded models](embedded-models.md).
"""


def make_page() -> str:
    """The whole page."""
    os.environ.update(_PLAIN)
    import importlib

    import typer

    from onefill.cli.app import COMMANDS

    pages: list[list[str]] = [[]]
    for name in COMMANDS:
        pages.append([name])
        command = typer.main.get_command(
            importlib.import_module(f"onefill.cli.{name.replace('-', '_')}").app
        )
        pages.extend([name, sub] for sub in getattr(command, "commands", {}))
    sections = []
    for page in pages:
        heading = "###" if len(page) > 1 else "##"
        title = " ".join(["onefill", *page])
        sections.append(f"{heading} {title}\n\n```\n{help_of(page)}\n```\n")
    return "\n".join([INTRODUCTION, *sections])


def help_of(page: list[str]) -> str:
    """What ``onefill … --help`` prints."""
    from onefill.cli.app import run

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        code = run([*page, "--help"])
    if code != 0:
        raise SystemExit(f"onefill {' '.join(page)} --help ends with exit code {code}")
    return "\n".join(line.rstrip() for line in printed.getvalue().strip().splitlines())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when stale")
    parser.add_argument("--page", type=Path, default=PAGE)
    options = parser.parse_args()
    page = make_page()
    if not options.check:
        options.page.write_text(page, encoding="utf-8")
    elif not options.page.exists() or options.page.read_text(encoding="utf-8") != page:
        sys.exit(f"{options.page} is stale; run {REMAKE}")


if __name__ == "__main__":
    main()

"""How long `onefill --help` takes, for every command: median wall time, beside a bare import.

python scripts/bench_startup.py [--runs 7]
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import subprocess
import sys
import time

import typer

from onefill.cli.app import COMMANDS

TARGET_SECONDS = 0.3
HELP = "import sys; from onefill.cli.app import run; sys.exit(run(sys.argv[1:]))"


def help_pages() -> list[list[str]]:
    """The arguments before --help of every page: the root, each command, each sub-command."""
    pages: list[list[str]] = [[]]
    for name in COMMANDS:
        pages.append([name])
        command = typer.main.get_command(
            importlib.import_module(f"onefill.cli.{name.replace('-', '_')}").app
        )
        pages.extend([name, sub] for sub in getattr(command, "commands", {}))
    return pages


def median_seconds(code: str, arguments: list[str], runs: int) -> float:
    """Median wall time of a fresh interpreter; one more run before fills the disk cache."""
    seconds = []
    for _ in range(runs + 1):
        start = time.perf_counter()
        subprocess.run(
            [sys.executable, "-c", code, *arguments], check=True, stdout=subprocess.DEVNULL
        )
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    runs = parser.parse_args().runs
    bare = median_seconds("import typer", [], runs)
    print(f"{'import typer alone':32} {bare:.3f} s")
    slowest = 0.0
    for page in help_pages():
        seconds = median_seconds(HELP, [*page, "--help"], runs)
        slowest = max(slowest, seconds)
        print(
            f"{' '.join(['onefill', *page, '--help']):32} {seconds:.3f} s  {seconds / bare:.1f} x"
        )
    verdict = "within" if slowest <= TARGET_SECONDS else "OVER"
    print(f"slowest {slowest:.3f} s, {verdict} the target of {TARGET_SECONDS} s")


if __name__ == "__main__":
    main()

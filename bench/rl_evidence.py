"""Does the learning hold up before those the policy was not trained to please?

python bench/rl_evidence.py run --out FOLDER [--only NAME ...] [--steps N] [--seeds N]
python bench/rl_evidence.py report --out FOLDER

``run`` trains the embedded policy in every way of ``EXPERIMENTS``, each with several seeds, and
measures each run on held-out scenes by a second judge (another architecture, never trained
against) and by measures that are no judge. What is there already is left alone, so it goes on
where it was stopped. ``report`` prints one table, Markdown, of everything measured so far.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from rl_measures import measure_run

from onefill.allocator import keep_freed_memory

EXPERIMENTS: dict[str, dict[str, Any]] = {
    "default": {},
    "dynamic reference": {"reference": "dynamic"},
    "lambda 0.6": {"lam": 0.6},
    "lambda 0.9": {"lam": 0.9},
    "no lambda": {"lam": 1.0},
    "aesthetics alone": {
        "dimensions": {"consistency": 0.0, "structure": 0.0, "text-alignment": 0.0}
    },
    "fill alone": {"tasks": {"fill": 1.0}},
    "removal alone": {"tasks": {"removal": 1.0}},
    "early gradient": {"step_range": [0.1, 0.4]},
    "late gradient": {"step_range": [0.7, 0.9]},
    "no average": {"ema": False},
    "logistic": {"loss": "logistic"},
    "robust reward": {"reward": {"shift": 3, "resize": 0.1, "symmetric": True}},
}
"""What is compared: settings of a run that differ from the defaults."""

HEADLINE_SEEDS, SEEDS = 3, 2


def run(out: Path, only: list[str], steps: int | None, seeds: int | None) -> None:
    """Train and measure what is not there yet."""
    for name in only or EXPERIMENTS:
        count = seeds or (HEADLINE_SEEDS if name == "default" else SEEDS)
        for seed in range(count):
            folder = out / f"{name.replace(' ', '-')}-{seed}"
            measured = folder / "measured.json"
            if measured.exists():
                continue
            if not (folder / "summary.json").exists():
                _train(folder, {**EXPERIMENTS[name], "seed": seed}, steps)
            figures = {"experiment": name, "seed": seed, **measure_run(folder)}
            staged = measured.with_suffix(".part")
            staged.write_text(json.dumps(figures, indent=1), encoding="utf-8")
            staged.replace(measured)
            print(f"{name}, seed {seed}: measured", file=sys.stderr, flush=True)


def _train(folder: Path, settings: Mapping[str, Any], steps: int | None) -> None:
    config = folder.with_suffix(".yaml")
    config.parent.mkdir(parents=True, exist_ok=True)
    chosen = dict(settings) if steps is None else {**settings, "steps": steps}
    config.write_text(yaml.safe_dump(chosen), encoding="utf-8")
    command = [sys.executable, "-m", "onefill", "train"]
    going_on = ["--resume", str(folder)] if (folder / "config.yaml").exists() else None
    subprocess.run(
        [*command, *(going_on or ["--config", str(config), "--out", str(folder)])],
        check=True,
        stdout=subprocess.DEVNULL,
    )


def report(out: Path) -> str:
    """The table of everything measured, means over seeds."""
    runs = [json.loads(p.read_text(encoding="utf-8")) for p in sorted(out.glob("*/measured.json"))]
    names = [name for name in EXPERIMENTS if any(r["experiment"] == name for r in runs)]
    columns = list(dict.fromkeys(key for r in runs for key in r["figures"]))
    lines = ["| run | seeds | " + " | ".join(columns) + " |", "|---" * (len(columns) + 2) + "|"]
    for name in names:
        of_name = [r for r in runs if r["experiment"] == name]
        cells = [_cell([r["figures"].get(key) for r in of_name]) for key in columns]
        lines.append(f"| {name} | {len(of_name)} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(values: list[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    mean = sum(known) / len(known)
    spread = f" ({min(known):.2f} to {max(known):.2f})" if len(known) > 1 else ""
    return f"{mean:.2f}{spread}"


def main() -> None:
    """Run the campaign, or print what it found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["run", "report"])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="*", choices=list(EXPERIMENTS), default=[])
    parser.add_argument("--steps", type=int, help="updates of each run; default: a run's own")
    parser.add_argument("--seeds", type=int, help="default: three for the headline, else two")
    arguments = parser.parse_args()
    keep_freed_memory()
    if arguments.what == "run":
        run(arguments.out, arguments.only, arguments.steps, arguments.seeds)
    print(report(arguments.out))


if __name__ == "__main__":
    main()

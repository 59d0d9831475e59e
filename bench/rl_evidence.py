"""Does the learning hold up before those the policy was not trained to please?

python bench/rl_evidence.py run --out FOLDER [--only NAME ...] [--steps N] [--seeds N]
python bench/rl_evidence.py report --out FOLDER [--json FILE]
python bench/rl_evidence.py plot --json FILE --out FOLDER
python bench/rl_evidence.py measure FOLDER [--weights adapter-last]

``run`` trains the embedded policy in every way of ``EXPERIMENTS``, each with several seeds, and
measures each run on held-out scenes by a second judge (another architecture, never trained
against) and by measures that are no judge. What is there already is left alone, so it goes on
where it was stopped. ``report`` prints one table, Markdown, of everything measured so far, and
writes that and every figure to a file, from which ``plot`` draws one picture for each contrast.
``measure`` prints what one run of ``onefill train``, wherever it lies, is measured by.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml
from rl_evidence_plot import draw_plots
from rl_evidence_report import markdown, summarise
from rl_measures import measure_run, measure_truth

from onefill.allocator import keep_freed_memory
from onefill.files import replace_text

_ALL_TASKS = {"fill": 2.0, "extend": 1.0, "removal": 1.0, "text": 1.0}


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A way to train.

    Attributes:
        settings: of a run, where they differ from the defaults.
        seeds: how many runs.
        weights: which of what a run leaves is measured; "none" trains nothing and measures the
            true pictures.
        led_by: what leads in place of the judge; see ``rl_other_rewards.py``.
        of: the experiment whose runs are measured, where it needs none of its own.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    seeds: int = 2
    weights: Literal["adapter", "adapter-last", "none"] = "adapter"
    led_by: Literal["", "second-judge", "truth"] = ""
    of: str = ""


_LONG: dict[str, Any] = {
    "steps": 240,
    "reward": {"centred": True},
    "lam": 0.9,
    "dimensions": {"text-alignment": 3.0},
}
_PENALTY = {"penalty": {"weight": 2.0}}
_GUARDED: dict[str, Any] = {**_LONG, **_PENALTY}
"""Long, and with what keeps a long run honest."""
_PLAIN = {"shift": 0, "resize": 0.0}

EXPERIMENTS = {
    "default": Experiment(seeds=3),
    "the true pictures": Experiment(weights="none", seeds=1),
    "with text": Experiment(settings={"tasks": _ALL_TASKS}, seeds=3),
    "dynamic reference": Experiment(settings={"reference": "dynamic"}),
    "lambda 0.6": Experiment(settings={"lam": 0.6}),
    "lambda 0.9": Experiment(settings={"lam": 0.9}),
    "no lambda": Experiment(settings={"lam": 1.0}),
    "aesthetics alone": Experiment(
        settings={"dimensions": {"consistency": 0.0, "structure": 0.0, "text-alignment": 0.0}}
    ),
    **{f"{task} alone": Experiment(settings={"tasks": {task: 1.0}}) for task in _ALL_TASKS},
    "all tasks at once": Experiment(settings={"tasks_per_step": 3}),
    "early gradient": Experiment(settings={"step_range": [0.1, 0.4]}),
    "late gradient": Experiment(settings={"step_range": [0.7, 0.9]}),
    "judged as predicted": Experiment(settings={"image": "predicted"}),
    "centred": Experiment(settings={"reward": {"centred": True}}),
    "drift penalty": Experiment(settings=_PENALTY),
    # Under the fixed reference the average is a bystander: a run without it trains the same.
    "last update": Experiment(weights="adapter-last", of="default", seeds=3),
    "logistic": Experiment(settings={"loss": "logistic"}),
    "240 steps, guarded": Experiment(settings=_GUARDED, seeds=3),
    "240 steps, guarded, last update": Experiment(
        weights="adapter-last", of="240 steps, guarded", seeds=3
    ),
    "240 steps, no penalty": Experiment(settings=_LONG),
    "240 steps, no penalty, last update": Experiment(
        weights="adapter-last", of="240 steps, no penalty"
    ),
    "240 steps, guarded, plain": Experiment(
        settings={**_GUARDED, "reward": {"centred": True, **_PLAIN}}, seeds=3
    ),
    "plain reward": Experiment(settings={"reward": _PLAIN}),
    "plain reward, drift penalty": Experiment(settings={"reward": _PLAIN, **_PENALTY}),
    "led by the second judge": Experiment(settings=_LONG, led_by="second-judge", seeds=1),
    "led by the truth": Experiment(
        settings={**_LONG, "tasks": {"removal": 1.0}, "dimensions": {}}, led_by="truth", seeds=1
    ),
}
"""What is compared."""

CONTRASTS = {
    "headline": ("default", "240 steps, guarded", "with text", "the true pictures"),
    "reference": ("default", "dynamic reference"),
    "lambda": ("default", "lambda 0.6", "lambda 0.9", "no lambda"),
    "dimensions": ("default", "aesthetics alone"),
    "tasks": (
        *("default", "all tasks at once", "with text"),
        *(f"{task} alone" for task in _ALL_TASKS),
    ),
    "gradient step": ("default", "early gradient", "late gradient"),
    "image": ("default", "judged as predicted"),
    "centred": ("default", "centred"),
    "penalty": ("default", "drift penalty"),
    "average": ("default", "last update"),
    "loss": ("default", "logistic"),
    "plain reward": ("default", "plain reward", "plain reward, drift penalty"),
    "steps": (
        *("default", "240 steps, no penalty", "240 steps, no penalty, last update"),
        *("240 steps, guarded", "240 steps, guarded, last update", "240 steps, guarded, plain"),
    ),
    "what leads": (
        "default",
        "240 steps, no penalty",
        "led by the second judge",
        "led by the truth",
    ),
}
"""What each question looks at side by side."""


def run(out: Path, only: list[str], steps: int | None, seeds: int | None) -> None:
    """Train and measure what is not there yet."""
    for name in only or EXPERIMENTS:
        experiment = EXPERIMENTS[name]
        trained = EXPERIMENTS[experiment.of] if experiment.of else experiment
        for seed in range(seeds or experiment.seeds):
            folder = out / f"{(experiment.of or name).replace(' ', '-')}-{seed}"
            measured = folder / f"measured-{experiment.weights}.json"
            if measured.exists():
                continue
            if experiment.weights == "none":
                found = measure_truth()
            else:
                if not (folder / "summary.json").exists():
                    _train(folder, trained, seed, steps)
                found = measure_run(folder, experiment.weights)
            found = {"experiment": name, "seed": seed, **found}
            measured.parent.mkdir(parents=True, exist_ok=True)
            replace_text(measured, json.dumps(found, indent=1))
            print(f"{name}, seed {seed}: measured", file=sys.stderr, flush=True)


def _train(folder: Path, experiment: Experiment, seed: int, steps: int | None) -> None:
    config = folder.with_name(f"{folder.name}.yaml")
    config.parent.mkdir(parents=True, exist_ok=True)
    chosen = {**experiment.settings, "seed": seed}
    if steps is not None:
        chosen["steps"] = steps
    config.write_text(yaml.safe_dump(chosen), encoding="utf-8")
    command = ["-m", "onefill", "train"]
    if experiment.led_by:
        command = [str(Path(__file__).with_name("rl_other_rewards.py")), experiment.led_by]
    given = ["--config", str(config), "--out", str(folder)]
    if (folder / "config.yaml").exists():
        given = ["--resume", str(folder)]
    subprocess.run([sys.executable, *command, *given], check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    """Run the campaign, print and write what it found, or draw that."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    what = parser.add_subparsers(dest="what", required=True)
    running = what.add_parser("run", help="train and measure what is not there yet")
    running.add_argument("--out", type=Path, required=True, help="folder of the runs")
    running.add_argument("--only", nargs="*", choices=list(EXPERIMENTS), default=[])
    running.add_argument("--steps", type=int, help="updates of each run; default: a run's own")
    running.add_argument("--seeds", type=int, help="default: three for the headline, else two")
    reporting = what.add_parser("report", help="print the table")
    reporting.add_argument("--out", type=Path, required=True, help="folder of the runs")
    reporting.add_argument("--json", type=Path, help="file for the table and every figure")
    plotting = what.add_parser("plot", help="draw one SVG for each contrast")
    plotting.add_argument("--json", type=Path, required=True, help="file that report wrote")
    plotting.add_argument("--out", type=Path, required=True, help="folder of the pictures")
    measuring = what.add_parser("measure", help="print what one run is measured by")
    measuring.add_argument("folder", type=Path, help="of a run of onefill train")
    measuring.add_argument("--weights", default="adapter", choices=("adapter", "adapter-last"))
    arguments = parser.parse_args()
    if arguments.what == "plot":
        if not arguments.json.is_file():
            parser.error(f"--json {arguments.json}: no such file; let report write it first")
        for file in draw_plots(json.loads(arguments.json.read_text("utf-8")), arguments.out):
            print(file)
        return
    if arguments.what == "measure":
        if not (arguments.folder / "summary.json").is_file():
            parser.error(f"{arguments.folder}: no finished run; resume it with onefill train")
        keep_freed_memory()
        print(json.dumps(measure_run(arguments.folder, arguments.weights), indent=1))
        return
    if arguments.what == "run":
        keep_freed_memory()
        run(arguments.out, arguments.only, arguments.steps, arguments.seeds)
    summary = summarise(arguments.out, CONTRASTS)
    if not summary["runs"]:
        parser.error(f"--out {arguments.out}: nothing was measured there yet; see run")
    print(markdown(summary["table"]))
    if arguments.what == "report" and arguments.json:
        text = json.dumps(summary, indent=1, ensure_ascii=False) + "\n"
        replace_text(arguments.json, text)


if __name__ == "__main__":
    main()

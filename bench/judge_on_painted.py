"""Do the judges know what the policy paints from the truth?

python bench/judge_on_painted.py --cache FOLDER [--judge FOLDER] [--second FILE] [--against RUN ...]

Held-out scenes are painted by the embedded policy, wholly and in part, as training scenes are by
``onefill pocket build --stage judge --against RUN``; with --against also by what those runs have
trained. All pictures have passed through the VAE. Printed for each task and dimension: how often
the embedded judge (both orders) and the second judge prefer the true picture to one painted
wholly, and the one painted in part. One half is a judge that cannot tell. One JSON document.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from fool_judge import both_opinions

from onefill.allocator import keep_freed_memory
from onefill.cli.adapters import adapter_folder
from onefill.errors import OnefillError
from onefill.judge.loading import load_judge
from onefill.judge.model import Judge
from onefill.pocket import embedded
from onefill.pocket.contests.cache import RENDERINGS, TASKS, Contests
from onefill.pocket.contests.painted import load_painted
from onefill.pocket.contests.pairs import CELLS
from onefill.pocket.judge.second import SecondJudge, load_second_judge
from onefill.pocket.material.sources import HELD_OUT
from onefill.pocket.scoring.held_out import as_tensor

_TOGETHER = 40
_TRUE, _PARTLY, _WHOLLY = 0, 1, (2, 3)


def preferences(
    contests: Contests, task: str, dimension: str, judge: Judge, second: SecondJudge
) -> dict[str, dict[str, float]]:
    """Shares of one cell: by judge, then by what was asked."""
    found: dict[str, dict[str, list[bool]]] = {"judge": {}, "second": {}}
    for start in range(0, len(contests), _TOGETHER):
        part = contests.select(slice(start, start + _TOGETHER))
        pictures = [as_tensor(part.pictures[:, place]) for place in range(RENDERINGS)]
        words = part.words.tolist()
        for name, better in (("true", _TRUE), ("partly", _PARTLY)):
            for worse in _WHOLLY:
                pair = pictures[better], pictures[worse]
                opinions = both_opinions(judge, second, pair, task, dimension, words)
                for who, answers in opinions.items():
                    found[who].setdefault(name, []).extend(answers)
    return {
        who: {name: float(np.mean(answers)) for name, answers in of.items()}
        for who, of in found.items()
    }


def main() -> None:
    """Print the shares."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, required=True, help="fetched pictures")
    parser.add_argument("--judge", default=str(embedded.resolve("judges", "pocket")))
    parser.add_argument("--second", type=Path, default=embedded.SECOND_JUDGE)
    parser.add_argument("--against", type=Path, action="append", default=[], metavar="RUN")
    parser.add_argument("--scenes", type=int, default=480)
    parser.add_argument("--seed", type=int, default=7)
    arguments = parser.parse_args()
    keep_freed_memory()
    try:
        adapters = [adapter_folder(run, "--against") for run in arguments.against]
        judge = load_judge(arguments.judge, device="cpu", dtype="float32")
        contests = load_painted(
            HELD_OUT, arguments.scenes, arguments.seed, arguments.cache,
            lambda line: print(line, file=sys.stderr), adapters,
        )  # fmt: skip
    except OnefillError as error:
        parser.error(str(error))
    second = load_second_judge(arguments.second)
    document = {}
    for task, dimension in CELLS:
        of_task = contests.select(np.flatnonzero(contests.tasks == TASKS.index(task)))
        shares = preferences(of_task, task, dimension, judge, second)
        document[f"{task}/{dimension}"] = {"scenes": len(of_task), **shares}
    print(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()

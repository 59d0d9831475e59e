"""``onefill judge``: which of some pictures is better, and how sure the judge is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onefill.cli import console
from onefill.cli.options import (
    Device,
    JsonFlag,
    JudgeDtype,
    JudgeName,
    Offline,
    PairsTogether,
    Quantize,
    Seed,
)
from onefill.errors import BadInput

if TYPE_CHECKING:
    from PIL import Image

    from onefill.judge.model import Judge
    from onefill.judge.pair import PreferencePair
    from onefill.tasks.registry import TaskRegistry
    from onefill.tasks.types import Dimension, Task

app = typer.Typer(add_completion=False)

_USUAL_TASK = "fill"


@dataclass(frozen=True)
class _Question:
    """What the command line asks about its pictures."""

    registry: TaskRegistry
    task: Task
    dimensions: Sequence[Dimension]
    words: str | None
    source: Path | None
    mask: Path | None

    def about(self, first: Path, second: Path) -> PreferencePair:
        """As a pair that comes from no file."""
        from onefill.judge.pair import PreferencePair

        return PreferencePair(
            first=first,
            second=second,
            task=self.task.name,
            prompt=self.words,
            source=self.source,
            mask=self.mask,
            dims=tuple(dimension.name for dimension in self.dimensions),
            winner={},
            strength={},
            scene=str(self.source or first),
            line=0,
            row={},
        )


@app.command()
def judge(
    pictures: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Two pictures to compare, or more to rank; none with --pairs.", show_default=False
        ),
    ] = None,
    dim: Annotated[
        str | None,
        typer.Option("--dim", metavar="NAME", help="What to compare: aesthetics, structure, …"),
    ] = None,
    all_dims: Annotated[
        bool, typer.Option("--all-dims", help="Compare on every dimension of the task.")
    ] = False,
    task: Annotated[
        str | None,
        typer.Option(
            "--task",
            metavar="NAME",
            help="The edit all are results of; otherwise fill, or the first task that has the "
            "dimension.",
            show_default=False,
        ),
    ] = None,
    prompt: Annotated[
        str | None,
        typer.Option(
            "--prompt", metavar="WORDS", help="What was asked for; text-alignment needs it."
        ),
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option(
            "--source", help="The picture that was edited, for a judge trained to see it."
        ),
    ] = None,
    mask: Annotated[
        Path | None,
        typer.Option("--mask", help="Where it was edited, for a judge trained to see it."),
    ] = None,
    pairs: Annotated[
        Path | None,
        typer.Option("--pairs", help="A jsonl file of pairs, each with its own task; needs -o."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="With --pairs: the jsonl file of verdicts; continued if there."
        ),
    ] = None,
    skip_bad: Annotated[
        bool,
        typer.Option(
            "--skip-bad", help="With --pairs: report pairs that cannot be judged, and go on."
        ),
    ] = False,
    batch: PairsTogether = 32,
    judge_name: JudgeName = "pocket",
    json_output: JsonFlag = False,
    seed: Seed = 0,
    device: Device = "auto",
    dtype: JudgeDtype = "float32",
    quantize: Quantize = None,
    offline: Offline = False,
) -> None:
    """Say which of two pictures is better, rank several, or judge a file of pairs.

    Both orders are asked, always. --seed draws the pairs that are asked where there are too many
    pictures to ask about every pair.
    """
    named = list(pictures or [])

    def load() -> Judge:
        from onefill.judge.loading import load_judge
        from onefill.pocket.embedded import resolve

        return load_judge(
            resolve("judges", judge_name),
            device=device,
            dtype=dtype,
            offline=offline,
            quantize=quantize,
        )

    if pairs is not None:
        _refuse_beside_pairs(named, dim, all_dims, task, prompt, source, mask)
        if output is None:
            raise BadInput("--pairs: say where verdicts go, as -o verdicts.jsonl")
        from onefill.cli.judge_pairs import judge_pairs

        judge_pairs(
            pairs,
            output,
            console.open_registry(),
            load,
            judge_name=judge_name,
            batch=batch,
            skip_bad=skip_bad,
            json_output=json_output,
        )
        return
    if output is not None or skip_bad:
        raise BadInput(f"{'-o' if output else '--skip-bad'}: goes with --pairs; give a pairs file")
    if len(named) < 2:
        raise BadInput(
            "pictures: name a first and a second one, or more to rank, or --pairs FILE "
            "(see `onefill judge --help`)"
        )
    registry = console.open_registry()
    chosen, dimensions, notes = _choose(registry, task, dim, all_dims, prompt)
    question = _Question(registry, chosen, dimensions, prompt, source, mask)
    opened = _open_files(named, source, mask)
    loaded = load()
    notes += _unseen(loaded, source, mask)
    if len(named) == 2:
        _compare(loaded, question, named, opened, notes, judge_name, json_output)
    else:
        _rank(loaded, question, named, notes, judge_name, json_output, batch, seed)


def _refuse_beside_pairs(
    named: Sequence[Path],
    dim: str | None,
    all_dims: bool,
    task: str | None,
    prompt: str | None,
    source: Path | None,
    mask: Path | None,
) -> None:
    given = {
        "pictures": bool(named),
        "--dim": dim is not None,
        "--all-dims": all_dims,
        "--task": task is not None,
        "--prompt": prompt is not None,
        "--source": source is not None,
        "--mask": mask is not None,
    }
    for flag, there in given.items():
        if there:
            raise BadInput(f"{flag}: does not go with --pairs, where every line says its own")


def _open_files(named: Sequence[Path], source: Path | None, mask: Path | None) -> list[Image.Image]:
    """Refuse what cannot be opened before a judge is loaded.

    Two pictures are read whole, and returned; of more, damage shows when they are judged.
    """
    from onefill.images import decode_image, read_image

    opened = [read_image(path) for path in named] if len(named) == 2 else []
    for path in named:
        if not path.exists():
            raise BadInput(f"image {path}: no such file; check the path")
    for flag, beside in (("--source", source), ("--mask", mask)):
        if beside is not None:
            decode_image(beside, flag=flag)
    return opened


def _unseen(loaded: Judge, source: Path | None, mask: Path | None) -> list[str]:
    """One line about what is given and the judge does not look at."""
    given = {"source": source, "mask": mask}
    unseen = [name for name, path in given.items() if path is not None and name not in loaded.sees]
    if not unseen:
        return []
    flags = " and ".join(f"--{name}" for name in unseen)
    return [f"{flags}: this judge was not trained to look at the {' and '.join(unseen)}; left out"]


def _compare(
    loaded: Judge,
    question: _Question,
    named: Sequence[Path],
    opened: Sequence[Image.Image],
    notes: Sequence[str],
    judge_name: str,
    json_output: bool,
) -> None:
    from onefill.cli.judge_views import in_words, short_names, verdict_table
    from onefill.judge.asking import show_picture
    from onefill.judge.verdict import ask

    pair = question.about(named[0], named[1])
    pictures = []
    for path, as_read in zip(named, opened, strict=True):
        picture = show_picture(as_read, pair, loaded.sees)
        try:
            loaded.recipe.target_size(picture.height, picture.width)
        except BadInput as error:
            raise BadInput(f"{path}: {error}") from error
        pictures.append(picture)
    one, other = pictures
    verdicts = ask(loaded, one, other, question.task, question.dimensions, question.words)
    for note in notes:
        console.say(note)
    if json_output:
        console.print_json({"judge": judge_name, "verdicts": [asdict(v) for v in verdicts]})
        return
    names = short_names(named)
    console.stdout().print(verdict_table(verdicts, names))
    for verdict in verdicts:
        typer.echo(in_words(verdict, names))


def _rank(
    loaded: Judge,
    question: _Question,
    named: Sequence[Path],
    notes: Sequence[str],
    judge_name: str,
    json_output: bool,
    batch: int,
    seed: int,
) -> None:
    from onefill.cli.judge_views import progress, ranking_table, short_names
    from onefill.judge.asking import ask_pairs
    from onefill.judge.ranking import Duel, choose_pairs, rank

    chosen = choose_pairs(len(named), seed)
    every = len(named) * (len(named) - 1) // 2
    if len(chosen) < every:
        notes = [*notes, f"{len(chosen)} of the {every} pairs were asked, drawn with --seed {seed}"]
    duels: dict[str, list[Duel]] = {dimension.name: [] for dimension in question.dimensions}
    wins = {name: [0] * len(named) for name in duels}
    asked = [question.about(named[first], named[second]) for first, second in chosen]
    with progress(len(asked)) as advance:
        answers = ask_pairs(loaded, asked, question.registry, batch=batch)
        for (first, second), (_, verdicts) in zip(chosen, answers, strict=True):
            advance()
            for verdict in verdicts:
                duels[verdict.dim].append(Duel(first, second, verdict.p_first))
                if verdict.winner != "tie":
                    wins[verdict.dim][first if verdict.winner == "first" else second] += 1
    for note in notes:
        console.say(note)
    ranking = {
        name: [
            {
                "path": str(named[place.index]),
                "rank": place.rank,
                "score": place.score,
                "low": place.low,
                "high": place.high,
                "wins": wins[name][place.index],
            }
            for place in rank(len(named), fought)
        ]
        for name, fought in duels.items()
    }
    if json_output:
        console.print_json({"judge": judge_name, "ranking": ranking})
        return
    names = dict(zip(map(str, named), short_names(named), strict=True))
    for name, places in ranking.items():
        console.stdout().print(ranking_table(question.task.name, name, places, names))


def _choose(
    registry: TaskRegistry, task: str | None, dim: str | None, all_dims: bool, words: str | None
) -> tuple[Task, Sequence[Dimension], list[str]]:
    """The task, the dimensions to ask about, and what the user should know of that choice.

    Raises:
        BadInput: no such task or dimension, none named, or words are needed.
    """
    from onefill.judge.query import answerable, build_query

    if dim is not None and all_dims:
        raise BadInput(f"--dim {dim} and --all-dims: give one of the two")
    if dim is None and not all_dims:
        raise BadInput("--dim: name what to compare, as --dim aesthetics, or give --all-dims")
    notes = []
    if task is None:
        chosen = _first_task(registry, dim)
        notes.append(f"judged as results of the task {chosen.name!r}; --task names another")
    else:
        chosen = registry.get(task)
    if dim is not None:
        dimensions: tuple[Dimension, ...] = (chosen.dimension(dim),)
        build_query(chosen, dimensions[0], words)  # refuses missing words before a model is loaded
        return chosen, dimensions, notes
    dimensions = answerable(chosen, words)
    if not dimensions:
        raise BadInput(f"--all-dims: every dimension of task {chosen.name!r} needs --prompt")
    notes += [
        f"{dimension.name} is left out: it needs --prompt"
        for dimension in chosen.dimensions
        if dimension not in dimensions
    ]
    return chosen, dimensions, notes


def _first_task(registry: TaskRegistry, dim: str | None) -> Task:
    tasks = [registered.task for registered in registry.tasks.values()]
    tasks.sort(key=lambda task: task.name != _USUAL_TASK)
    for task in tasks:
        if dim is None or any(dimension.name == dim for dimension in task.dimensions):
            return task
    known = ", ".join(dict.fromkeys(d.name for task in tasks for d in task.dimensions))
    raise BadInput(f"--dim {dim}: no task has such a dimension; choose from {known}")

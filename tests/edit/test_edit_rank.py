"""Candidates in the judge's order, the best of them kept, and what the judge is shown."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from onefill.cli.edit_ranking import choose_dimensions, rank_results
from onefill.edit.request import EditRequest, plan_edit
from onefill.errors import BadInput
from onefill.judge.verdict import Verdict
from onefill.tasks.registry import load_tasks

Cli = Callable[..., Any]


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)


@pytest.fixture(scope="session")
def judge_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from onefill.pocket.judge.architecture import write_random_judge

    folder = tmp_path_factory.mktemp("judges") / "random"
    write_random_judge(folder, seed=7)
    return folder


class Sees:
    """A judge as far as ranking looks at it itself."""

    def __init__(self, *sees: str) -> None:
        self.sees = sees


@pytest.fixture
def likes_light(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Pairs are judged by how light their pictures are; what was shown is noted."""
    shown: list[Any] = []

    def ask(judge: object, pairs: Sequence[Any], registry: object) -> Iterator[Any]:
        for pair in pairs:
            light = [
                float(np.asarray(Image.open(path)).mean()) for path in (pair.first, pair.second)
            ]
            sizes = [
                Image.open(path).size
                for path in (pair.first, pair.second, pair.source, pair.mask)
                if path is not None
            ]
            shown.append((pair, sizes))
            p = 1 / (1 + np.exp((light[1] - light[0]) / 50))
            yield pair, [Verdict(pair.task, dim, float(p), 0.0, "tie") for dim in pair.dims]

    monkeypatch.setattr("onefill.judge.asking.ask_pairs", ask)
    return shown


def files() -> list[str]:
    return sorted(path.name for path in Path().rglob("*") if path.is_file())


def rank(photo: Path, lights: Sequence[int], judge: Sees, *boxes: str) -> list[Any]:
    """Rank flat pictures of these grey levels as results of a fill of ``photo``."""
    from onefill.edit.region import Region

    registry = load_tasks()
    request = EditRequest(
        image=photo,
        task=registry.tasks["fill"],
        regions=tuple(Region(box=box) for box in boxes),
        words="hat",
        count=len(lights),
    )
    paths = []
    for number, light in enumerate(lights):
        paths.append(Path(f"{number}.png"))
        Image.new("RGB", (600, 400), (light,) * 3).save(paths[-1])
    dimensions = choose_dimensions(request.task.task, ("structure", "aesthetics"), "hat")
    return rank_results(
        judge,  # type: ignore[arg-type]
        registry,
        plan_edit(request),
        paths,
        dimensions,
        image=photo,
        words="hat",
    )


def test_results_come_in_the_judges_order(photo: Path, likes_light: list[Any]) -> None:
    order = rank(photo, [100, 200, 30, 200], Sees(), "10,10,50,50")
    assert [ranked.index for ranked in order] == [1, 3, 0, 2]
    assert [ranked.rank for ranked in order] == [1, 1, 3, 4]
    assert set(order[0].dims) == {"structure", "aesthetics"}
    assert order[0].score == pytest.approx(np.mean(list(order[0].dims.values())), abs=1e-3)
    assert len(likes_light) == 6


def test_two_results_stand_as_far_apart_as_the_answer_says(
    photo: Path, likes_light: list[Any]
) -> None:
    best, worst = rank(photo, [100, 200], Sees(), "10,10,50,50")
    assert (best.index, worst.index) == (1, 0)
    assert best.score - worst.score == pytest.approx(2.0, abs=1e-3)


def test_the_judge_is_shown_the_surroundings_of_the_mask(
    photo: Path, likes_light: list[Any]
) -> None:
    rank(photo, [1, 2], Sees("source", "mask"), "10,10,50,50")
    ((pair, sizes),) = likes_light
    assert len(sizes) == 4 and len(set(sizes)) == 1
    assert max(sizes[0]) <= 150
    assert pair.prompt == "hat" and pair.task == "fill"
    assert not pair.first.exists()  # nothing is left behind


def test_the_best_are_kept_and_all_are_in_the_ranking(
    cli: Cli, photo: Path, mask: Path, tiny_model: Path, judge_folder: Path
) -> None:
    line = ("edit", photo, "--mask", mask, "--prompt", "hat", "--model", tiny_model)
    ranked = (*line, "-n", 3, "--seed", 5, "--rank", "--judge", judge_folder, "--steps", 1)
    result = cli(*ranked, "-o", "all/", "--json")
    assert result.code == 0, result.stderr
    images = json.loads(result.stdout)["images"]
    assert [image["rank"] for image in images] == [1, 2, 3]
    assert images[0]["score"] > images[1]["score"] > images[2]["score"]
    assert set(images[0]["dims"]) == {"consistency", "structure", "text-alignment", "aesthetics"}
    every = json.loads(Path("all/coffee-fill-5-ranking.json").read_text())["results"]
    assert [entry["seed"] for entry in every] == [image["seed"] for image in images]

    best = cli(*ranked, "-o", "best/", "--keep", 1)
    name = f"best/coffee-fill-{images[0]['seed']}.png"
    assert (best.code, best.stdout) == (0, f"{name}\n")
    left = {path.name for path in Path("best").iterdir()}
    assert left == {"coffee-fill-5-ranking.json", Path(name).name}
    assert Path(name).read_bytes() == Path(images[0]["path"]).read_bytes()
    kept = json.loads(Path("best/coffee-fill-5-ranking.json").read_text())["results"]
    assert [entry["path"] is not None for entry in kept] == [True, False, False]


@pytest.fixture
def heeded() -> Iterator[None]:
    """Ctrl-C is heeded, though a shell that runs the tests in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeded")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_while_ranking_leaves_nothing(
    number: signal.Signals,
    cli: Cli,
    photo: Path,
    mask: Path,
    tiny_model: Path,
    judge_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stop(*arguments: object) -> Iterator[Any]:
        assert any(path.name.startswith(".onefill-") for path in Path("best").iterdir())
        os.kill(os.getpid(), number)
        yield from ()

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("onefill.judge.asking.ask_pairs", stop)
    result = cli(
        *("edit", photo, "--mask", mask, "--prompt", "hat", "--model", tiny_model, "--steps", 1),
        *("-n", 2, "--rank", "--keep", 1, "--judge", judge_folder, "-o", "best/"),
    )
    assert (result.code, result.stderr) == (130, "interrupted\n")
    assert files() == []
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_sheet_is_written_beside_the_results(
    cli: Cli, photo: Path, mask: Path, tiny_model: Path
) -> None:
    line = ("edit", photo, "--mask", mask, "--prompt", "hat", "--model", tiny_model)
    result = cli(*line, "--compare", "-n", 2, "-o", "hat.webp", "--steps", 1)
    assert (result.code, result.stdout) == (0, "hat-0.webp\nhat-1.webp\n")
    assert files() == ["hat-0-compare.png", "hat-0.webp", "hat-1.webp"]


BAD_LINES = {
    "one to rank": (["--rank"], "-n 8"),
    "more kept than made": (["--rank", "-n", "2", "--keep", "3"], "--keep 3"),
    "keep without rank": (["-n", "2", "--keep", "1"], "--rank"),
    "dimension without rank": (["-n", "2", "--dim", "structure"], "--rank"),
    "judge without rank": (["-n", "2", "--judge", "pocket"], "--rank"),
    "unknown dimension": (["-n", "2", "--rank", "--dim", "taste"], "consistency"),
    "unknown judge": (["-n", "2", "--rank", "--judge", "pocktet"], "pocktet"),
}


@pytest.mark.parametrize("case", BAD_LINES)
def test_what_cannot_be_ranked_is_refused(
    cli: Cli, photo: Path, mask: Path, tiny_model: Path, case: str
) -> None:
    words, says = BAD_LINES[case]
    line = ("edit", photo, "--mask", mask, "--prompt", "hat", "--model", tiny_model)
    result = cli(*line, *words)
    assert (result.code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert says in result.stderr
    assert files() == []


def test_a_task_whose_dimensions_need_words_says_so() -> None:
    fill = load_tasks().tasks["fill"].task
    assert len(choose_dimensions(fill, (), None)) == 3
    with pytest.raises(BadInput, match="--prompt"):
        choose_dimensions(fill, ("text-alignment",), None)

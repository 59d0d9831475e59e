from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

Draw = Callable[..., Image.Image]
Command = Callable[..., Any]
NAMES = ("a.png", "b.png", "c.png", "d.png")


@pytest.fixture
def folder(tmp_path: Path, picture: Draw, monkeypatch: pytest.MonkeyPatch) -> Path:
    for seed, name in enumerate(NAMES):
        picture(seed, 64, 64 + 40 * seed).save(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def outspoken(folder: Path, judge_folder: Path) -> Path:
    """The random tiny judge, with temperatures at which few of its answers are ties."""
    copy = folder / "outspoken"
    shutil.copytree(judge_folder, copy)
    card = json.loads((copy / "onefill_judge.json").read_text())
    card["dimensions"] = {
        f"fill/{name}": {"temperature": 0.05} for name in ("structure", "aesthetics")
    }
    (copy / "onefill_judge.json").write_text(json.dumps(card))
    return copy


@pytest.fixture
def ask(cli: Command, outspoken: Path) -> Command:
    """`onefill judge …` with a random tiny judge."""
    return lambda *arguments: cli("judge", *arguments, "--judge", outspoken, "--task", "fill")


def ranking_of(result: Any) -> dict[str, list[dict[str, Any]]]:
    assert result.code == 0, result.stderr
    ranking: dict[str, list[dict[str, Any]]] = json.loads(result.stdout)["ranking"]
    return ranking


def test_a_ranking_in_json_agrees_with_the_verdicts_on_its_pairs(
    ask: Command, outspoken: Path
) -> None:
    result = ask(*NAMES, "--dim", "structure", "--json")
    assert result.stderr == ""
    document = json.loads(result.stdout)
    assert sorted(document) == ["judge", "ranking"]
    assert document["judge"] == str(outspoken)
    places = document["ranking"]["structure"]
    assert sorted(place["path"] for place in places) == sorted(NAMES)
    assert [place["rank"] for place in places] == [1, 2, 3, 4]
    scores = {place["path"]: place["score"] for place in places}
    assert list(scores.values()) == sorted(scores.values(), reverse=True)
    assert sum(scores.values()) == pytest.approx(0, abs=1e-6)
    wins = dict.fromkeys(NAMES, 0)
    slopes = dict.fromkeys(NAMES, 0.0)
    for index, first in enumerate(NAMES):
        for second in NAMES[index + 1 :]:
            pair = ask(first, second, "--dim", "structure", "--json")
            (verdict,) = json.loads(pair.stdout)["verdicts"]
            if verdict["winner"] != "tie":
                wins[first if verdict["winner"] == "first" else second] += 1
            fitted = 1 / (1 + math.exp(scores[second] - scores[first]))
            slopes[first] += verdict["p_first"] - fitted
            slopes[second] -= verdict["p_first"] - fitted
    assert {place["path"]: place["wins"] for place in places} == wins
    assert any(wins.values())
    for place in places:  # at the optimum, answers and model balance for every picture
        assert slopes[place["path"]] == pytest.approx(0.01 * place["score"], abs=1e-3)
        assert sorted(place) == ["high", "low", "path", "rank", "score", "wins"]
        assert place["low"] < place["score"] < place["high"]


def test_the_order_of_the_files_does_not_matter(ask: Command) -> None:
    there = ranking_of(ask(*NAMES, "--dim", "aesthetics", "--json"))["aesthetics"]
    back = ranking_of(ask(*reversed(NAMES), "--dim", "aesthetics", "--json"))["aesthetics"]
    assert [place["path"] for place in there] == [place["path"] for place in back]
    assert [p["score"] for p in there] == pytest.approx([p["score"] for p in back], abs=1e-4)


def test_all_dimensions_are_ranked_each(ask: Command) -> None:
    result = ask("a.png", "b.png", "c.png", "--all-dims", "--json")
    assert list(ranking_of(result)) == ["consistency", "structure", "aesthetics"]
    assert result.stderr == "text-alignment is left out: it needs --prompt\n"


def test_copies_share_a_rank_in_the_order_given(ask: Command, folder: Path) -> None:
    for copy in ("z.png", "m.png"):
        shutil.copy(folder / "b.png", folder / copy)
    names = ("z.png", "a.png", "m.png", "b.png")
    places = ranking_of(ask(*names, "--dim", "structure", "--json"))["structure"]
    copies = [place for place in places if place["path"] != "a.png"]
    assert [place["path"] for place in copies] == ["z.png", "m.png", "b.png"]
    assert len({place["rank"] for place in copies}) == 1
    assert sorted(place["rank"] for place in places) in ([1, 1, 1, 4], [1, 2, 2, 2])


def test_a_ranking_as_a_table(ask: Command, folder: Path) -> None:
    (folder / "c.png").rename(folder / "[red]c.png")
    result = ask("a.png", "b.png", "[red]c.png", "--dim", "structure")
    assert (result.code, result.stderr) == (0, "")
    assert "fill, structure" in result.stdout
    assert "[red]c.png" in result.stdout
    assert "95 % interval" in result.stdout


def test_of_too_many_pictures_a_part_of_the_pairs_is_asked_and_said(
    ask: Command, folder: Path, picture: Draw
) -> None:
    names = [f"p{index}.png" for index in range(48)]
    for index, name in enumerate(names):
        picture(100 + index % 6).save(folder / name)
    result = ask(*names, "--dim", "structure", "--json", "--seed", 4)
    places = ranking_of(result)["structure"]
    assert len(places) == 48
    assert result.stderr.count("\n") == 1
    assert "of the 1128 pairs were asked, drawn with --seed 4" in result.stderr
    again = ranking_of(ask(*names, "--dim", "structure", "--json", "--seed", 4))["structure"]
    assert again == places


def test_source_and_mask_are_left_out_by_a_judge_that_does_not_see_them(ask: Command) -> None:
    arguments = ("a.png", "b.png", "--dim", "structure", "--json")
    plain = ask(*arguments)
    result = ask(*arguments, "--source", "c.png", "--mask", "d.png")
    assert (result.code, result.stdout) == (0, plain.stdout)
    assert result.stderr.count("\n") == 1
    assert "--source and --mask: this judge was not trained" in result.stderr


def test_a_judge_that_sees_the_source_is_shown_it(
    cli: Command, folder: Path, judge_folder: Path
) -> None:
    seeing = folder / "seeing"
    shutil.copytree(judge_folder, seeing)
    card = json.loads((seeing / "onefill_judge.json").read_text())
    (seeing / "onefill_judge.json").write_text(json.dumps(card | {"sees": ["source"]}))
    arguments = ("a.png", "b.png", "--dim", "structure", "--task", "fill", "--json")
    plain = cli("judge", *arguments, "--judge", seeing)
    shown = cli("judge", *arguments, "--judge", seeing, "--source", "c.png")
    assert (shown.code, shown.stderr) == (0, "")
    assert shown.stdout != plain.stdout


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("a.png", "b.png", "nosuch.png", "--dim", "structure"), "nosuch.png"),
        (("a.png", "b.png", "cut.png", "--dim", "structure"), "cut.png"),
        (("a.png", "b.png", ".", "--dim", "structure"), "folder"),
        (("a.png", "sliver.png", "b.png", "--dim", "structure"), "sliver.png"),
        (("a.png", "b.png", "c.png"), "--dim"),
        (("a.png", "b.png", "c.png", "--dim", "text-alignment"), "--prompt"),
        (("a.png", "b.png", "--dim", "structure", "--source", "nosuch.png"), "--source nosuch"),
        (("a.png", "b.png", "--dim", "structure", "--mask", "cut.png"), "--mask cut.png"),
        (("--dim", "structure"), "pictures"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    ask: Command, folder: Path, arguments: tuple[str, ...], named: str
) -> None:
    whole = (folder / "a.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    Image.new("RGB", (900, 3)).save(folder / "sliver.png")
    result = ask(*arguments)
    assert (result.code, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1, result.stderr
    assert named in result.stderr

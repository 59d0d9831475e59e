from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

Draw = Callable[..., Image.Image]
Command = Callable[..., Any]


@pytest.fixture
def pictures(tmp_path: Path, picture: Draw, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a.png, and b.jpg of another size and shape."""
    picture(1, 96, 96).save(tmp_path / "a.png")
    picture(2, 310, 170).save(tmp_path / "b.jpg")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def ask(cli: Command, pictures: Path, judge_folder: Path) -> Command:
    """`onefill judge …` with a random tiny judge."""
    return lambda *arguments: cli("judge", *arguments, "--judge", judge_folder, "--offline")


def test_a_verdict_in_json(ask: Command, judge_folder: Path) -> None:
    result = ask("a.png", "b.jpg", "--dim", "aesthetics", "--task", "fill", "--json")
    assert (result.code, result.stderr) == (0, "")
    document = json.loads(result.stdout)
    assert document["judge"] == str(judge_folder)
    (verdict,) = document["verdicts"]
    assert sorted(verdict) == ["dim", "order_gap", "p_first", "task", "winner"]
    assert (verdict["task"], verdict["dim"]) == ("fill", "aesthetics")
    assert 0 < verdict["p_first"] < 1
    assert 0 <= verdict["order_gap"] <= 1
    assert verdict["winner"] in {"first", "second", "tie"}


def test_swapping_the_files_swaps_the_verdict(ask: Command) -> None:
    options = ("--dim", "structure", "--task", "fill", "--json")
    (there,) = json.loads(ask("a.png", "b.jpg", *options).stdout)["verdicts"]
    (back,) = json.loads(ask("b.jpg", "a.png", *options).stdout)["verdicts"]
    assert there["p_first"] + back["p_first"] == pytest.approx(1.0, abs=1e-6)
    assert there["p_first"] != 0.5


def test_a_verdict_in_words(ask: Command) -> None:
    result = ask("a.png", "b.jpg", "--dim", "aesthetics", "--task", "fill")
    assert result.code == 0
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("aesthetics: ")]
    assert " %" in line
    assert "; swapping the order changes this by" in line
    assert "p(a.png better)" in result.stdout


def test_a_narrower_dtype_says_nearly_the_same(ask: Command) -> None:
    options = ("--dim", "structure", "--task", "fill", "--json")
    (wide,) = json.loads(ask("a.png", "b.jpg", *options).stdout)["verdicts"]
    (narrow,) = json.loads(ask("a.png", "b.jpg", *options, "--dtype", "bfloat16").stdout)[
        "verdicts"
    ]
    assert narrow["p_first"] == pytest.approx(wide["p_first"], abs=0.02)
    assert narrow["p_first"] != wide["p_first"]


def test_a_file_against_itself_is_a_tie(ask: Command) -> None:
    result = ask("a.png", "a.png", "--dim", "aesthetics", "--task", "fill", "--json")
    (verdict,) = json.loads(result.stdout)["verdicts"]
    assert (verdict["winner"], verdict["p_first"]) == ("tie", 0.5)


def test_without_a_task_the_first_that_has_the_dimension_is_named(ask: Command) -> None:
    result = ask("a.png", "b.jpg", "--dim", "removal-quality", "--json")
    assert json.loads(result.stdout)["verdicts"][0]["task"] == "removal"
    assert result.stderr.count("\n") == 1
    assert "'removal'" in result.stderr


def test_all_dimensions_with_a_prompt(ask: Command) -> None:
    result = ask("a.png", "b.jpg", "--task", "fill", "--all-dims", "--prompt", "hat", "--json")
    assert (result.code, result.stderr) == (0, "")
    assert {v["dim"] for v in json.loads(result.stdout)["verdicts"]} == {
        "consistency",
        "structure",
        "text-alignment",
        "aesthetics",
    }


def test_all_dimensions_without_a_prompt_leave_text_alignment_out_and_say_so(ask: Command) -> None:
    result = ask("a.png", "b.jpg", "--task", "fill", "--all-dims", "--json")
    assert result.stderr == "text-alignment is left out: it needs --prompt\n"
    assert len(json.loads(result.stdout)["verdicts"]) == 3


def test_file_names_with_brackets_are_shown_as_they_are(ask: Command, pictures: Path) -> None:
    (pictures / "a.png").rename(pictures / "[red]x.png")
    result = ask("[red]x.png", "b.jpg", "--dim", "aesthetics", "--task", "fill")
    assert "p([red]x.png better)" in result.stdout


def test_files_of_the_same_name_are_told_apart(ask: Command, pictures: Path) -> None:
    (pictures / "old").mkdir()
    (pictures / "old" / "a.png").write_bytes((pictures / "b.jpg").read_bytes())
    result = ask("old/a.png", "a.png", "--dim", "aesthetics", "--task", "fill")
    assert "p(old/a.png better)" in result.stdout


def bad_files(folder: Path) -> None:
    whole = (folder / "a.png").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.png").write_bytes(b"")
    (folder / "words.png").write_text("not a picture")
    Image.new("RGB", (900, 3)).save(folder / "sliver.png")


FIT = ("--dim", "aesthetics", "--task", "fill")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("nosuch.png", "b.jpg", *FIT), "nosuch.png"),
        (("a.png", "nosuch.png", *FIT), "nosuch.png"),
        (("a.png", ".", *FIT), "folder"),
        (("a.png", "words.png", *FIT), "words.png"),
        (("cut.png", "b.jpg", *FIT), "cut.png"),
        (("a.png", "empty.png", *FIT), "empty.png"),
        (("sliver.png", "b.jpg", *FIT), "sliver.png"),
        (("a.png", "b.jpg"), "--dim"),
        (("a.png", "b.jpg", *FIT, "--all-dims"), "--all-dims"),
        (("a.png", "b.jpg", "--dim", "beauty"), "--dim beauty"),
        (("a.png", "b.jpg", "--dim", "beauty", "--task", "fill"), "--dim beauty"),
        (("a.png", "b.jpg", "--dim", "aesthetics", "--task", "removal"), "removal-quality"),
        (("a.png", "b.jpg", "--dim", "aesthetics", "--task", "juggle"), "--task juggle"),
        (("a.png", "b.jpg", "--dim", "text-alignment", "--task", "fill"), "--prompt"),
        (("a.png", "b.jpg", "--dim", "text-alignment", "--prompt", " "), "--prompt"),
        (
            ("a.png", "b.jpg", "--dim", "text-alignment", "--prompt", "hat " * 2000),
            "shorten the prompt",
        ),
        (("a.png", "b.jpg", *FIT, "--device", "abacus"), "--device abacus"),
        (("a.png", "b.jpg", *FIT, "--dtype", "int3"), "dtype int3"),
        (("a.png", "b.jpg", *FIT, "--quantize", "hard"), "--quantize hard"),
        (("a.png", "b.jpg", *FIT, "--nonsense"), "--nonsense"),
        (("a.png", *FIT), "second"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    ask: Command, pictures: Path, arguments: tuple[str, ...], named: str
) -> None:
    bad_files(pictures)
    before = sorted(pictures.iterdir())
    result = ask(*arguments)
    assert (result.code, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1, result.stderr
    assert named in result.stderr
    assert sorted(pictures.iterdir()) == before


@pytest.mark.parametrize("name", ["nosuch", "./nosuch", "a.png", "nobody/no-such-judge"])
def test_an_unknown_judge_is_one_line_and_exit_code_2(
    cli: Command, pictures: Path, name: str
) -> None:
    result = cli("judge", "a.png", "b.jpg", *FIT, "--judge", name, "--offline")
    assert (result.code, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1, result.stderr
    assert f"--judge {name}" in result.stderr


def test_a_damaged_judge_is_one_line_and_exit_code_2(
    cli: Command, pictures: Path, judge_folder: Path, tmp_path: Path
) -> None:
    import shutil

    folder = tmp_path / "damaged"
    shutil.copytree(judge_folder, folder)
    (folder / "model.safetensors").write_bytes(b"\0" * 100)
    result = cli("judge", "a.png", "b.jpg", *FIT, "--judge", folder)
    assert (result.code, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1, result.stderr

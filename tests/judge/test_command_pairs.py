from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from onefill.judge.pair import PreferencePair
from onefill.judge.verdict import Verdict
from onefill.judge.verdicts_file import VerdictWriter
from onefill.pocket.judge.architecture import write_random_judge

Draw = Callable[..., Image.Image]
Command = Callable[..., Any]
PICTURES = 5


@pytest.fixture
def folder(tmp_path: Path, picture: Draw, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with data/0.png to 4.png and data/pairs.jsonl on all pairs of them."""
    data = tmp_path / "data"
    data.mkdir()
    for index in range(PICTURES):
        picture(index, 64 + 26 * (index == 3), 64).save(data / f"{index}.png")
    rows = [
        {"first": f"{i}.png", "second": f"{j}.png", "task": "fill", "prompt": "草帽", "id": [i, j]}
        for i in range(PICTURES)
        for j in range(PICTURES)
        if i != j
    ]
    rows[1] |= {"dims": ["aesthetics"], "winner": {"structure": "first"}}
    write_rows(data / "pairs.jsonl", rows)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")


def read_rows(path: Path) -> list[dict[str, Any]]:
    text = path.read_text("utf-8")
    assert text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


@pytest.fixture
def ask(cli: Command, folder: Path, judge_folder: Path) -> Command:
    """`onefill judge --pairs data/pairs.jsonl -o out.jsonl …` with a random tiny judge."""

    def call(*more: object, judge: Path = judge_folder) -> Any:
        files = ("--pairs", "data/pairs.jsonl", "-o", "out.jsonl")
        return cli("judge", *files, "--judge", judge, "--batch", 6, *more)

    return call


def test_a_line_of_verdicts_is_the_pair_and_what_the_single_command_says(
    ask: Command, cli: Command, folder: Path, judge_folder: Path
) -> None:
    result = ask()
    assert (result.code, result.stderr) == (0, "")
    assert result.stdout == "out.jsonl: verdicts on 20 of 20 pairs\n"
    rows, lines = read_rows(folder / "data/pairs.jsonl"), read_rows(folder / "out.jsonl")
    assert [{k: v for k, v in line.items() if k != "verdicts"} for line in lines] == rows
    assert [verdict["dim"] for verdict in lines[1]["verdicts"]] == ["aesthetics"]
    arguments = ("--task", "fill", "--all-dims", "--prompt", "草帽", "--json")
    alone = cli("judge", "data/0.png", "data/4.png", *arguments, "--judge", judge_folder)
    (line,) = (line for line in lines if line["id"] == [0, 4])
    for many, one in zip(line["verdicts"], json.loads(alone.stdout)["verdicts"], strict=True):
        assert many == pytest.approx(one, abs=1e-5)


def test_the_summary_in_json(ask: Command, judge_folder: Path) -> None:
    result = ask("--json")
    assert (result.code, result.stderr) == (0, "")
    assert json.loads(result.stdout) == {
        "judge": str(judge_folder),
        "output": "out.jsonl",
        "pairs": 20,
        "judged": 20,
        "skipped": 0,
    }


@pytest.mark.parametrize("cut", [0, 1, 5, 700, 1500, -1, -2])
def test_a_killed_run_goes_on_wherever_it_was_cut(ask: Command, folder: Path, cut: int) -> None:
    ask()
    out = folder / "out.jsonl"
    whole, content = read_rows(out), out.read_bytes()
    out.write_bytes(content[:cut])
    kept = content[:cut].rsplit(b"\n", 1)[0] if b"\n" in content[:cut] else b""
    result = ask()
    assert result.code == 0, result.stderr
    assert out.read_bytes().startswith(kept)
    assert ("goes on after" in result.stderr) == bool(kept)
    lines = read_rows(out)
    assert [line["id"] for line in lines] == [line["id"] for line in whole]
    for line, before in zip(lines, whole, strict=True):
        for new, old in zip(line["verdicts"], before["verdicts"], strict=True):
            assert new == pytest.approx(old, abs=1e-5)


def test_a_finished_file_is_left_as_it_is(ask: Command, folder: Path) -> None:
    ask()
    before = (folder / "out.jsonl").read_bytes()
    result = ask()
    assert result.code == 0
    assert (folder / "out.jsonl").read_bytes() == before


def test_a_run_killed_for_real_leaves_whole_lines_and_is_finished_by_the_next(
    ask: Command, folder: Path, judge_folder: Path
) -> None:
    rows = read_rows(folder / "data/pairs.jsonl")
    write_rows(folder / "data/pairs.jsonl", [row | {"n": n} for n in range(40) for row in rows])
    command = [sys.executable, "-c", "from onefill.cli.app import main; main()", "judge"]
    command += ["--pairs", "data/pairs.jsonl", "-o", "out.jsonl", "--judge", str(judge_folder)]
    process = subprocess.Popen(
        [*command, "--batch", "1"], env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    out = folder / "out.jsonl"
    while process.poll() is None and not (out.exists() and out.stat().st_size):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    found = len(read_rows(out))
    assert 0 < found < 800
    result = ask("--batch", 64)
    assert result.code == 0, result.stderr
    assert f"goes on after {found} of 800 pairs" in result.stderr
    pairs = [{k: v for k, v in row.items() if k != "verdicts"} for row in read_rows(out)]
    assert pairs == read_rows(folder / "data/pairs.jsonl")


def test_ctrl_c_leaves_whole_lines_and_exit_code_130(
    ask: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stock = VerdictWriter.write

    def write(self: VerdictWriter, pair: PreferencePair, verdicts: Sequence[Verdict]) -> None:
        if pair.line == 9:
            raise KeyboardInterrupt
        stock(self, pair, verdicts)

    with monkeypatch.context() as patch:
        patch.setattr(VerdictWriter, "write", write)
        result = ask()
    assert (result.code, result.stdout, result.stderr) == (130, "", "interrupted\n")
    assert len(read_rows(folder / "out.jsonl")) == 8
    assert "goes on after 8 of 20 pairs" in ask().stderr


def test_a_full_disk_leaves_whole_lines(
    ask: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stock = os.pwrite
    room = 1000

    def pwrite(file: int, text: bytes, offset: int) -> int:
        if offset >= room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return stock(file, text[: room - offset], offset)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", pwrite)
        result = ask()
    assert (result.code, result.stdout) == (1, "")
    assert result.stderr.count("\n") == 1
    assert "-o out.jsonl: cannot be written (No space left" in result.stderr
    assert 0 < len(read_rows(folder / "out.jsonl")) < 20
    assert ask().code == 0
    assert len(read_rows(folder / "out.jsonl")) == 20


def refused(result: Any, named: str) -> None:
    assert (result.code, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1, result.stderr
    assert named in result.stderr


def test_lines_of_another_judge_are_refused(ask: Command, folder: Path, tmp_path: Path) -> None:
    ask()
    out = folder / "out.jsonl"
    part = b"".join(out.read_bytes().splitlines(keepends=True)[:7]) + b'{"first"'
    out.write_bytes(part)
    write_random_judge(tmp_path / "other", seed=8)
    refused(ask(judge=tmp_path / "other"), "another one wrote it")
    assert out.read_bytes() == part


def test_the_same_judge_with_other_temperatures_is_another_judge(
    ask: Command, folder: Path, judge_folder: Path, tmp_path: Path
) -> None:
    ask()
    shutil.copytree(judge_folder, tmp_path / "hot")
    card = json.loads((tmp_path / "hot/onefill_judge.json").read_text())
    card["dimensions"] = {
        f"fill/{dim}": {"temperature": 0.05}
        for dim in ("aesthetics", "structure", "consistency", "text-alignment")
    }
    (tmp_path / "hot/onefill_judge.json").write_text(json.dumps(card))
    refused(ask(judge=tmp_path / "hot"), "another one wrote it")


@pytest.mark.parametrize("change", ["reorder", "edit", "shorten"])
def test_lines_on_other_pairs_are_refused(ask: Command, folder: Path, change: str) -> None:
    ask()
    before = (folder / "out.jsonl").read_bytes()
    rows = read_rows(folder / "data/pairs.jsonl")
    changed = {
        "reorder": [rows[1], rows[0], *rows[2:]],
        "edit": [*rows[:5], rows[5] | {"prompt": "scarf"}, *rows[6:]],
        "shorten": rows[:-1],
    }
    write_rows(folder / "data/pairs.jsonl", changed[change])
    refused(ask(), "written from another one")
    assert (folder / "out.jsonl").read_bytes() == before


def test_a_pair_put_in_between_is_refused_with_skip_bad_too(ask: Command, folder: Path) -> None:
    ask()
    rows = read_rows(folder / "data/pairs.jsonl")
    new = {"first": "0.png", "second": "0.png", "task": "fill"}
    write_rows(folder / "data/pairs.jsonl", [*rows[:3], new, *rows[3:]])
    refused(ask("--skip-bad"), "line 4 of the pairs has no verdict")


@pytest.mark.parametrize(
    "content", [b"my notes", b"my notes\n", b'{"id": 1}\n', b"[]\n", b"\xff\n", b"\x89PNG"]
)
def test_a_file_that_is_no_file_of_verdicts_is_never_touched(
    ask: Command, folder: Path, content: bytes
) -> None:
    (folder / "out.jsonl").write_bytes(content)
    refused(ask(), "-o out.jsonl")
    assert (folder / "out.jsonl").read_bytes() == content


def damage(folder: Path, name: str = "3.png") -> None:
    path = folder / "data" / name
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def test_a_damaged_picture_stops_with_its_line_and_what_was_judged_stays(
    ask: Command, folder: Path
) -> None:
    damage(folder)
    result = ask()
    assert (result.code, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1, result.stderr
    assert "data/pairs.jsonl line 3: image data/3.png" in result.stderr
    assert [line["id"] for line in read_rows(folder / "out.jsonl")] == [[0, 1], [0, 2]]


def test_a_damaged_first_pair_leaves_no_file(ask: Command, folder: Path) -> None:
    damage(folder, "0.png")
    refused(ask(), "line 1: image data/0.png")
    assert not (folder / "out.jsonl").exists()


def test_skip_bad_reports_and_counts_and_keeps_the_order(ask: Command, folder: Path) -> None:
    damage(folder)
    result = ask("--skip-bad")
    assert result.code == 0
    assert result.stdout == "out.jsonl: verdicts on 12 of 20 pairs, 8 skipped\n"
    assert result.stderr.count("; skipped\n") == result.stderr.count("\n") == 8
    good = [row["id"] for row in read_rows(folder / "data/pairs.jsonl") if 3 not in row["id"]]
    assert [line["id"] for line in read_rows(folder / "out.jsonl")] == good


def test_a_run_with_skipped_pairs_goes_on(ask: Command, folder: Path) -> None:
    damage(folder)
    ask("--skip-bad")
    out = folder / "out.jsonl"
    whole = out.read_bytes()
    out.write_bytes(b"".join(whole.splitlines(keepends=True)[:6]) + b'{"fir')
    refused(ask(), "line 3 of the pairs was skipped; give --skip-bad again")
    result = ask("--skip-bad", "--json")
    assert result.code == 0, result.stderr
    summary = json.loads(result.stdout)
    assert (summary["judged"], summary["skipped"]) == (12, 8)
    assert [line["id"] for line in read_rows(out)] == [
        json.loads(line)["id"] for line in whole.splitlines()
    ]


def test_a_judge_that_does_not_look_at_the_source_says_so_once(ask: Command, folder: Path) -> None:
    rows = read_rows(folder / "data/pairs.jsonl")
    write_rows(folder / "data/pairs.jsonl", [row | {"source": "0.png"} for row in rows])
    result = ask()
    assert result.code == 0
    assert result.stderr.count("\n") == 1
    assert "not trained to look at the source" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--pairs", "data/pairs.jsonl"), "-o verdicts.jsonl"),
        (("--pairs", "nosuch.jsonl", "-o", "out.jsonl"), "nosuch.jsonl"),
        (("--pairs", "data", "-o", "out.jsonl"), "data"),
        (("--pairs", "data/pairs.jsonl", "-o", "nosuch/out.jsonl"), "no folder nosuch"),
        (("--pairs", "data/pairs.jsonl", "-o", "data"), "-o data: not a file"),
        (("--pairs", "data/pairs.jsonl", "-o", "data/pairs.jsonl"), "not a line of verdicts"),
        (("--pairs", "data/pairs.jsonl", "-o", "out.jsonl", "data/0.png"), "pictures"),
        (("--pairs", "data/pairs.jsonl", "-o", "out.jsonl", "--dim", "structure"), "--dim"),
        (("--pairs", "data/pairs.jsonl", "-o", "out.jsonl", "--mask", "data/0.png"), "--mask"),
        (("--pairs", "data/pairs.jsonl", "-o", "out.jsonl", "--batch", "0"), "--batch"),
        (("data/0.png", "data/1.png", "--dim", "structure", "-o", "out.jsonl"), "-o"),
        (("data/0.png", "data/1.png", "--dim", "structure", "--skip-bad"), "--skip-bad"),
    ],
)
def test_bad_arguments_are_one_line_and_exit_code_2(
    cli: Command, folder: Path, judge_folder: Path, arguments: tuple[str, ...], named: str
) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    refused(cli("judge", *arguments, "--judge", judge_folder), named)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_a_fault_in_a_late_line_is_found_before_anything_is_judged(
    ask: Command, folder: Path
) -> None:
    with (folder / "data/pairs.jsonl").open("a") as file:
        file.write('{"first": "0.png", "second": "gone.png", "task": "fill"}\n')
    refused(ask("--skip-bad"), 'data/pairs.jsonl line 21: "second" gone.png')
    assert not (folder / "out.jsonl").exists()

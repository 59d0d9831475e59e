from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from .conftest import draw_picture


@pytest.fixture
def write(tmp_path: Path):
    """Write a pairs file and its pictures, named by letters; a capital is another size."""
    for number, letter in enumerate("abcdefgh"):
        draw_picture(number, 40, 32).save(tmp_path / f"{letter}.png")
        draw_picture(number, 44, 32).save(tmp_path / f"{letter.upper()}-wide.png")
    draw_picture(0, 40, 32).save(tmp_path / "a-again.webp", lossless=True)
    Image.new("1", (40, 32), 1).save(tmp_path / "mask.png")
    (tmp_path / "torn.png").write_bytes((tmp_path / "a.png").read_bytes()[:300])

    def make(*rows: object, name: str = "pairs.jsonl") -> Path:
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        (tmp_path / name).write_text("\n".join(lines) + "\n")
        return tmp_path / name

    return make


def pair(first: str, second: str, winner: str = "first", **more: object) -> dict[str, object]:
    row = {"first": first, "second": second, "task": "fill", "winner": {"structure": winner}}
    return {**row, **more}


def test_a_good_file(write, cli):
    file = write(
        pair("a.png", "b.png", mask="mask.png", source="c.png"), "", pair("c.png", "d.png")
    )
    found = cli("pairs", "check", file)
    assert (found.code, found.stdout) == (0, "")
    assert "2 pairs, no fault" in found.stderr


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("{", "not JSON"),
        ("[1]", "not an object"),
        (pair("a.png", "missing.png"), '"second" missing.png: no such file'),
        (pair("a.png", "b.png", "third"), "a winner is first, second or tie"),
        (pair("a.png", "b.png", task="fly"), "fly"),
        (pair("a.png", "torn.png"), '"second": image'),
        (pair("a.png", "B-wide.png"), '"first" is 40x32 and "second" 44x32'),
        (pair("a.png", "a-again.webp"), "are the same picture"),
        (pair("A-wide.png", "B-wide.png", mask="mask.png"), "the mask is 40x32 but the image is"),
        (pair("a.png", "b.png", source="torn.png"), '"source": image'),
        (pair("b.png", "a-again.webp", "first"), "contradicts line 1 on structure"),
        (pair("b.png", "a.png", "second"), "repeats line 1 on structure"),
    ],
)
def test_every_fault_names_its_line(write, cli, row, said):
    file = write(pair("a.png", "b.png"), "", row, pair("c.png", "d.png"))
    found = cli("pairs", "check", file)
    assert found.code == 2
    assert found.stdout.startswith("line 3: ")
    assert said in found.stdout
    assert len(found.stdout.splitlines()) == 1
    assert "1 fault in 1 of 3 lines" in found.stderr


def test_all_faults_at_once(write, cli):
    file = write(
        pair("nothing.png", "b.png", "third"), pair("a.png", "b.png"), pair("a.png", "b.png")
    )
    found = cli("pairs", "check", file, "--json")
    assert found.code == 2
    document = json.loads(found.stdout)
    assert document["pairs"] == 3
    assert [fault["line"] for fault in document["faults"]] == [1, 1, 3]


def test_the_same_pictures_may_be_asked_about_something_else(write, cli):
    other = pair("a.png", "b.png")
    other["winner"] = {"aesthetics": "second"}
    assert cli("pairs", "check", write(pair("a.png", "b.png"), other)).code == 0
    tie = pair("a.png", "a-again.webp", "tie")
    assert cli("pairs", "check", write(tie)).code == 0


def test_leaks_by_scene_and_by_picture(write, cli):
    train = write(
        pair("a.png", "b.png", scene="one"),
        pair("c.png", "d.png", scene="two"),
        pair("g.png", "h.png", scene="three"),
    )
    test = write(
        pair("e.png", "f.png", scene="two"),
        pair("a-again.webp", "e.png", scene="four", source="h.png"),
        name="test.jsonl",
    )
    found = cli("pairs", "check", test, "--against", train)
    assert found.code == 2
    assert [line.split(" of ")[0] for line in found.stdout.splitlines()] == [
        f"line 1: leaks: its scene two is in {train} line 2",
        'line 2: leaks: its "first" is also a picture',
        'line 2: leaks: its "source" is also a picture',
    ]
    apart = write(pair("e.png", "f.png", scene="nine"), name="apart.jsonl")
    assert cli("pairs", "check", apart, "--against", train).code == 0


def test_files_that_cannot_be_read(write, cli, tmp_path):
    missing = cli("pairs", "check", tmp_path / "none.jsonl")
    assert missing.code == 2 and "cannot be read" in missing.stderr
    empty = cli("pairs", "check", write())
    assert empty.code == 2 and "holds no pair" in empty.stderr
    good, bad = write(pair("a.png", "b.png")), write("{", name="bad.jsonl")
    against = cli("pairs", "check", good, "--against", bad)
    assert against.code == 2 and "bad.jsonl line 1: not JSON" in against.stderr

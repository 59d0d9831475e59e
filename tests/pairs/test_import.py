from __future__ import annotations

import io
import json
import sys
import types
from pathlib import Path

import pytest

from onefill.judge.pairs_file import read_pairs
from onefill.tasks.registry import load_tasks

from .conftest import contents, draw_picture, read_rows

LOOKS = ("--dim", "aesthetics")


@pytest.fixture
def table(tmp_path: Path):
    """Write a jsonl table; the pictures lie in a folder beside it."""
    (tmp_path / "img").mkdir()
    for number in range(4):
        draw_picture(number, 40, 32).save(tmp_path / "img" / f"{number}.png")

    def write(*rows: dict[str, object]) -> Path:
        file = tmp_path / "table.jsonl"
        file.write_text("\n".join(json.dumps(row) for row in rows))
        return file

    return write


@pytest.fixture
def importing(cli, tmp_path):
    def run(table, *arguments):
        return cli("pairs", "import", table, "--out", tmp_path / "ours", *arguments)

    return run


def png(seed: int) -> bytes:
    stream = io.BytesIO()
    draw_picture(seed, 40, 32).save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("first", "second", "column", "values"),
    [
        ("first", "second", "winner", ("first", "second", "tie")),
        ("image_1", "image_2", "label_1", (1, 0, 0.5)),
        ("jpg_0", "jpg_1", "label_0", (1.0, 0.0, 0.5)),
        ("image_a", "image_b", "preference", ("A", "b", "Tie")),
        ("left", "right", "choice", ("left", "right", "equal")),
    ],
)
def test_common_layouts_are_guessed(table, importing, tmp_path, first, second, column, values):
    rows = [
        {first: "img/0.png", second: f"img/{n + 1}.png", column: value, "caption": "a hat"}
        for n, value in enumerate(values)
    ]
    done = importing(table(*rows), *LOOKS)
    assert done.code == 0, done.stderr
    pairs = read_pairs(tmp_path / "ours" / "pairs.jsonl", load_tasks())
    assert [pair.winner["aesthetics"] for pair in pairs] == ["first", "second", "tie"]
    assert {pair.prompt for pair in pairs} == {"a hat"}
    assert pairs[0].first.samefile(tmp_path / "img" / "0.png")


def test_chosen_and_rejected_need_no_winner(table, importing, tmp_path):
    done = importing(table({"chosen": "img/0.png", "rejected": "img/1.png"}), *LOOKS)
    assert done.code == 0
    assert read_rows(tmp_path / "ours")[0]["winner"] == {"aesthetics": "first"}
    assert "winner always chosen" in done.stderr


def test_columns_and_values_as_told(table, importing, tmp_path):
    rows = [
        {"x": "0.png", "y": "1.png", "won": won, "job": "removal", "what": "removal-quality"}
        for won in (7, 8, 9)
    ]
    done = importing(
        table(*rows), "--first", "x", "--second", "y", "--winner", "won", "--values", "8,7,9",
        "--task", "job", "--dim", "what", "--images", tmp_path / "img",
    )  # fmt: skip
    assert done.code == 0, done.stderr
    found = [row["winner"] for row in read_rows(tmp_path / "ours")]
    assert found == [{"removal-quality": who} for who in ("second", "first", "tie")]


ROW = {"first": "img/0.png", "second": "img/1.png", "winner": "first", "prompt": ""}


@pytest.mark.parametrize(
    ("change", "arguments", "said"),
    [
        ({}, (), "--dim: say what was compared"),
        ({}, ("--dim", "speed"), "--dim speed"),
        ({}, (*LOOKS, "--task", "fly"), "fly"),
        ({}, (*LOOKS, "--first", "z"), "--first z: no such column; the columns are first"),
        ({}, (*LOOKS, "--winner", "z"), "--winner z: no such column"),
        ({}, (*LOOKS, "--prompt", "z"), "--prompt z: no such column"),
        ({}, (*LOOKS, "--values", "1"), "--values 1: give two or three"),
        ({}, ("--dim", "text-alignment"), "line 1: no prompt, and text-alignment"),
        ({"winner": 1}, LOOKS, "line 1: winner is '1': say what it holds"),
        ({"winner": "x"}, (*LOOKS, "--values", "1,0"), "winner is 'x', not one of --values 1,0"),
        ({"first": "img/9.png"}, LOOKS, "img/9.png: no such file"),
        ({"first": None}, LOOKS, "first holds no picture"),
        ({"first": "https://x/y.png"}, LOOKS, "first is an address on the net"),
        ({"first": "table.jsonl"}, LOOKS, "not an image"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(
    table, importing, tmp_path, change, arguments, said
):
    file = table({**ROW, **change})
    before = contents(tmp_path)
    refused = importing(file, *arguments)
    assert refused.code == 2
    assert said in refused.stderr
    assert contents(tmp_path) == before


def test_rows_with_a_fault_are_skipped_only_on_demand(table, importing, tmp_path):
    file = table(ROW, {**ROW, "second": "img/none.png"}, {**ROW, "winner": "second"})
    refused = importing(file, *LOOKS)
    assert refused.code == 2 and "table.jsonl line 2" in refused.stderr
    done = importing(file, *LOOKS, "--skip-bad")
    assert done.code == 0
    assert "line 2" in done.stderr and "1 rows left out" in done.stderr
    assert len(read_rows(tmp_path / "ours")) == 2
    again = importing(file, *LOOKS)
    assert again.code == 2 and "exists already" in again.stderr


def test_files_that_are_no_table(importing, tmp_path):
    assert "no such file" in importing(tmp_path / "none.jsonl").stderr
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    assert "no rows" in importing(empty, *LOOKS).stderr
    other = tmp_path / "table.csv"
    other.write_text("first,second")
    found = importing(other, *LOOKS)
    assert found.code == 2 and "table.csv: ends in .csv; say how it is stored" in found.stderr
    torn = tmp_path / "torn.jsonl"
    torn.write_text('{"first": ')
    found = importing(torn, *LOOKS)
    assert found.code == 2 and "torn.jsonl line 1: not JSON" in found.stderr


def test_a_missing_library_is_asked_for(importing, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    monkeypatch.setitem(sys.modules, "datasets", None)
    file = tmp_path / "table.parquet"
    file.write_bytes(b"PAR1")
    for name, library in ((file, "pyarrow"), ("owner/name", "datasets")):
        found = importing(name, *LOOKS)
        assert found.code == 2
        assert f"needs {library}; install it with `pip install 'onefill[import]'`" in found.stderr


def test_parquet_with_pictures_inside(importing, tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows = [{"jpg_0": png(0), "jpg_1": png(n), "label_0": float(n % 2)} for n in (1, 2)]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "part.parquet")
    done = importing(tmp_path / "part.parquet", *LOOKS)
    assert done.code == 0, done.stderr
    assert [row["winner"]["aesthetics"] for row in read_rows(tmp_path / "ours")] == [
        "first", "second",
    ]  # fmt: skip
    assert len(list((tmp_path / "ours" / "pictures").iterdir())) == 3
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 and nothing more")
    bad = importing(tmp_path / "bad.parquet", *LOOKS)
    assert bad.code == 2


def test_a_dataset_as_the_library_hands_it_out(importing, tmp_path, monkeypatch):
    """The library itself is not needed to know what its rows look like."""

    class Rows(list):
        features = types.MappingProxyType({"image_1": "picture", "image_2": "picture"})

        def cast_column(self, column, feature):
            return self

    asked = []
    fake = types.ModuleType("datasets")
    fake.Image = type("Image", (), {"__init__": lambda self, decode=True: None})
    rows = Rows(
        {
            "image_1": {"bytes": png(n), "path": None},
            "image_2": {"bytes": png(9), "path": "x.png"},
            "label_1": n % 2,
            "prompt": f"hat {n}",
        }
        for n in range(5)
    )

    def load_dataset(name, *, split, streaming):
        asked.append((name, split, streaming))
        if split == "none":
            raise ValueError('Bad split: none. Available splits: ["train"]')
        return rows

    fake.load_dataset = load_dataset
    monkeypatch.setitem(sys.modules, "datasets", fake)
    bad = importing("owner/name", *LOOKS, "--split", "none")
    assert bad.code == 2 and "owner/name: Bad split" in bad.stderr
    done = importing("owner/name", *LOOKS, "--limit", 3)
    assert done.code == 0, done.stderr
    assert asked[-1] == ("owner/name", "train", True)
    found = read_rows(tmp_path / "ours")
    assert [row["winner"]["aesthetics"] for row in found] == ["second", "first", "second"]
    assert [row["scene"] for row in found] == ["hat 0", "hat 1", "hat 2"]
    assert len(list((tmp_path / "ours" / "pictures").iterdir())) == 4

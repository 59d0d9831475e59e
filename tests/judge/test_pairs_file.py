from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from onefill.errors import BadInput
from onefill.judge.pairs_file import examine_pairs, read_pairs
from onefill.tasks.registry import RegisteredTask, TaskRegistry
from onefill.tasks.types import Task


def faults_of(path: Path, registry: TaskRegistry) -> list[int]:
    """The line of each fault."""
    found = examine_pairs(path, registry)
    return [line for line, faults in found if isinstance(faults, list) for _ in faults]


Write = Callable[..., Path]
WHOLE = {"first": "a.png", "second": "b.png", "task": "paint"}


@pytest.fixture
def registry(task: Task) -> TaskRegistry:
    return TaskRegistry(tasks={"paint": RegisteredTask(task=task, plugin="x", distribution="x")})


@pytest.fixture
def write(tmp_path: Path) -> Write:
    for name in ("a.png", "b.png", "source.png", "mask.png"):
        (tmp_path / name).write_bytes(b"not looked into")

    def lines(*rows: Any) -> Path:
        path = tmp_path / "pairs.jsonl"
        text = "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows)
        path.write_text(text, encoding="utf-8")
        return path

    return lines


def test_a_line_with_everything(write: Write, registry: TaskRegistry, tmp_path: Path) -> None:
    row = WHOLE | {
        "prompt": "草帽",
        "source": "source.png",
        "mask": "mask.png",
        "dims": ["fit", "word-match"],
        "winner": {"looks": "tie", "fit": "second"},
        "strength": {"fit": 1},
        "scene": "beach",
        "note": [1, 2],
    }
    (pair,) = read_pairs(write(row), registry)
    assert (pair.first, pair.second) == (tmp_path / "a.png", tmp_path / "b.png")
    assert (pair.source, pair.mask) == (tmp_path / "source.png", tmp_path / "mask.png")
    assert (pair.task, pair.prompt, pair.scene, pair.line) == ("paint", "草帽", "beach", 1)
    assert pair.dims == ("fit", "word-match")
    assert pair.winner == {"looks": "tie", "fit": "second"}
    assert pair.strength == {"fit": 1.0}
    assert pair.row == row


def test_dimensions_come_from_dims_then_winners_then_the_task(
    write: Write, registry: TaskRegistry
) -> None:
    path = write(
        WHOLE | {"dims": ["looks"], "winner": {"fit": "first"}},
        WHOLE | {"winner": {"fit": "first"}},
        WHOLE,
        WHOLE | {"prompt": " "},
        WHOLE | {"prompt": "hat"},
    )
    assert [pair.dims for pair in read_pairs(path, registry)] == [
        ("looks",),
        ("fit",),
        ("fit", "looks"),
        ("fit", "looks"),
        ("fit", "word-match", "looks"),
    ]


def test_the_scene_falls_back_to_the_source_and_then_the_first_picture(
    write: Write, registry: TaskRegistry, tmp_path: Path
) -> None:
    path = write(WHOLE | {"source": "source.png"}, WHOLE, WHOLE | {"source": "./source.png"})
    there, first, same = (pair.scene for pair in read_pairs(path, registry))
    assert there == same == str(tmp_path / "source.png")
    assert first == str(tmp_path / "a.png")


def test_lines_are_counted_with_blank_ones_and_a_byte_order_mark_is_no_fault(
    write: Write, registry: TaskRegistry
) -> None:
    path = write("\ufeff" + json.dumps(WHOLE), "", "  ", WHOLE, "")
    assert [pair.line for pair in read_pairs(path, registry)] == [1, 4]


def test_paths_are_relative_to_the_file(
    write: Write, registry: TaskRegistry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write(WHOLE)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    (pair,) = read_pairs(Path("../pairs.jsonl"), registry)
    assert pair.first.read_bytes() == b"not looked into"
    (absolute,) = read_pairs(write(WHOLE | {"first": str(tmp_path / "a.png")}), registry)
    assert absolute.first == tmp_path / "a.png"


FAULTS: list[tuple[Any, str]] = [
    ("{", "not JSON"),
    ("[" * 100_000, "not JSON"),
    ("[1]", "a JSON list, not an object"),
    ('{"first": NaN}', "NaN is no JSON number"),
    ({"second": "b.png", "task": "paint"}, '"first" must be the path of a picture, not missing'),
    (WHOLE | {"second": 3}, '"second" must be the path'),
    (WHOLE | {"second": ""}, '"second" must be the path'),
    (WHOLE | {"second": "nosuch.png"}, '"second" nosuch.png: no such file'),
    (WHOLE | {"second": "."}, "a folder"),
    (WHOLE | {"second": "a\0.png"}, "no such file"),
    (WHOLE | {"source": "nosuch.png"}, '"source" nosuch.png: no such file'),
    (WHOLE | {"mask": ["mask.png"]}, '"mask" must be the path'),
    (WHOLE | {"task": None}, '"task" must name a task'),
    (WHOLE | {"task": "juggle"}, '"task" juggle: no such task (known: paint)'),
    (WHOLE | {"prompt": 3}, '"prompt" must be text, not 3'),
    (WHOLE | {"scene": 3}, '"scene" must be text, not 3'),
    (WHOLE | {"dims": []}, '"dims" must be a list'),
    (WHOLE | {"dims": "fit"}, '"dims" must be a list'),
    (WHOLE | {"dims": ["fit", "beauty"]}, 'no dimension "beauty"; choose from fit, word-match'),
    (WHOLE | {"dims": [["fit"]]}, "no dimension"),
    (WHOLE | {"dims": ["fit", "fit"]}, "names fit twice"),
    (WHOLE | {"dims": ["word-match"]}, "word-match is judged against it"),
    (WHOLE | {"winner": {"word-match": "first"}}, "word-match is judged against it"),
    (WHOLE | {"winner": "first"}, '"winner" must be an object'),
    (WHOLE | {"winner": {"beauty": "first"}}, 'no dimension "beauty"'),
    (WHOLE | {"winner": {"fit": "left"}}, 'first, second or tie, not "left"'),
    (WHOLE | {"winner": {"fit": {}}}, "first, second or tie"),
    (WHOLE | {"strength": {"fit": 1.5}}, "from 0 to 1, not 1.5"),
    (WHOLE | {"strength": {"fit": True}}, "from 0 to 1, not true"),
    (WHOLE | {"strength": {"fit": "much"}}, "from 0 to 1"),
]


@pytest.mark.parametrize(("row", "named"), FAULTS)
def test_a_fault_is_one_line_with_its_number(
    write: Write, registry: TaskRegistry, row: Any, named: str
) -> None:
    path = write(WHOLE, "", row, WHOLE)
    with pytest.raises(BadInput) as caught:
        read_pairs(path, registry)
    message = str(caught.value)
    assert message.startswith(f"{path} line 3: ")
    assert named in message
    assert "\n" not in message and len(message) < 400
    assert faults_of(path, registry) == [3]


def test_every_fault_is_found(write: Write, registry: TaskRegistry) -> None:
    path = write(
        WHOLE | {"first": "x.png", "second": "y.png", "winner": {"beauty": "left"}, "dims": 1},
        WHOLE,
        "{",
    )
    assert faults_of(path, registry) == [1, 1, 1, 1, 3]
    assert faults_of(write(WHOLE), registry) == []


def test_a_file_without_pairs_or_that_is_no_text(
    write: Write, registry: TaskRegistry, tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match="holds no pair"):
        read_pairs(write("", ""), registry)
    for path in (tmp_path / "nosuch.jsonl", tmp_path):
        with pytest.raises(BadInput, match="cannot be read"):
            read_pairs(path, registry)
    path = tmp_path / "latin.jsonl"
    path.write_bytes(json.dumps(WHOLE).encode() + b'\n{"first": "\xe9.png"}\n')
    with pytest.raises(BadInput, match="line 2: not UTF-8"):
        read_pairs(path, registry)

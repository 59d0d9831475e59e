from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

from onefill.errors import OnefillError
from onefill.judge.accuracy import Answer, accuracy_table
from onefill.judge.asking import PairLogits
from onefill.judge.pair import PreferencePair
from onefill.judge.report import (
    MISTAKES,
    overview,
    table_as_json,
    table_from_json,
    worst_mistakes,
    write_report,
)


@pytest.fixture
def rows(tmp_path: Path) -> list[Answer]:
    """Forty answers; those with a number that divides by four are wrong, later ones more so."""
    Image.new("RGB", (300, 80), "red").save(tmp_path / "a.png")
    Image.new("RGB", (64, 64), "blue").save(tmp_path / "b.png")
    found = []
    for index in range(40):
        dim = "structure" if index % 2 else "text-alignment"
        pair = PreferencePair(
            first=tmp_path / "a.png",
            second=tmp_path / "b.png",
            task="fill" if index < 30 else "removal",
            prompt="<b>hat</b> & co",
            source=tmp_path / "a.png" if index % 8 == 0 else None,
            mask=None,
            dims=(dim,),
            winner={dim: "second"},
            strength={dim: index / 40},
            scene=str(index),
            line=index + 1,
            row={},
        )
        margin = 0.1 * index + 0.1 if index % 4 == 0 else -2.0
        found.append(Answer(PairLogits(pair, dim, margin, -margin), "second", 1.0))
    return found


def test_the_page_stands_alone_and_shows_the_worst_first(
    rows: list[Answer], tmp_path: Path
) -> None:
    page = tmp_path / "new" / "report.html"
    write_report(page, "A <judge>", rows, notes=["Fine & well"])
    text = page.read_text()
    assert "A &lt;judge&gt;" in text and "Fine &amp; well" in text
    assert "<b>hat" not in text and "&lt;b&gt;hat&lt;/b&gt; &amp; co" in text
    assert not re.search(r"(src|href)=\"(?!data:)", text)
    sure = [int(found) for found in re.findall(r"(\d+)% sure", text)]
    assert len(sure) == 10
    assert sure == sorted(sure, reverse=True)
    assert text.count("data:image/webp;base64,") == 2 * 10 + 5
    assert text.count("<svg") == len(accuracy_table(rows).cells) + 1
    assert list(page.parent.iterdir()) == [page]


def test_a_picture_that_is_gone_does_not_spoil_the_page(rows: list[Answer], tmp_path: Path) -> None:
    (tmp_path / "b.png").unlink()
    write_report(tmp_path / "report.html", "Judge", rows)
    assert "gone" in (tmp_path / "report.html").read_text()


def test_only_the_worst_are_kept(rows: list[Answer]) -> None:
    many = rows * 4
    worst = worst_mistakes(many)
    assert len(worst) == MISTAKES
    assert all(row.points == 0 for row in worst)
    assert worst[0].margin == max(row.margin for row in many)


def test_a_judge_without_mistakes_is_told_so(rows: list[Answer], tmp_path: Path) -> None:
    write_report(tmp_path / "report.html", "Judge", [row for row in rows if row.points])
    assert "every decided pair was judged right" in (tmp_path / "report.html").read_text()


def test_a_page_that_cannot_be_written_is_one_line(rows: list[Answer], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OnefillError, match="cannot be written"):
        write_report(tmp_path / "file" / "report.html", "Judge", rows)


def test_the_overview_is_tasks_by_dimensions(rows: list[Answer]) -> None:
    table = accuracy_table(rows[:31])
    dims, lines = overview(table)
    assert dims == ["structure", "text-alignment"]
    assert [task for task, _ in lines] == ["fill", "removal"]
    assert lines[1][1][0] is None
    share = lines[0][1][1]
    assert share is not None and share.n == 15


def test_a_table_survives_json(rows: list[Answer]) -> None:
    document = table_as_json(accuracy_table(rows))
    assert table_as_json(table_from_json(document)) == document

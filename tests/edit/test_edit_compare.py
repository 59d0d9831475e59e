"""Sheets of before and after, and text read back."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from onefill.edit.compare import compare_sheet
from onefill.edit.crop import Box
from onefill.edit.reading import open_reader, read_back, says_the_same
from onefill.edit.region import Region
from onefill.edit.request import EditPlan, EditRequest, plan_edit
from onefill.tasks.registry import load_tasks

Cli = Callable[..., Any]
RED, BLUE = (255, 0, 0), (0, 0, 255)


def plan_of(photo: Path, task: str = "fill", **wants: Any) -> EditPlan:
    return plan_edit(EditRequest(image=photo, task=load_tasks().tasks[task], words="hat", **wants))


def flat(path: Path, colour: Any, size: tuple[int, int] = (600, 400)) -> Path:
    Image.new("RGB", size, colour).save(path)
    return path


def share(sheet: Image.Image, colour: Any) -> float:
    near = np.abs(np.asarray(sheet, int) - colour).max(axis=2) < 8
    return float(near.mean())


def test_a_small_mask_is_shown_from_close_by_too(tmp_path: Path, photo: Path) -> None:
    results = [(flat(tmp_path / "a.png", RED), "seed 1"), (flat(tmp_path / "b.png", BLUE), "2.")]
    small = compare_sheet(plan_of(photo, regions=(Region(box="10,10,60,40"),)), results)
    large = compare_sheet(plan_of(photo, regions=(Region(box="10,10,500,300"),)), results)
    assert small.width == large.width and small.height > 1.8 * large.height
    for sheet in (small, large):
        # Three columns of the same size: before, red, blue.
        assert share(sheet, RED) == pytest.approx(share(sheet, BLUE), abs=0.01)
        assert 0.25 < share(sheet, RED) < 0.34


def test_many_results_go_into_several_rows(tmp_path: Path, photo: Path) -> None:
    results = [(flat(tmp_path / f"{number}.png", RED), f"seed {number}") for number in range(8)]
    sheet = compare_sheet(plan_of(photo, regions=(Region(box="10,10,500,300"),)), results)
    assert sheet.width < 2500 and sheet.height > 600
    assert share(sheet, RED) > 0.6


def test_what_an_extension_adds_is_blank_before(tmp_path: Path, photo: Path) -> None:
    plan = plan_of(photo, "extend", expand="right=100%")
    sheet = compare_sheet(plan, [(flat(tmp_path / "a.png", RED, (1200, 400)), "seed 1")])
    blank = share(sheet, (224, 224, 224))
    assert blank == pytest.approx(share(sheet, RED) / 2, abs=0.02)


class _Engine:
    """Stands for RapidOCR: 'reads' the words it is told, and notes what it was shown."""

    says: tuple[str, ...] | None = ("澳门", "2024")
    whole: tuple[str, float] | None = None
    """What it reads where it is not to look for lines, and how sure it is."""
    shown: list[Any]

    def __init__(self, params: Any) -> None:
        _Engine.shown = []
        self.use_det = True

    def __call__(
        self, picture: Any, *, use_det: bool | None = None, use_cls: bool | None = None
    ) -> Any:
        _Engine.shown.append(picture)
        self.use_det = self.use_det if use_det is None else use_det  # RapidOCR remembers it too
        if self.use_det:
            return types.SimpleNamespace(txts=_Engine.says)
        word, score = _Engine.whole or (None, None)
        return types.SimpleNamespace(txts=word and (word,), scores=score and (score,))


@pytest.fixture
def ocr(monkeypatch: pytest.MonkeyPatch) -> type[_Engine]:
    module = types.ModuleType("rapidocr")
    module.RapidOCR = _Engine  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "rapidocr", module)
    monkeypatch.setattr("onefill.edit.reading._PACKAGES", ())
    monkeypatch.setattr(_Engine, "says", ("澳门", "2024"))
    return _Engine


def test_the_painted_part_is_read_with_a_margin_and_large_enough(
    tmp_path: Path, ocr: type[_Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.zeros((400, 600, 3), np.uint8)
    pixels[..., 0] = 200
    path = tmp_path / "a.png"
    Image.fromarray(pixels).save(path)
    reader = open_reader()
    assert read_back(path, Box(100, 50, 80, 40), reader) == "澳门 2024"
    (shown,) = ocr.shown
    assert shown.shape == (96, 160, 3)  # 60 x 100 pixels, enlarged
    assert (shown[..., 2] == 200).all()  # OpenCV's order: blue, green, red
    ocr.says = None
    assert read_back(path, Box(0, 0, 600, 400), reader) == ""
    monkeypatch.setattr(ocr, "whole", ("大", 0.98))  # too large to be found as a line
    assert read_back(path, Box(0, 0, 600, 400), reader) == "大"
    monkeypatch.setattr(ocr, "whole", ("c", 0.2))
    assert read_back(path, Box(0, 0, 600, 400), reader) == ""
    monkeypatch.setattr(ocr, "says", ("出口",))
    assert read_back(path, Box(0, 0, 600, 400), reader) == "出口"


@pytest.mark.parametrize(
    ("read", "wanted", "same"),
    [
        ("OPEN 24h", "open24H", True),
        ("ＯＰＥＮ", "open", True),
        ("澳 门", "澳门", True),
        ("澳门", "澳門", False),
        ("", "a", False),
        ("0PEN", "OPEN", False),
    ],
)
def test_letters_count_and_spaces_do_not(read: str, wanted: str, same: bool) -> None:
    assert says_the_same(read, wanted) is same


def test_what_was_written_is_read_back(
    cli: Cli,
    photo: Path,
    mask: Path,
    tiny_model: Path,
    ocr: type[_Engine],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    line = ("edit", photo, "--mask", mask, "--model", tiny_model, "--steps", 1, "--check-text")
    right = cli(*line, "--text", "澳门2024", "-o", "a.png")
    assert (right.code, right.stdout) == (0, "a.png\n")
    assert right.stderr.splitlines()[-1] == "a.png: reads '澳门 2024', as asked"
    wrong = cli(*line, "--text", "澳门", "-o", "b.png", "--json")
    (image,) = json.loads(wrong.stdout)["images"]
    assert (image["read"], image["reads_right"]) == ("澳门 2024", False)
    assert "warning: b.png: reads '澳门 2024', where '澳门' was asked for" in wrong.stderr
    other = cli(*line, "--prompt", "hat")
    assert (other.code, other.stderr.count("\n")) == (2, 1)


def test_a_missing_reader_is_asked_for_before_anything_is_painted(
    cli: Cli, photo: Path, mask: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("onefill.edit.reading._PACKAGES", ("no_such_reader",))
    result = cli("edit", photo, "--mask", mask, "--text", "a", "--check-text", "-o", "a.png")
    assert result.code == 2
    assert result.stderr == (
        "error: --check-text: needs no_such_reader; install with pip install 'onefill[ocr]'\n"
    )
    assert not Path("a.png").exists()

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from onefill.errors import BadInput, OnefillError
from onefill.judge.asking import ask_pairs, logits_of_pairs
from onefill.judge.model import ImageFeatures, Judge
from onefill.judge.pair import PreferencePair
from onefill.judge.presentation import present
from onefill.judge.verdict import ask
from onefill.tasks.registry import RegisteredTask, TaskRegistry
from onefill.tasks.types import Task

SIZES = ((64, 64), (90, 64), (64, 64), (31, 57), (200, 40), (64, 64))


@pytest.fixture
def registry(task: Task) -> TaskRegistry:
    return TaskRegistry(tasks={"paint": RegisteredTask(task=task, plugin="x", distribution="x")})


@pytest.fixture
def folder(tmp_path: Path, picture: Callable[..., Image.Image]) -> Path:
    for index, size in enumerate(SIZES):
        picture(index, *size).save(tmp_path / f"{index}.png")
    return tmp_path


@pytest.fixture
def pairs(folder: Path) -> list[PreferencePair]:
    """Every ordered pair of the six pictures, with dimensions and words that vary."""
    dims = (("fit",), ("fit", "looks"), ("looks", "word-match"))
    both = [(i, j) for i in range(len(SIZES)) for j in range(len(SIZES)) if i != j]
    return [
        pair_of(folder, i, j, line, dims[line % 3], "hat " * (1 + line % 4))
        for line, (i, j) in enumerate(both, start=1)
    ]


def pair_of(
    folder: Path, first: int, second: int, line: int, dims: tuple[str, ...], prompt: str
) -> PreferencePair:
    return PreferencePair(
        first=folder / f"{first}.png",
        second=folder / f"{second}.png",
        task="paint",
        prompt=prompt,
        source=None,
        mask=None,
        dims=dims,
        winner={},
        strength={},
        scene="",
        line=line,
        row={},
    )


@pytest.mark.parametrize("batch", [1, 7, 100])
def test_many_answer_as_one_at_a_time(
    judge: Judge, pairs: list[PreferencePair], task: Task, registry: TaskRegistry, batch: int
) -> None:
    answered = list(ask_pairs(judge, pairs, registry, batch=batch))
    assert [pair.line for pair, _ in answered] == [pair.line for pair in pairs]
    for pair, verdicts in answered:
        first, second = (Image.open(path) for path in (pair.first, pair.second))
        dims = [task.dimension(name) for name in pair.dims]
        alone = ask(judge, first, second, task, dims, pair.prompt)
        assert [(v.task, v.dim) for v in verdicts] == [(v.task, v.dim) for v in alone]
        for many, one in zip(verdicts, alone, strict=True):
            assert many.p_first == pytest.approx(one.p_first, abs=1e-5)
            assert many.order_gap == pytest.approx(one.order_gap, abs=1e-5)


def test_each_picture_goes_through_the_vision_tower_once(
    judge: Judge,
    pairs: list[PreferencePair],
    registry: TaskRegistry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked = Counter[bytes]()
    stock = Judge.encode_levels

    def count(self: Judge, levels: torch.Tensor) -> ImageFeatures:
        looked.update(image.numpy().tobytes() for image in levels)
        return stock(self, levels)

    monkeypatch.setattr(Judge, "encode_levels", count)
    assert len(list(ask_pairs(judge, pairs, registry, batch=4))) == 30
    assert len(looked) == len(SIZES)
    assert set(looked.values()) == {1}


def test_features_above_the_limit_are_made_again_with_the_same_answers(
    judge: Judge,
    pairs: list[PreferencePair],
    registry: TaskRegistry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    roomy = [row.forward for row in logits_of_pairs(judge, pairs, registry, batch=4)]
    monkeypatch.setattr("onefill.judge.asking._KEPT_BYTES", 0)
    tight = [row.forward for row in logits_of_pairs(judge, pairs, registry, batch=4)]
    assert tight == pytest.approx(roomy, abs=1e-5)


def test_raw_logits_are_neither_calibrated_nor_symmetrised(
    judge: Judge,
    pairs: list[PreferencePair],
    registry: TaskRegistry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = list(logits_of_pairs(judge, pairs[:6], registry))
    monkeypatch.setattr(judge, "calibration", {"paint/fit": 3.0, "paint/looks": 3.0})
    heated = list(logits_of_pairs(judge, pairs[:6], registry))
    assert [row.forward for row in heated] == [row.forward for row in plain]
    assert [(r.pair.line, r.dim) for r in plain] == [(p.line, d) for p in pairs[:6] for d in p.dims]
    swapped = [replace(p, first=p.second, second=p.first) for p in pairs[:6]]
    back = list(logits_of_pairs(judge, swapped, registry))
    assert [r.forward for r in back] == pytest.approx([r.backward for r in plain], abs=1e-5)


def test_a_damaged_picture_is_named_after_the_pairs_before_it(
    judge: Judge, pairs: list[PreferencePair], registry: TaskRegistry, folder: Path
) -> None:
    whole = (folder / "3.png").read_bytes()
    (folder / "3.png").write_bytes(whole[: len(whole) // 2])
    answered = ask_pairs(judge, pairs, registry, batch=8)
    assert [next(answered)[0].line for _ in range(2)] == [1, 2]
    with pytest.raises(BadInput, match=r"^line 3: .*3\.png: .*damaged"):
        next(answered)


def test_bad_pairs_are_handed_over_and_all_others_answered(
    judge: Judge, pairs: list[PreferencePair], registry: TaskRegistry, folder: Path
) -> None:
    (folder / "3.png").write_bytes(b"")
    Image.new("RGB", (900, 3)).save(folder / "1.png")
    pairs[10] = replace(pairs[10], prompt="hat " * 3000, dims=("word-match",))
    reported: dict[int, str] = {}
    answered = list(
        ask_pairs(
            judge,
            pairs,
            registry,
            batch=8,
            on_bad=lambda pair, error: reported.update({pair.line: str(error)}),
        )
    )
    bad = [p.line for p in pairs if {p.first.stem, p.second.stem} & {"1", "3"} or p.line == 11]
    assert sorted(reported) == bad
    assert [pair.line for pair, _ in answered] == [p.line for p in pairs if p.line not in bad]
    assert "3.png: the file is empty" in reported[3]
    assert "1.png: image of 900x3" in reported[1]
    assert reported[11].startswith("line 11: ") and "shorten" in reported[11]


def test_an_answer_that_is_no_number_is_an_error_and_no_bad_pair(
    judge: Judge,
    pairs: list[PreferencePair],
    registry: TaskRegistry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    head = judge.model.lm_head.weight
    monkeypatch.setattr(head, "data", torch.full_like(head, torch.nan))
    with pytest.raises(OnefillError, match="no number") as caught:
        list(ask_pairs(judge, pairs, registry, on_bad=lambda pair, error: None))
    assert not isinstance(caught.value, BadInput)


@pytest.fixture
def edited(pairs: list[PreferencePair], folder: Path) -> PreferencePair:
    """A pair of equal sizes with its source and mask."""
    mask = np.zeros((64, 64), np.uint8)
    mask[20:40, 10:50] = 255
    Image.fromarray(mask).save(folder / "mask.png")
    pair = pair_of(folder, 0, 2, 1, ("fit",), "hat")
    return replace(pair, source=folder / "5.png", mask=folder / "mask.png")


@pytest.mark.parametrize("sees", [("source",), ("mask",), ("source", "mask")])
def test_source_and_mask_matter_only_to_a_judge_that_sees_them(
    judge: Judge,
    edited: PreferencePair,
    registry: TaskRegistry,
    monkeypatch: pytest.MonkeyPatch,
    sees: tuple[str, ...],
) -> None:
    bare = replace(edited, source=None, mask=None)

    def answer(pair: PreferencePair) -> float:
        return next(logits_of_pairs(judge, [pair], registry)).forward

    assert answer(edited) == answer(bare)
    without = answer(bare)
    monkeypatch.setattr(judge, "sees", sees)
    assert answer(bare) == without
    assert abs(answer(edited) - without) > 1e-4


def test_a_mask_of_another_size_is_a_bad_pair_for_a_judge_that_sees_it(
    judge: Judge,
    edited: PreferencePair,
    registry: TaskRegistry,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Image.new("L", (9, 9), 255).save(folder / "mask.png")
    assert len(list(ask_pairs(judge, [edited], registry))) == 1
    monkeypatch.setattr(judge, "sees", ("mask",))
    with pytest.raises(BadInput, match=r"^line 1: mask .*mask\.png"):
        list(ask_pairs(judge, [edited], registry))


def test_what_was_edited_stays_in_sight() -> None:
    mask = np.zeros((128, 128), bool)
    mask[30:60, 40:80] = True
    result, source = Image.new("RGB", (128, 128), "green"), Image.new("RGB", (50, 50), "blue")
    shown = np.array(present(result, source, mask, ("source", "mask")))
    assert shown.shape == (128, 256, 3)
    assert (shown[:, :128] == (0, 0, 255)).all()
    right = shown[:, 128:]
    assert (right[mask] == (0, 128, 0)).all()
    assert (right[29, 50] == (255, 0, 255)).all()
    assert (right[27, 50] == (0, 128, 0)).all()
    assert present(result, source, mask, ()) is result


def test_a_card_says_what_the_judge_sees(judge_folder: Path, tmp_path: Path) -> None:
    from onefill.judge.card import read_card

    card = json.loads((judge_folder / "onefill_judge.json").read_text())
    (tmp_path / "onefill_judge.json").write_text(json.dumps(card | {"sees": ["mask"]}))
    assert read_card(tmp_path).sees == ("mask",)
    assert read_card(judge_folder).sees == ()
    (tmp_path / "onefill_judge.json").write_text(json.dumps(card | {"sees": ["future"]}))
    with pytest.raises(BadInput, match="future"):
        read_card(tmp_path)

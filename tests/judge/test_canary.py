from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from onefill.errors import BadInput
from onefill.judge.accuracy import known
from onefill.judge.canary import check_canaries, write_canaries
from onefill.judge.loading import load_judge
from onefill.judge.pairs_file import read_pairs
from onefill.tasks.registry import load_tasks

Write = Callable[..., Path]


@pytest.fixture
def folder(judge_folder: Path, write_pairs: Write, tmp_path: Path) -> Path:
    """A judge with canaries."""
    copy = tmp_path / "judge"
    shutil.copytree(judge_folder, copy)
    # Random weights hardly decide; a wider head does.
    weights = load_file(copy / "model.safetensors")
    save_file(
        {n: t * (3 if "norm" in n else 1) for n, t in weights.items()},
        copy / "model.safetensors",
        metadata={"format": "pt"},
    )
    pairs = known(read_pairs(write_pairs(count=12), load_tasks()))
    assert write_canaries(copy, load_judge(str(copy), device="cpu"), pairs) > 0
    return copy


def damage(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    mixed = {name: tensor.flip(0) for name, tensor in weights.items()}
    save_file(mixed, folder / "model.safetensors", metadata={"format": "pt"})


def test_canaries_are_small_lossless_pictures_and_whole_questions(folder: Path) -> None:
    rows = json.loads((folder / "canaries.json").read_text())["canaries"]
    assert 1 <= len(rows) <= 4
    for row in rows:
        assert row["query"].startswith("Task: extend. Dimension: ")
        for side in ("first", "second"):
            with Image.open(folder / row[side]) as picture:
                assert picture.format == "PNG" and max(picture.size) <= 256
        assert all(0 <= p <= 1 for p in row["p_yes"])
    assert len({row["query"] for row in rows[:2]}) == min(2, len(rows))


def test_a_judge_loads_when_it_answers_as_before(folder: Path) -> None:
    for dtype in ("float32", "bfloat16"):
        load_judge(str(folder), device="cpu", dtype=dtype)


def test_damaged_weights_are_refused_with_the_reason(folder: Path) -> None:
    damage(folder)
    with pytest.raises(BadInput, match=r"--judge .*canary pair \d of \d failed: P\(\"Yes\"\) is"):
        load_judge(str(folder), device="cpu")


def test_an_answer_that_drifts_is_refused_before_it_flips(folder: Path) -> None:
    judge = load_judge(str(folder), device="cpu")
    path = folder / "canaries.json"
    document = json.loads(path.read_text())
    p = document["canaries"][0]["p_yes"]
    for moved, allowed in ((0.04, True), (0.07, False)):
        p_moved = p[0] + (moved if p[0] < 0.9 else -moved) * (1 if p[0] > 0.5 else -1)
        document["canaries"][0]["p_yes"] = [p_moved, p[1]]
        path.write_text(json.dumps(document))
        if allowed:
            check_canaries(folder, judge, coarse=False)
        else:
            with pytest.raises(BadInput, match="failed"):
                check_canaries(folder, judge, coarse=False)
            check_canaries(folder, judge, coarse=True)


def test_a_judge_without_canaries_is_taken(folder: Path) -> None:
    (folder / "canaries.json").unlink()
    damage(folder)
    load_judge(str(folder), device="cpu")


@pytest.mark.parametrize(
    "text", ["", "[]", '{"canaries": [{"first": "x.png"}]}', '{"canaries": [3]}']
)
def test_damaged_canaries_are_refused(folder: Path, text: str) -> None:
    (folder / "canaries.json").write_text(text)
    with pytest.raises(BadInput, match="copy the judge's folder again"):
        load_judge(str(folder), device="cpu")


def test_a_missing_canary_picture_is_refused(folder: Path) -> None:
    shutil.rmtree(folder / "canaries")
    with pytest.raises(BadInput, match="canar"):
        load_judge(str(folder), device="cpu")


def test_canaries_are_replaced_and_need_no_winners(folder: Path, write_pairs: Write) -> None:
    pairs = read_pairs(write_pairs("bare.jsonl", 6, seed=4, winner={}), load_tasks())
    count = write_canaries(folder, load_judge(str(folder), device="cpu"), pairs)
    rows = json.loads((folder / "canaries.json").read_text())["canaries"]
    assert len(rows) == count
    assert len(list((folder / "canaries").iterdir())) == 2 * count
    load_judge(str(folder), device="cpu")


def test_a_judge_trained_with_other_words_says_so(folder: Path) -> None:
    card = json.loads((folder / "onefill_judge.json").read_text())
    card["template"] = card["template"].replace("better", "worse")
    (folder / "onefill_judge.json").write_text(json.dumps(card))
    with pytest.raises(BadInput, match="trained with other words"):
        load_judge(str(folder), device="cpu")


def test_torch_is_left_as_it_was(folder: Path) -> None:
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    load_judge(str(folder), device="cpu")
    assert torch.equal(torch.random.get_rng_state(), before)

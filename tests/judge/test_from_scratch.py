from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer, Qwen2_5_VLForConditionalGeneration

from onefill.errors import BadInput
from onefill.interrupt import Interrupted
from onefill.judge.loading import load_judge
from onefill.judge.pairs_file import read_pairs
from onefill.judge.training.examples import draw_batch, make_examples
from onefill.judge.training.heads import TeachingHeads
from onefill.judge.training.lesson import lesson
from onefill.judge.training.loop import train, update
from onefill.judge.training.loss import look
from onefill.judge.training.parts import from_scratch
from onefill.judge.training.session import TrainingSession
from onefill.judge.training.variation import VariedShelf
from onefill.pocket.judge.architecture import TowerSize
from onefill.pocket.judge.untrained import new_judge

from .quiet import Quiet, open_quietly, run

Write = Callable[..., Path]
Open = Callable[..., TrainingSession]

TINY = TowerSize(layers=2, width=32, heads=2, feed_forward=64)
tiny_judge = partial(new_judge, vision=TINY, text=TINY)


@pytest.fixture
def open_training(write_pairs: Write, tmp_path: Path) -> Open:
    """A session from scratch on 48 pairs, the brighter of two squares wins, in tmp_path/NAME."""
    pairs = write_pairs(count=48)

    def call(name: str = "judge", *, resume: bool = False, **changes: Any) -> TrainingSession:
        asked: dict[str, Any] = {
            "pairs": (str(pairs),),
            "base": "scratch",
            "every": 2,
            **changes,
        }
        return open_quietly(tmp_path / name, tiny_judge, resume=resume, **asked)

    return call


def turn_structure_round(file: Path) -> None:
    """Of two squares the darker one wins on structure: who does not read is right half the time."""
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    turned = {"first": "second", "second": "first", "tie": "tie"}
    for row in rows:
        row["winner"]["structure"] = turned[row["winner"]["aesthetics"]]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_a_judge_learns_from_random_weights_and_stock_transformers_loads_it(
    open_training: Open, tmp_path: Path
) -> None:
    turn_structure_round(tmp_path / "pairs.jsonl")
    session = open_training(steps=100, every=20, batch=8, patience=9)
    summary = run(session)
    assert summary["overall"]["accuracy"]["rate"] >= 0.9
    assert summary["base"] == "scratch" and summary["best_step"] > 60
    out = tmp_path / "judge"
    judge = load_judge(str(out), device="cpu")  # asks the canaries too
    assert judge.calibration == summary["temperatures"]
    stock = Qwen2_5_VLForConditionalGeneration.from_pretrained(out, dtype=torch.float32)
    assert not any("heads" in name for name in stock.state_dict())
    for name, tensor in session.judge.model.state_dict().items():
        assert torch.equal(tensor, stock.state_dict()[name]), name
    tokenizer = AutoTokenizer.from_pretrained(out)
    assert len(tokenizer.encode(" aesthetics")) == 1
    parts = [json.loads(line) for line in (out / "training/metrics.jsonl").open()]
    assert [row["part"] for row in parts if row["step"] in (0, 60, 100) and "part" in row] == [
        "see",
        "read",
        "judge",
        "judge",
    ]


@pytest.mark.parametrize("stop_at", [2, 3, 5])
def test_a_resumed_training_is_the_uninterrupted_one_bit_for_bit(
    open_training: Open, tmp_path: Path, stop_at: int
) -> None:
    run(open_training("whole"))
    with pytest.raises(Interrupted):
        run(open_training("parts"), stop_at)
    parts = open_training("parts", resume=True)
    assert parts.progress.step == stop_at
    run(parts)
    files = [load_file(tmp_path / name / "model.safetensors") for name in ("whole", "parts")]
    assert all(torch.equal(files[0][name], files[1][name]) for name in files[0])
    lines = [(tmp_path / n / "training/metrics.jsonl").read_text() for n in ("whole", "parts")]
    assert lines[0] == lines[1]


def test_a_part_that_gets_no_better_ends_and_the_next_begins(open_training: Open) -> None:
    session = open_training(steps=20, every=1, patience=1, rate=1e-8)
    display = Quiet()
    session.progress.best_loss = -1.0  # nothing will be better
    session.best = {name: weight.detach().clone() for name, weight in session.parameters.items()}
    train(session, display, display.stop)
    assert [line.split(":")[0] for line in display.lines if line.startswith("part")] == [
        "part 1 of 3, see",
        "part 2 of 3, read",
        "part 3 of 3, judge",
    ]
    assert session.progress.part == 2 and session.progress.step < 20


def test_each_part_teaches_what_it_says(open_training: Open) -> None:
    session = open_training()
    taught = []
    for number in range(3):
        session.progress.part = number
        losses, _ = lesson(session, session.examples[:4], 0)
        losses.sum().backward()
        names = [name for name, weight in session.parameters.items() if weight.grad is not None]
        kinds = ("visual", "language_model", "heads.cells", "heads.ends")
        taught.append({kind for kind in kinds if any(kind in name for name in names)})
        for weight in session.parameters.values():
            weight.grad = None
    assert taught == [
        {"visual", "heads.cells"},
        {"language_model", "heads.ends"},
        {"visual", "language_model", "heads.cells", "heads.ends"},
    ]


def test_fewer_answers_together_give_the_same_step(open_training: Open) -> None:
    found = []
    for name, together in (("one", 1), ("all", 8)):
        session = open_training(name, together=together, batch=8)
        session.progress.part = 2
        loss, norm, _ = update(session, draw_batch(session.examples, 0, 8, 0))
        found.append((loss, norm))
    assert found[0] == pytest.approx(found[1], rel=1e-4)


def test_both_pictures_of_a_pair_vary_alike(open_training: Open) -> None:
    session = open_training()
    pair = session.examples[0].pair
    plain = session.shelf.levels(pair)
    first, second = VariedShelf(session.shelf, (1, 2), 0).levels(pair)
    again = VariedShelf(session.shelf, (1, 2), 0).levels(pair)
    other = VariedShelf(session.shelf, (1, 2), 1).levels(pair)
    assert torch.equal(first, again[0]) and not torch.equal(first, other[0])
    assert first.shape == plain[0].shape and 0 <= float(first.min()) <= float(first.max()) <= 255
    was = float(plain[0].float().mean() - plain[1].float().mean())
    assert was * float(first.mean() - second.mean()) > 0


def test_the_heads_look_for_the_words_of_a_question(open_training: Open, tmp_path: Path) -> None:
    session = open_training()
    assert all(example.words is None for example in session.examples)
    row = json.loads((tmp_path / "pairs.jsonl").read_text().splitlines()[0])
    row |= {"winner": {"text-alignment": "first"}, "prompt": "a lemon"}
    file = tmp_path / "words.jsonl"
    file.write_text(json.dumps(row) + "\n")
    (lemon,) = make_examples(read_pairs(file, session.registry), session.registry)
    assert lemon.words == "a lemon"
    heads = TeachingHeads([lemon.cell], session.judge.processor.tokenizer, 32, 2, seed=0)
    looks = look(session.judge, [lemon, lemon], session.shelf)
    for words, alike in (("a lemon", True), ("a panda", False)):
        one, other = heads.seen([lemon, replace(lemon, words=words)], looks).tolist()
        assert (one == pytest.approx(other)) == alike


def test_parts_share_the_steps() -> None:
    assert [part.steps for part in from_scratch(100)] == [40, 20, 40]
    assert [part.steps for part in from_scratch(1)] == [1, 1, 1]


def test_random_weights_take_no_adapter(open_training: Open, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="--method lora: random weights leave nothing to adapt"):
        open_training(method="lora")
    assert not (tmp_path / "judge").exists()

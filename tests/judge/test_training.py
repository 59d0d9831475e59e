from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import Qwen2_5_VLForConditionalGeneration

from onefill.checkpoint import read_last_checkpoint
from onefill.errors import BadInput, OnefillError
from onefill.interrupt import Interrupted, StopRequest
from onefill.judge.accuracy import known
from onefill.judge.asking import logits_of_pairs
from onefill.judge.loading import load_judge
from onefill.judge.pairs_file import read_pairs
from onefill.judge.training.examples import draw_batch, make_examples
from onefill.judge.training.loop import train, update
from onefill.judge.training.loss import eq3, look, read
from onefill.judge.training.session import TrainingSession
from onefill.judge.training.weights import add_adapter, plain_weights
from onefill.pocket.judge.untrained import new_judge
from onefill.tasks.registry import load_tasks

from .quiet import Quiet, open_quietly, run

Write = Callable[..., Path]
Open = Callable[..., TrainingSession]


@pytest.fixture
def open_training(write_pairs: Write, judge_folder: Path, tmp_path: Path) -> Open:
    """A new session on 24 pairs with the random tiny judge, in tmp_path/NAME."""
    pairs = write_pairs()

    def call(name: str = "judge", *, resume: bool = False, **changes: Any) -> TrainingSession:
        asked: dict[str, Any] = {
            "pairs": (str(pairs),),
            "base": str(judge_folder),
            "every": 3,
            **changes,
        }
        return open_quietly(tmp_path / name, new_judge, resume=resume, **asked)

    return call


def test_eq3_is_the_papers_formula_with_both_orders() -> None:
    yes_in_front, yes_behind = 0.7, 0.2
    logit = [math.log(p / (1 - p)) for p in (yes_in_front, yes_behind)]
    wanted = -0.5 * (math.log(yes_in_front) + math.log(1 - yes_behind))
    forward, backward = torch.tensor([logit[0], logit[1]]), torch.tensor([logit[1], logit[0]])
    found = eq3(forward, backward, torch.tensor([1.0, 0.0]))
    assert found.tolist() == pytest.approx([wanted, wanted])


def test_a_tie_asks_for_one_half_in_both_orders() -> None:
    logits = torch.tensor([0.4, -0.2], requires_grad=True)
    eq3(logits[:1], logits[1:], torch.tensor([0.5])).sum().backward()
    assert logits.grad is not None
    assert (logits.grad.sign() == logits.sign()).all()
    even = torch.zeros(1)
    assert eq3(even, even, torch.tensor([0.5])).item() == pytest.approx(math.log(2))


def test_training_asks_what_judging_asks(open_training: Open) -> None:
    session = open_training()
    pairs = [example.pair for example in session.examples][::2][:5]
    asked = list(logits_of_pairs(session.judge, pairs, session.registry))
    examples = make_examples(pairs, session.registry)
    found = read(session.judge, examples, look(session.judge, examples, session.shelf))
    assert found.forward.tolist() == pytest.approx([a.forward for a in asked], abs=1e-4)
    assert found.backward.tolist() == pytest.approx([a.backward for a in asked], abs=1e-4)


def test_an_epoch_takes_every_example_once_and_the_next_in_another_order() -> None:
    examples: Any = list(range(10))
    drawn = [e for step in range(5) for e in draw_batch(examples, step, 4, seed=1)]
    assert sorted(drawn[:10]) == sorted(drawn[10:]) == examples
    assert drawn[:10] != drawn[10:]
    assert draw_batch(examples, 3, 4, seed=1) == drawn[12:16]
    assert draw_batch(examples, 0, 4, seed=2) != drawn[:4]


def test_a_judge_learns_and_is_measured_calibrated_and_written(
    open_training: Open, tmp_path: Path
) -> None:
    summary = run(open_training(steps=60, every=20, batch=8, rate=1e-2))
    assert summary["overall"]["accuracy"]["rate"] >= 0.9
    assert set(summary["dimensions"]) == {"extend/aesthetics", "extend/structure"}
    out = tmp_path / "judge"
    assert not (out / "training" / "checkpoints").exists()
    card = json.loads((out / "onefill_judge.json").read_text())
    assert card["template"].startswith("Task: {task}. Dimension: {dimension}.")
    entry = card["dimensions"]["extend/aesthetics"]
    assert {"accuracy", "both_orders", "low", "high", "n", "temperature", "ece"} <= set(entry)
    judge = load_judge(str(out), device="cpu")
    assert judge.calibration == summary["temperatures"]
    page = (out / "report.html").read_text()
    assert "Worst mistakes" in page and "<svg" in page and "extend/structure" in page
    stock = Qwen2_5_VLForConditionalGeneration.from_pretrained(out, dtype=torch.float32)
    for name, tensor in judge.model.state_dict().items():
        assert torch.equal(tensor, stock.state_dict()[name]), name


@pytest.mark.parametrize("method", ["full", "lora"])
def test_what_is_written_answers_as_what_was_trained(
    open_training: Open, tmp_path: Path, method: str
) -> None:
    session = open_training(method=method, steps=4, every=2, rate=2e-2, lora_rank=4)
    before = logits_of(session, session.judge)
    session.progress.validated = 0  # as if the base had not been measured: it may be better
    run(session)
    assert session.progress.best_step > 0
    trained = logits_of(session, session.judge)
    written = logits_of(session, load_judge(str(tmp_path / "judge"), device="cpu"))
    assert written.keys() == trained.keys()
    for key, value in trained.items():
        assert written[key] == pytest.approx(value, abs=1e-4)
    assert any(abs(before[key] - value) > 1e-3 for key, value in trained.items())
    names = load_file(tmp_path / "judge" / "model.safetensors")
    assert not [name for name in names if "lora" in name or "base_layer" in name]


def logits_of(session: TrainingSession, judge: Any) -> dict[Any, float]:
    asked = logits_of_pairs(judge, session.validation, session.registry)
    return {(str(a.pair.first), a.dim): a.forward for a in asked}


def test_an_adapter_changes_nothing_at_first_and_freezes_the_rest(judge_folder: Path) -> None:
    judge = load_judge(str(judge_folder), device="cpu")
    before = {name: tensor.clone() for name, tensor in judge.model.state_dict().items()}
    parameters = add_adapter(judge.model, 4, seed=3)
    assert all("lora_" in name for name in parameters)
    assert any("visual" in name for name in parameters)
    after = plain_weights(judge.model)
    assert before.keys() == after.keys()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


@pytest.mark.parametrize("method", ["full", "lora"])
@pytest.mark.parametrize("stop_at", [1, 3, 4])
def test_a_resumed_training_is_the_uninterrupted_one_bit_for_bit(
    open_training: Open, tmp_path: Path, method: str, stop_at: int
) -> None:
    whole = open_training("whole", method=method)
    run(whole)
    with pytest.raises(Interrupted):
        run(open_training("parts", method=method), stop_at)
    assert not (tmp_path / "parts" / "config.json").exists()
    parts = open_training("parts", resume=True)
    assert parts.progress.step == stop_at
    run(parts)
    for name, tensor in whole.parameters.items():
        assert torch.equal(tensor, parts.parameters[name]), name
    one, two = whole.optimizer.tensors(), parts.optimizer.tensors()
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)
    files = [load_file(tmp_path / name / "model.safetensors") for name in ("whole", "parts")]
    assert all(torch.equal(files[0][name], files[1][name]) for name in files[0])
    lines = [(tmp_path / n / "training/metrics.jsonl").read_text() for n in ("whole", "parts")]
    assert lines[0] == lines[1]


def test_a_crash_goes_back_to_the_last_checkpoint(open_training: Open, tmp_path: Path) -> None:
    run(open_training("whole"))
    session = open_training("parts")

    class Crash(Quiet):
        def step(self, step: int, loss: float, right: Any) -> None:
            if step == 5:
                raise MemoryError

    with pytest.raises(MemoryError):
        train(session, Crash(), StopRequest())
    again = open_training("parts", resume=True)
    assert again.progress.step == 3
    run(again)
    files = [load_file(tmp_path / name / "model.safetensors") for name in ("whole", "parts")]
    assert all(torch.equal(files[0][name], files[1][name]) for name in files[0])


def test_stopping_during_a_validation_saves_the_step(open_training: Open, tmp_path: Path) -> None:
    class StopsThen(Quiet):
        def doing(self, text: str) -> None:
            self.stop.asked = text == "asking held-out pairs" and len(self.losses) == 3

    display = StopsThen()
    with pytest.raises(Interrupted):
        train(open_training(), display, display.stop)
    state = read_last_checkpoint(tmp_path / "judge/training/checkpoints").state
    assert (state["progress"]["step"], state["progress"]["validated"]) == (3, 0)
    run(open_training(resume=True))
    assert (tmp_path / "judge/config.json").exists()


def test_the_base_is_kept_when_training_only_harms(open_training: Open, tmp_path: Path) -> None:
    session = open_training(rate=0.9, steps=40, every=1, patience=2)
    base = {name: tensor.detach().clone() for name, tensor in session.parameters.items()}
    session.progress.best_loss = 0.0
    session.best = base
    display = Quiet()
    train(session, display, display.stop)
    assert session.progress.step < 40
    assert any("no better for 2 validations" in line for line in display.lines)
    written = load_judge(str(tmp_path / "judge"), device="cpu").model.state_dict()
    assert all(torch.equal(written[name], tensor) for name, tensor in base.items())


def test_fewer_answers_together_give_the_same_step(open_training: Open) -> None:
    found = []
    for name, together in (("one", 8), ("two", 3)):
        session = open_training(name, together=together, batch=8)
        batch = draw_batch(session.examples, 0, 8, 0)
        loss, norm, right = update(session, batch)
        found.append((loss, norm, len(right)))
    assert found[0] == pytest.approx(found[1], rel=1e-4)


def test_recomputing_activations_gives_the_same_gradient(open_training: Open) -> None:
    norms = []
    for name, recompute in (("plain", False), ("again", True)):
        session = open_training(name, recompute=recompute, method="lora")
        norms.append(update(session, draw_batch(session.examples, 0, 4, 0))[:2])
    assert norms[0] == pytest.approx(norms[1], rel=1e-4)


def test_a_loss_that_is_no_number_changes_no_weight(open_training: Open) -> None:
    session = open_training()
    with torch.no_grad():
        session.parameters["model.visual.merger.mlp.2.bias"].fill_(float("nan"))
    before = {n: p.detach().clone() for n, p in session.parameters.items() if "merger" not in n}
    with pytest.raises(OnefillError, match="no number"):
        update(session, session.examples[:2])
    assert all(torch.equal(session.parameters[name], was) for name, was in before.items())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "half"}, "--method half"),
        ({"validation_share": 1.5}, "--validation-share 1.5"),
        ({"rate": 0.0}, "--rate 0"),
        ({"batch": 0}, "--batch 0"),
        ({"sees": ("depth",)}, "--show depth"),
        ({"dtype": "bfloat16"}, "--dtype bfloat16"),
        ({"base": "nowhere"}, "--base nowhere"),
    ],
)
def test_what_cannot_be_trained_is_refused_and_nothing_written(
    open_training: Open, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        open_training(**changes)
    assert not (tmp_path / "judge").exists()


def test_a_damaged_picture_is_named_before_training_and_nothing_stays(
    open_training: Open, write_pairs: Write, tmp_path: Path
) -> None:
    session = open_training(validation=str(write_pairs("other.jsonl", 12, seed=5)))
    (tmp_path / "pictures" / "pairs-0-4a.png").write_bytes(b"no picture")
    with pytest.raises(BadInput, match=r"pairs\.jsonl line 5: .*pairs-0-4a\.png"):
        run(session)
    assert not (tmp_path / "judge").exists()


def test_validation_pairs_of_a_training_scene_are_refused(
    open_training: Open, write_pairs: Write, tmp_path: Path
) -> None:
    other = write_pairs("other.jsonl", 4, seed=9)
    rows = other.read_text().splitlines()
    rows.insert(2, (tmp_path / "pairs.jsonl").read_text().splitlines()[0])
    other.write_text("\n".join(rows))
    with pytest.raises(BadInput, match=r"--validation .*other\.jsonl line 3"):
        open_training(validation=str(other))


def test_changed_pairs_or_base_are_not_resumed(
    open_training: Open, tmp_path: Path, judge_folder: Path
) -> None:
    base = tmp_path / "base"
    shutil.copytree(judge_folder, base)
    with pytest.raises(Interrupted):
        run(open_training(base=str(base)), 1)
    from onefill.pocket.judge.architecture import write_random_judge

    write_random_judge(base, seed=8)
    with pytest.raises(BadInput, match="other weights"):
        open_training(resume=True)
    with (tmp_path / "pairs.jsonl").open("a") as file:
        file.write("\n")
    with pytest.raises(BadInput, match=r"pairs\.jsonl has changed"):
        open_training(resume=True)


def test_pairs_without_winners_teach_nothing(open_training: Open, write_pairs: Write) -> None:
    bare = write_pairs("bare.jsonl", 4, seed=3, winner={})
    assert known(read_pairs(bare, load_tasks())) == []
    with pytest.raises(BadInput, match=r"bare\.jsonl: no pair in it says who won"):
        open_training(pairs=(str(bare),))


def test_a_judge_trained_to_see_the_mask_says_so(open_training: Open, tmp_path: Path) -> None:
    run(open_training(sees=("mask",), steps=1, every=1))
    assert load_judge(str(tmp_path / "judge"), device="cpu").sees == ("mask",)

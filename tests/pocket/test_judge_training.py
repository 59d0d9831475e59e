from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import binary_cross_entropy_with_logits
from transformers import Qwen2_5_VLForConditionalGeneration

from onefill.errors import BadInput, OnefillError
from onefill.judge.preprocess import cut_patches
from onefill.judge.query import build_messages, build_query
from onefill.judge.saving import save_judge
from onefill.pocket.contests.cache import TASKS, Contests
from onefill.pocket.contests.pairs import ALIGNMENT, CELLS, DIMENSIONS, GAP, GRID, LABELS, NOTHING
from onefill.pocket.judge import card, training
from onefill.pocket.judge import second as second_judge
from onefill.pocket.judge.architecture import TowerSize
from onefill.pocket.judge.hardening import RADIUS, in_both_lights
from onefill.pocket.judge.reading import PairSource, reading_loss
from onefill.pocket.judge.second import SecondJudge, load_second_judge, train_second_judge
from onefill.pocket.judge.vision import contest_batch, vision_loss
from onefill.pocket.material import vocabulary
from onefill.pocket.material.scenes import SIZE
from onefill.pocket.material.sources import HELD_OUT, TRAIN
from onefill.pocket.scoring import perceptual
from onefill.pocket.training_plan import Length, Plan

TINY = TowerSize(layers=2, width=32, heads=2, feed_forward=48)


@pytest.fixture
def student() -> training.Student:
    return training.new_student(0, vision=TINY, text=TINY)


@pytest.fixture(scope="module")
def contests() -> Contests:
    """Contests whose damage anybody can see: the darker a picture, the worse in everything."""
    rng = np.random.default_rng(0)
    count = 48
    levels = rng.permuted(np.tile(np.array([0, 0.45, 0.5, 1.0], np.float32), (count, 1)), axis=1)
    noise = rng.uniform(0.9, 1, (count, 4, SIZE, SIZE, 3))
    pictures = (noise * (1 - 0.8 * levels)[..., None, None, None] * 255).astype(np.uint8)
    words = rng.integers(NOTHING, size=count)
    shown = np.where(levels < 1, words[:, None], NOTHING)
    return Contests(
        pictures=pictures,
        levels=np.repeat(levels[..., None], len(DIMENSIONS), -1),
        shown=shown,
        words=words,
        tasks=np.arange(count) % len(TASKS),
        harm=np.broadcast_to(
            levels[:, :, None, None, None], (count, 4, len(DIMENSIONS), GRID, GRID)
        ).astype(np.float16),
        covered=np.ones((count, 4, GRID, GRID), bool),
    )


def test_the_quick_forward_passes_equal_the_stock_model(student):
    model, tokenizer = student.model.eval(), student.tokenizer
    queries = [
        build_query(task, dimension, "straw hat")
        for task in student.tasks.values()
        for dimension in task.dimensions
    ]
    images = torch.randint(0, 256, (len(queries), 2, 3, SIZE, SIZE)).float()
    grid = torch.tensor([[1, 8, 8]] * 2)
    with torch.no_grad():
        tokens = student.tower(images.flatten(0, 1)).view(len(queries), 2, training.TOKENS, -1)
        answers, _ = student.reader(queries, tokens)
        for index, query in enumerate(queries):
            text = tokenizer.apply_chat_template(
                build_messages(query), tokenize=False, add_generation_prompt=True
            )
            image = "<|image_pad|>"
            ids = tokenizer(text.replace(image, image * training.TOKENS), return_tensors="pt")
            patches, _ = cut_patches(images[index], student.tower.recipe)
            logits = model(
                **ids,
                pixel_values=patches,
                image_grid_thw=grid,
                mm_token_type_ids=(ids.input_ids == model.config.image_token_id).int(),
            ).logits[0, -1]
            yes, no = (tokenizer.encode(answer)[0] for answer in ("Yes", "No"))
            assert answers[index].item() == pytest.approx(
                (logits[yes] - logits[no]).item(), abs=1e-4
            )


def test_pairs_cut_from_contests_have_the_right_winner(student, contests):
    source = PairSource(contests, student.tasks)
    pairs = source.draw(400, np.random.default_rng(0))
    rows, places = pairs.contests.numpy(), pairs.places.numpy()
    assert 0.4 < pairs.first_better.mean() < 0.6
    assert set(pairs.cells) == {f"{task}/{dimension}" for task, dimension in CELLS}
    for index, cell in enumerate(pairs.cells):
        task, _, dimension = cell.partition("/")
        assert {TASKS[t] for t in contests.tasks[rows[index]]} == {task}
        column = DIMENSIONS.index(dimension)
        better = 0 if pairs.first_better[index] else 1
        levels = contests.levels[rows[index], places[index], column]
        word = int(pairs.words[index])
        if dimension == ALIGNMENT:
            shown = contests.shown[rows[index], places[index]]
            assert shown[better] == word
            assert shown[1 - better] != word or levels[1 - better] - levels[better] >= GAP - 1e-6
            typed = pairs.queries[index].rpartition("Prompt: ")[2].rstrip(".")
            assert vocabulary.asked_for(typed) == LABELS[word]
        else:
            assert levels[1 - better] - levels[better] >= GAP - 1e-6
            assert "Prompt:" not in pairs.queries[index]


def test_a_cell_s_annotations_lie_where_its_pixels_do(student, contests):
    head, tokens = student.cell_head, torch.zeros(1, training.TOKENS, TINY.width)
    tokens[0, 6] = torch.randn(TINY.width)  # second row, third column of four by four
    damage, labels = head(tokens)
    moved = (damage != head(torch.zeros_like(tokens))[0]).any(-1)[0]
    assert moved[2:4, 4:6].any() and moved.sum() == moved[2:4, 4:6].sum()
    assert labels.shape == (1, GRID, GRID, len(LABELS))

    contests.harm[:, :, :, :, 4:] = 0  # only the left half is damaged
    batch = contest_batch(contests, np.arange(len(contests)), np.random.default_rng(3))
    left, right = (
        batch["harm"][..., :4].mean((1, 2, 3, 4)),
        batch["harm"][..., 4:].mean((1, 2, 3, 4)),
    )
    text = torch.from_numpy(contests.tasks == TASKS.index("text"))
    assert (right[text] == 0).all() and (left[text] > 0).all()
    assert ((left == 0) != (right == 0))[~text].all() and (left[~text] == 0).any()


def losses(student: training.Student, contests: Contests) -> tuple[float, float]:
    """Of the vision heads' comparisons and of the answers, on always the same batch."""
    rng = np.random.default_rng(9)
    with torch.no_grad():
        batch = contest_batch(contests, np.arange(len(contests)), rng)
        tokens = student.tower(batch["pictures"].flatten(0, 1)).unflatten(0, (len(contests), 4))
        seen = vision_loss(tokens, student.vision_heads, student.cell_head, batch)["pairs"]
        pairs = PairSource(contests, student.tasks).draw(200, rng)
        answers, _ = student.reader(pairs.queries, tokens[pairs.contests, pairs.places])
        judged = binary_cross_entropy_with_logits(answers, pairs.first_better)
    return seen.item(), judged.item()


def test_a_short_training_lowers_the_losses_and_goes_on(student, contests, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "load_perceptual", lambda _: lambda a, b: (a - b).abs().mean(1))
    said: list[str] = []

    def steps(count: int) -> Plan:
        return Plan(tmp_path, Length(steps=count), seed=0, log=said.append)

    start = losses(student, contests)
    training.see(student, contests, contests, steps(80))
    seeing = losses(student, contests)
    assert seeing[0] < 0.8 * start[0]
    training.read(student, contests, contests, steps(110))
    training.together(student, contests, contests, steps(50))
    assert losses(student, contests)[1] < 0.9 * seeing[1]
    training.harden(student, contests, contests, steps(4))
    assert [line.split()[1] for line in said] == ["sees", "reads", "judges", "withstands"]

    # All steps are done: a second run takes up the state and trains no more.
    again = training.new_student(1, vision=TINY, text=TINY)
    training.harden(again, contests, contests, steps(4))
    for name, module in student.modules().items():
        for key, value in module.state_dict().items():
            assert torch.equal(value, again.modules()[name].state_dict()[key]), (name, key)


def test_a_judge_that_knows_every_word_goes_on_by_sight_alone(contests, tmp_path, monkeypatch):
    small = partial(training.new_student, vision=TINY, text=TINY)
    begun = small(3)
    processor = training.build_image_processor()
    save_judge(tmp_path / "begun", begun.model, begun.tokenizer, processor, {"facts": {}})
    monkeypatch.setattr(training, "new_student", small)
    monkeypatch.setattr(training, "load_perceptual", lambda *_: lambda a, b: (a - b).abs().mean(1))
    for load in ("load_contests", "load_painted"):
        monkeypatch.setattr(training, load, lambda *_: contests)
    trained = []

    def save(model, _, folder, *__):
        trained.append(model)
        folder.mkdir()

    monkeypatch.setattr(card, "save_measured", save)
    plan = Plan(tmp_path / "cache", Length(steps=8), seed=0, log=lambda _: None)
    training.build(tmp_path / "out", plan, tmp_path / "begun")
    for name, weight in begun.model.named_parameters():
        same = torch.equal(weight, trained[0].get_parameter(name))
        assert same == (".visual." not in name), name


def test_weights_of_few_bits_are_loaded_by_the_stock_model(student, tmp_path):
    kept = {name: weight.clone() for name, weight in student.model.state_dict().items()}
    weights = card.on_disk(student.model)
    processor = training.build_image_processor()
    save_judge(
        tmp_path, student.model, student.tokenizer, processor, {}, dtype=None, weights=weights
    )
    stock = Qwen2_5_VLForConditionalGeneration.from_pretrained(tmp_path, dtype=torch.float32)
    assert stock.lm_head.weight is stock.get_input_embeddings().weight
    for name, weight in student.model.named_parameters():
        assert torch.equal(weight, kept[name])
        loaded = stock.get_parameter(name)
        # Half of the last bit that is kept, and of the smallest number but zero.
        assert ((loaded - weight).abs() <= (weight.abs() * 2**-4).clamp(min=2**-10)).all(), name
    matrices = sum(w.numel() for w in student.model.parameters() if w.ndim > 1)
    assert (tmp_path / "model.safetensors").stat().st_size < 1.2 * matrices


def test_pictures_are_moved_against_the_model_within_their_bound():
    weight = torch.tensor(0.5, requires_grad=True)
    pictures = torch.full((3, 4, 3, 8, 8), 128.0)
    seen: list[torch.Tensor] = []

    def losses_of(shown: torch.Tensor) -> dict[str, torch.Tensor]:
        seen.append(shown.detach())
        return {"dark": -weight * shown.mean(), "other": weight * 0}

    losses = in_both_lights(pictures, losses_of, {"dark": 2.0}, np.random.default_rng(0))
    begun, moved = seen
    assert weight.grad is not None and weight.grad.item() == pytest.approx(-2 * begun.mean().item())
    assert losses["dark"] > -weight * begun.mean()  # darker still: the loss is made to rise
    for contest in range(3):
        change = (moved[contest] - 128).abs().max()
        assert 0 < change <= RADIUS
        assert (begun[contest] - 128).abs().max() <= change + 1e-4


def test_the_second_judge_is_antisymmetric_and_comes_back_from_disk(tmp_path):
    torch.manual_seed(0)
    judge = SecondJudge()
    save_file({n: v.half().contiguous() for n, v in judge.state_dict().items()}, tmp_path / "w")
    loaded = load_second_judge(tmp_path / "w")
    first, second = torch.rand(2, 4, 3, SIZE, SIZE) * 255
    columns, words = torch.tensor([0, 1, 2, 3]), torch.tensor([0, 5, 9, 3])
    one = loaded.prob_first_better(first, second, columns, words)
    other = loaded.prob_first_better(second, first, columns, words)
    assert torch.allclose(one + other, torch.ones(4), atol=1e-5)
    assert torch.allclose(one, judge.prob_first_better(first, second, columns, words), atol=1e-2)


def test_the_second_judge_is_trained_into_a_new_folder(contests, tmp_path, monkeypatch):
    asked = []

    def load(what: str, split: object, count: int, seed: int, *_: object, **__: object) -> Contests:
        asked.append((what, split, seed))
        return contests

    for what in ("contests", "painted"):
        monkeypatch.setattr(second_judge, f"load_{what}", partial(load, what))
    monkeypatch.setattr(second_judge, "load_perceptual", lambda _: None)
    # Neither the folder nor the one above it is there yet.
    weights = tmp_path / "pocket" / "weights" / "second_judge.safetensors"
    lines: list[str] = []
    train_second_judge(weights, Plan(tmp_path, Length(steps=2), 0, lines.append))
    load_second_judge(weights)
    # Not the scenes that the judge learns from, and none that is held out but to measure by.
    assert asked == [("contests", TRAIN, 2), ("painted", TRAIN, 2), ("contests", HELD_OUT, 0)]
    assert [file.name for file in weights.parent.iterdir()] == [weights.name]
    assert "step 2," in lines[-1]
    assert "names" in lines[-1]


def _give_second_judge(contests: Contests, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it learns from; nothing is painted, so nothing needs the package of LPIPS."""
    monkeypatch.setattr(second_judge, "load_contests", lambda *_: contests)
    monkeypatch.setattr(second_judge, "load_painted", lambda *_, **__: contests)
    monkeypatch.setattr(second_judge, "load_perceptual", lambda _: None)


def test_a_second_judge_says_what_is_missing_before_anything_is_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr(perceptual, "_PACKAGE", "no_such_package")
    perceptual.load_perceptual.cache_clear()
    plan = Plan(tmp_path / "cache", Length(steps=1), 0, str)
    with pytest.raises(BadInput, match=r"stlpips-pytorch"):
        train_second_judge(tmp_path / "weights", plan)
    assert not list(tmp_path.iterdir())


def test_a_second_judge_that_was_stopped_goes_on(contests, tmp_path, monkeypatch):
    _give_second_judge(contests, monkeypatch)
    weights, lines = tmp_path / "second_judge.safetensors", []
    plan = Plan(tmp_path, Length(steps=2), 0, lines.append)
    train_second_judge(weights, plan)
    before = load_file(weights)
    train_second_judge(weights, plan)  # nothing is left to do
    assert all(torch.equal(value, before[name]) for name, value in load_file(weights).items())
    train_second_judge(weights, replace(plan, length=Length(steps=4)))
    assert [line.split("step ")[1].split(",")[0] for line in lines] == ["2", "4"]


def test_a_second_judge_begins_from_another(contests, tmp_path, monkeypatch):
    _give_second_judge(contests, monkeypatch)
    torch.manual_seed(7)
    first, begun = tmp_path / "first.safetensors", tmp_path / "begun.safetensors"
    halves = {n: v.half().contiguous() for n, v in SecondJudge().state_dict().items()}
    save_file(halves, first)
    train_second_judge(begun, Plan(tmp_path, Length(steps=1), 0, str), begin=first)
    change = [(v.float() - halves[n].float()).abs().max() for n, v in load_file(begun).items()]
    assert 0 < max(change) < 0.005  # one step of AdamW is no wider than its rate
    with pytest.raises(OnefillError, match=r"--begin .*: holds no second judge"):
        train_second_judge(begun, Plan(tmp_path, Length(steps=1), 0, str), tmp_path / "none")


@pytest.mark.parametrize("runs", [0, 2])
def test_a_judge_sees_what_the_policy_and_given_runs_paint(
    runs, student, contests, tmp_path, monkeypatch
):
    seen: dict[str, int] = {}
    lengths: dict[str, Length] = {}
    painters: list[object] = []

    def part(name: str) -> Callable[..., None]:
        def see(student: object, contests: Contests, held_out: Contests, plan: Plan) -> None:
            seen[name] = len(contests)
            lengths[name] = plan.length

        see.__name__ = name
        return see

    def paint(*given: object) -> Contests:
        painters.append(given[-2])
        return contests.select(slice(6))

    def save(model: object, tokenizer: object, folder: Path, *_: object) -> None:
        folder.mkdir()

    for name in ("see", "read", "together", "harden"):
        monkeypatch.setattr(training, name, part(name))
    monkeypatch.setattr(training, "new_student", lambda seed: student)
    monkeypatch.setattr(training, "load_contests", lambda *_: contests)
    monkeypatch.setattr(training, "load_painted", paint)
    monkeypatch.setattr(training, "load_perceptual", lambda _: None)
    monkeypatch.setattr(card, "save_measured", save)
    against = [tmp_path / f"run-{number}" for number in range(runs)]
    plan = Plan(tmp_path, Length(minutes=61), 0, lambda line: None)
    training.build(tmp_path / "judge", plan, against=against)
    # What is slow to make is shown again and again.
    expected = len(contests) + 3 * 6
    assert seen == dict.fromkeys(("see", "read", "together", "harden"), expected)
    assert painters == [against]
    assert sum(length.minutes or 0 for length in lengths.values()) == pytest.approx(61)
    assert (tmp_path / "judge").is_dir()


def test_pairs_are_asked_in_both_orders_and_a_judge_of_two_minds_pays_for_it(student, contests):
    pairs = PairSource(contests, student.tasks).draw(12, np.random.default_rng(0))
    both = pairs.in_both_orders()
    assert both.queries == pairs.queries * 2
    assert torch.equal(both.contests[12:], pairs.contests.flip(1))
    assert torch.equal(both.places[12:], pairs.places.flip(1))
    assert torch.equal(both.first_better[12:], 1 - pairs.first_better)
    ends, teacher = [torch.zeros(24, 2, 32)], torch.zeros(24, 2)

    def orders(answer: torch.Tensor) -> float:
        return reading_loss(answer, ends, student.reading_heads, both, teacher)["orders"].item()

    said = torch.randn(12, generator=torch.Generator().manual_seed(0))
    assert orders(torch.cat([said, -said])) == 0
    assert orders(torch.cat([said, said])) > 0.1  # always the first, whichever that is

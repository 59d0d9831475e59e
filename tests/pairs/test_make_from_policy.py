from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from onefill.judge.pairs_file import read_pairs
from onefill.tasks.registry import load_tasks

from .conftest import contents, pixels, read_rows


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    from onefill.pocket.judge.architecture import write_random_judge
    from onefill.pocket.policy.architecture import write_random_policy

    folder = tmp_path_factory.mktemp("models")
    write_random_policy(folder / "policy", seed=3)
    write_random_judge(folder / "judge", seed=7)
    return folder


@pytest.fixture
def make(cli, models, photos, tmp_path):
    def run(out, *arguments, judge=True, tasks="removal"):
        asked = ["--judge", models / "judge", "--margin", 0] if judge else ["--unlabelled"]
        return cli(
            "pairs", "make", "--from", "policy", "--model", models / "policy", "--data", photos,
            "--tasks", tasks, "--batch", 2, "--out", tmp_path / out, *asked, *arguments,
        )  # fmt: skip

    return run


def test_best_against_worst_by_the_judge(make, tmp_path, models):
    made = make("out", "--count", 4, "--candidates", 3)
    assert made.code == 0, made.stderr
    pairs = read_pairs(tmp_path / "out" / "pairs.jsonl", load_tasks())
    assert len(pairs) == 4
    from onefill.images import read_image
    from onefill.judge.loading import load_judge
    from onefill.judge.verdict import ask

    judge, task = load_judge(str(models / "judge")), load_tasks().get("removal")
    for pair in pairs:
        one, two = read_image(pair.first), read_image(pair.second)
        (verdict,) = ask(judge, one, two, task, task.dimensions, pair.prompt)
        better = "first" if verdict.p_first > 0.5 else "second"
        assert pair.winner == {"removal-quality": better}
        sure = abs(2 * verdict.p_first - 1)
        assert pair.strength["removal-quality"] == pytest.approx(sure, abs=2e-3)
        sampled = pair.row["sampled"]
        assert sampled["first"] != sampled["second"]
        assert set(sampled["first"]) == {"steps", "guidance", "negative", "strength", "noise"}


def test_the_policy_paints_in_the_mask_alone(make, tmp_path):
    make("out", "--count", 2, "--candidates", 2)
    for row in read_rows(tmp_path / "out"):
        folder = tmp_path / "out"
        kept = pixels(folder / row["mask"])[..., 0] == 0
        source, first, second = (pixels(folder / row[k]) for k in ("source", "first", "second"))
        assert np.array_equal(first[kept], source[kept])
        assert np.array_equal(second[kept], source[kept])
        assert not np.array_equal(first, second)


def test_unlabelled_pairs_are_every_two_candidates(make, tmp_path):
    made = make("out", "--count", 6, "--candidates", 4, judge=False)
    assert made.code == 0, made.stderr
    rows = read_rows(tmp_path / "out")
    assert len(rows) == 6
    assert not any("winner" in row or "strength" in row for row in rows)
    shown = {frozenset((row["first"], row["second"])) for row in rows}
    files = {row[key] for row in rows for key in ("first", "second")}
    assert shown == {frozenset(two) for two in combinations(sorted(files), 2)}
    assert not (tmp_path / "out" / "pictures" / "000001-source.webp").exists()


def test_resumed_is_the_same_as_in_one_go(make, tmp_path):
    for out, counts in (("whole", (5,)), ("parts", (2, 5))):
        for count in counts:
            assert make(out, "--count", count, "--candidates", 2).code == 0
    assert contents(tmp_path / "whole") == contents(tmp_path / "parts")
    rows = read_rows(tmp_path / "whole")
    assert [row["number"] for row in rows] == sorted({row["number"] for row in rows})


def test_a_sure_judge_is_waited_for_in_vain_only_so_long(make, monkeypatch):
    monkeypatch.setattr("onefill.pairs.from_policy._IN_VAIN", 4)
    refused = make("out", "--count", 4, "--candidates", 2, "--margin", 0.5)
    assert refused.code == 1
    assert "lower --margin" in refused.stderr


def test_recipes_are_the_policys_own_first_and_differ():
    from onefill.pairs.candidates import draw_recipes
    from onefill.policy.settings import PolicySettings

    settings = PolicySettings(
        steps=16, guidance=3, negative_prompt="bad", vocabulary=("cat", "hat")
    )
    drawn = [
        recipe
        for seed in range(20)
        for recipe in draw_recipes(settings, "fill", 6, ("ugly",), np.random.default_rng(seed))
    ]
    own = drawn[0]
    assert (own.steps, own.guidance, own.negative, own.noise) == (16, 3, "bad", 1.0)
    assert {recipe.negative for recipe in drawn} == {"bad", "", "ugly", "cat", "hat"}
    assert {recipe.steps for recipe in drawn} == {16, 8, 4}
    assert min(r.guidance for r in drawn) == 1 and max(r.guidance for r in drawn) > 3
    assert all(0.9 <= recipe.noise <= 1.1 for recipe in drawn)
    assert len(set(draw_recipes(settings, "fill", 20, (), np.random.default_rng(0)))) == 20


def test_recipes_of_a_task_begin_and_step_as_an_edit_of_it():
    from onefill.pairs.candidates import draw_recipes
    from onefill.policy.settings import PolicySettings

    settings = PolicySettings(steps=16, task_steps={"removal": 4}, strength={"removal": 0.8})
    for task, steps, strength in (("removal", {4, 2, 1}, 0.8), ("fill", {16, 8, 4}, 1.0)):
        drawn = draw_recipes(settings, task, 30, (), np.random.default_rng(1))
        assert (drawn[0].steps, drawn[0].strength) == (max(steps), strength)
        assert {recipe.steps for recipe in drawn} == steps
        assert {recipe.strength for recipe in drawn} == {strength}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model", "nowhere"], "--model nowhere"),
        (["--judge", "nowhere"], "--judge nowhere"),
        (["--candidates", "1"], "--candidates"),
        (["--fonts", "a.ttf"], "--fonts: has no meaning with --from policy"),
        (["--device", "abacus"], "--device abacus"),
        (["--unlabelled"], "--judge: has no meaning with --unlabelled"),
    ],
)
def test_bad_input_writes_nothing(make, tmp_path, arguments, said):
    refused = make("out", *arguments)
    assert refused.code == 2
    assert said in refused.stderr
    assert not (tmp_path / "out").exists()

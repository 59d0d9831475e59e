from __future__ import annotations

import math
from pathlib import Path

import pytest

from onefill.judge.accuracy import (
    Answer,
    accuracy_table,
    answers,
    cross_calibrated,
    known,
    temperatures,
    wilson,
)
from onefill.judge.asking import PairLogits
from onefill.judge.pair import PreferencePair


def make_pair(scene: str = "a", strength: float | None = None, **winner: str) -> PreferencePair:
    return PreferencePair(
        first=Path("a.png"),
        second=Path("b.png"),
        task="fill",
        prompt=None,
        source=None,
        mask=None,
        dims=("structure", "aesthetics"),
        winner=winner,
        strength={} if strength is None else dict.fromkeys(winner, strength),
        scene=scene,
        line=1,
        row={},
    )


def answer(
    forward: float,
    backward: float,
    winner: str = "first",
    *,
    scene: str = "a",
    strength: float | None = None,
    temperature: float = 1.0,
    dim: str = "structure",
) -> Answer:
    pair = make_pair(scene, strength, **{dim: winner})
    return Answer(PairLogits(pair, dim, forward, backward), winner, temperature)


def test_both_orders_together_and_each_alone() -> None:
    rows = [
        answer(2.0, -2.0),  # right both ways
        answer(2.0, 1.0),  # favours the first place; together right, alone half
        answer(-1.0, 2.0),  # wrong together
        answer(-2.0, 2.0, "second"),
    ]
    cell = accuracy_table(rows).cells["fill/structure"]
    assert cell.accuracy.rate == pytest.approx(3 / 4)
    assert cell.one_order == pytest.approx((1 + 0.5 + 0 + 1) / 4)
    assert cell.first_place == pytest.approx((0.5 + 1 + 0.5 + 0.5) / 4)
    assert (cell.accuracy.low, cell.accuracy.high) == pytest.approx(wilson(3, 4))


def test_order_gap_is_that_of_a_verdict() -> None:
    def p(logit: float) -> float:
        return 1 / (1 + math.exp(-logit))

    row = answer(2.0, 1.0, temperature=2.0)
    assert row.order_gap == pytest.approx(abs(p(1.0) - p(-0.5)))
    assert row.p_first == pytest.approx(p((2.0 - 1.0) / 2 / 2.0))


def test_ties_are_counted_and_left_out() -> None:
    cell = accuracy_table([answer(3.0, -3.0), answer(3.0, -3.0, "tie")]).overall
    assert (cell.accuracy.n, cell.accuracy.rate, cell.ties) == (1, 1.0, 1)
    assert accuracy_table([answer(1.0, 0.0, "tie")]).overall.accuracy.n == 0


def test_an_undecided_judge_is_half_right() -> None:
    assert accuracy_table([answer(0.5, 0.5)]).overall.accuracy.rate == 0.5


def test_accuracy_by_strength_has_every_decided_pair_once() -> None:
    rows = [answer(1.0 if s > 0.5 else -1.0, 0.0, strength=s) for s in (0.0, 0.19, 0.2, 0.8, 1.0)]
    found = accuracy_table(rows).overall.by_strength
    assert [(low, high, share.n, share.rate) for low, high, share in found] == [
        (0.0, 0.2, 2, 0.0),
        (0.2, 0.4, 1, 0.0),
        (0.8, 1.0, 2, 1.0),
    ]
    assert accuracy_table([answer(1.0, 0.0)]).overall.by_strength == []


def test_the_mean_counts_every_cell_alike() -> None:
    rows = [answer(1.0, 0.0)] * 9 + [answer(-1.0, 0.0, dim="aesthetics")]
    table = accuracy_table(rows)
    assert table.overall.accuracy.rate == pytest.approx(0.9)
    assert table.mean == pytest.approx(0.5)


def test_only_labelled_dimensions_are_asked() -> None:
    labelled, bare = make_pair(structure="tie"), make_pair()
    (found,) = known([labelled, bare])
    assert found.dims == ("structure",)


def test_answers_take_the_judges_temperature() -> None:
    logits = [PairLogits(make_pair(structure="second"), "structure", 1.0, 0.0)]
    (row,) = answers(logits, {"fill/structure": 3.0})
    assert (row.temperature, row.winner, row.cell) == (3.0, "second", "fill/structure")


def overconfident(scenes: int) -> list[Answer]:
    """Logits of 4 (98 %) that are right in three of four, over many scenes."""
    return [
        answer(4.0, -4.0, "first" if index % 4 else "second", scene=f"{index // 4:04d}")
        for index in range(4 * scenes)
    ]


def test_calibrated_across_scenes_the_error_falls() -> None:
    rows = overconfident(40)
    before = accuracy_table(rows).overall.ece
    after = accuracy_table(cross_calibrated(rows)).overall.ece
    assert before == pytest.approx(1 / (1 + math.exp(-4)) - 0.75, abs=1e-6)
    assert after < 0.02
    assert temperatures(rows)["fill/structure"] == pytest.approx(4 / math.log(3), rel=0.03)


def test_each_half_is_shown_under_the_other_halfs_temperature() -> None:
    sure = [answer(4.0, -4.0, scene=f"{i:03d}") for i in range(0, 60, 2)]
    wrong = [answer(4.0, -4.0, "second", scene=f"{i:03d}") for i in range(1, 60, 2)]
    crossed = cross_calibrated([*sure, *wrong])
    assert all(row.temperature == pytest.approx(20.0) for row in crossed[:30])
    assert all(row.temperature == pytest.approx(0.2) for row in crossed[30:])


def test_ties_do_not_heat() -> None:
    rows = overconfident(40)
    ties = [answer(9.0, -9.0, "tie", scene="zz")] * 50
    assert temperatures([*rows, *ties]) == temperatures(rows)

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onefill.judge.ranking import MOST_PAIRS, Duel, choose_pairs, rank


def duels_of(scores: list[float], pairs: list[tuple[int, int]]) -> list[Duel]:
    return [Duel(i, j, 1 / (1 + math.exp(scores[j] - scores[i]))) for i, j in pairs]


def test_scores_behind_the_answers_are_found_again() -> None:
    true = [0.3, -1.2, 0.9, 0.0, -0.4]
    places = rank(5, duels_of(true, choose_pairs(5, 0)))
    assert [place.index for place in places] == [2, 0, 3, 4, 1]
    assert [place.rank for place in places] == [1, 2, 3, 4, 5]
    middle = sum(true) / 5
    for place in places:
        assert place.score == pytest.approx(true[place.index] - middle, abs=0.03)
        assert place.low < place.score < place.high


def test_pictures_of_the_same_score_share_a_rank_and_keep_their_order() -> None:
    pairs = [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]
    places = rank(4, duels_of([0.0, 1.0, 0.0, 1.0], pairs))
    assert [(place.index, place.rank) for place in places] == [(1, 1), (3, 1), (0, 3), (2, 3)]


@pytest.mark.parametrize("p", [0.0, 1.0, 1e-300])
def test_a_picture_that_always_wins_gets_a_finite_score(p: float) -> None:
    places = rank(3, [Duel(0, 1, p), Duel(0, 2, p), Duel(1, 2, p)])
    assert [place.index for place in places] == ([0, 1, 2] if p == 1 else [2, 1, 0])
    assert all(math.isfinite(value) for x in places for value in (x.score, x.low, x.high))


@given(st.lists(st.floats(0, 1), min_size=15, max_size=15))
def test_any_answers_converge_to_the_optimum(answers: list[float]) -> None:
    pairs = choose_pairs(6, 0)
    places = rank(6, [Duel(i, j, p) for (i, j), p in zip(pairs, answers, strict=True)])
    scores = {place.index: place.score for place in places}
    assert sum(scores.values()) == pytest.approx(0, abs=1e-6)
    for picture in range(6):
        pull = 0.01 * scores[picture]
        for (i, j), p in zip(pairs, answers, strict=True):
            expected = 1 / (1 + math.exp(scores[j] - scores[i]))
            pull += (expected - p) * ((picture == i) - (picture == j))
        assert pull == pytest.approx(0, abs=1e-3)


def noisy(true: np.ndarray, pairs: list[tuple[int, int]], rng: np.random.Generator) -> list[Duel]:
    """Answers of a judge whose logits are off by as much as 0.5."""
    return [
        Duel(i, j, 1 / (1 + math.exp(true[j] - true[i] + rng.normal(0, 0.5)))) for i, j in pairs
    ]


def test_more_pairs_give_narrower_intervals() -> None:
    rng = np.random.default_rng(1)
    true = np.zeros(12)
    few, many = [], []
    for _ in range(30):
        ring = [(i, (i + 1) % 12) for i in range(12)]
        few += [place.high - place.low for place in rank(12, noisy(true, ring, rng))]
        many += [
            place.high - place.low for place in rank(12, noisy(true, choose_pairs(12, 0), rng))
        ]
    assert np.median(many) < 0.5 * np.median(few)


def test_answers_that_contradict_one_another_give_wide_intervals() -> None:
    agreed = rank(3, duels_of([1.0, 0.0, -1.0], [(0, 1), (1, 2), (0, 2)]))
    circle = rank(3, [Duel(0, 1, 0.8), Duel(1, 2, 0.8), Duel(0, 2, 0.2)])
    assert max(place.high - place.low for place in agreed) < 1.5
    assert min(place.high - place.low for place in circle) > 5
    assert [place.rank for place in circle] == [1, 1, 1]


@pytest.mark.parametrize("count", [3, 4, 6, 12])
def test_intervals_hold_the_truth_as_often_as_they_say(count: int) -> None:
    rng = np.random.default_rng(3)
    held = []
    for _ in range(120):
        true = rng.normal(0, 0.7, count)
        true -= true.mean()
        places = rank(count, noisy(true, choose_pairs(count, 0), rng))
        held += [place.low <= true[place.index] <= place.high for place in places]
    assert 0.92 < np.mean(held) <= (1.0 if count == 3 else 0.98)


def test_intervals_hold_the_truth_behind_plain_votes_too() -> None:
    rng = np.random.default_rng(3)
    true = rng.normal(0, 0.7, 10)
    true -= true.mean()
    pairs = choose_pairs(10, 0)
    held = []
    for _ in range(200):
        votes = [
            Duel(d.first, d.second, float(rng.random() < d.p_first))
            for d in duels_of(list(true), pairs)
        ]
        held += [place.low <= true[place.index] <= place.high for place in rank(10, votes)]
    assert 0.92 < np.mean(held) < 0.99


def test_few_pictures_are_all_compared() -> None:
    assert choose_pairs(3, 0) == [(0, 1), (0, 2), (1, 2)]
    assert len(choose_pairs(45, 0)) == 990 <= MOST_PAIRS


@pytest.mark.parametrize("count", [46, 100, 700])
def test_many_pictures_are_compared_in_a_connected_even_subset(count: int) -> None:
    pairs = choose_pairs(count, seed=5)
    assert pairs == choose_pairs(count, seed=5)
    assert pairs != choose_pairs(count, seed=6)
    assert len(set(pairs)) == len(pairs) <= max(MOST_PAIRS, 8 * count)
    degree = np.bincount(np.array(pairs).ravel(), minlength=count)
    assert degree.min() >= 8
    reached, waiting = {0}, [0]
    while waiting:
        here = waiting.pop()
        for i, j in pairs:
            for near, far in ((i, j), (j, i)):
                if near == here and far not in reached:
                    reached.add(far)
                    waiting.append(far)
    assert len(reached) == count

from __future__ import annotations

import pytest
import torch

from onefill.judge.calibration import (
    BINS,
    COOLEST,
    HOTTEST,
    expected_calibration_error,
    fit_temperature,
    fit_temperatures,
    reliability,
)


def drawn(count: int, heat: float, seed: int = 0) -> tuple[torch.Tensor, ...]:
    """Answers whose truth is drawn from the probabilities at ``heat``; place 1 is favoured."""
    generator = torch.Generator().manual_seed(seed)
    margins = 3 * torch.randn(count, generator=generator)
    truth = torch.rand(count, generator=generator) < torch.sigmoid(margins / heat)
    return margins + 0.7, -margins + 0.7, truth.float()


@pytest.mark.parametrize("heat", [0.5, 1.0, 3.0])
def test_the_temperature_the_truth_was_drawn_with_is_found(heat: float) -> None:
    assert fit_temperature(*drawn(20_000, heat)) == pytest.approx(heat, rel=0.08)


def test_a_temperature_stays_within_its_limits() -> None:
    ones = torch.ones(10)
    assert fit_temperature(ones, -ones, ones) == pytest.approx(COOLEST, rel=0.01)
    assert fit_temperature(ones, -ones, 0 * ones) == pytest.approx(HOTTEST, rel=0.01)


def test_a_cell_of_few_pairs_takes_the_common_temperature() -> None:
    many, few = drawn(5000, 2.0), drawn(5, 0.3, seed=1)
    found = fit_temperatures({"many": many, "few": few})
    common = fit_temperature(*(torch.cat(both) for both in zip(many, few, strict=True)))
    assert found == {"many": fit_temperature(*many), "few": common}
    assert fit_temperatures({"few": few}) == {"few": 1.0}
    assert fit_temperatures({}) == {}


def test_bins_hold_every_pair_once_whichever_side_won() -> None:
    p = [0.0, 0.04, 0.5, 0.52, 0.71, 0.97, 1.0]
    bins = reliability(p, [False, True, True, True, False, True, True])
    assert len(bins) == BINS
    assert sum(found.n for found in bins) == len(p)
    top = bins[-1]
    assert (top.n, top.accuracy) == (4, pytest.approx(3 / 4))
    assert top.confidence == pytest.approx((1 + 0.96 + 0.97 + 1) / 4)
    assert all(b.low <= b.confidence <= b.high for b in bins if b.n)


def test_the_error_of_a_judge_that_means_what_it_says_is_small() -> None:
    def error(heat: float) -> float:
        forward, backward, truth = drawn(20_000, 1.5)
        p = torch.sigmoid((forward - backward) / 2 / heat)
        return expected_calibration_error(reliability(p.tolist(), truth.bool().tolist()))

    assert error(1.5) < 0.015
    assert error(0.3) > 0.08
    assert expected_calibration_error(reliability([], [])) == 0.0

"""What is said of a judge on held-out pairs."""

from __future__ import annotations

import pytest
import torch

from onefill.pocket.contests.accuracy import accuracy_of


def test_orders_count_alone_and_together():
    forward = torch.tensor([2.0, 3.0, -1.0, 0.5])
    backward = torch.tensor([-2.0, 1.0, 1.0, -0.5])
    found = accuracy_of(forward, backward, torch.tensor([1.0, 1.0, 0.0, 0.0]), 1.0)
    # Of eight answers alone, the second pair's backward one and both of the last are wrong.
    assert found["accuracy"] == pytest.approx(5 / 8)
    assert found["both_orders"] == pytest.approx(3 / 4)
    only = torch.sigmoid(torch.tensor(3.0)) - torch.sigmoid(torch.tensor(-1.0))
    assert found["order_gap"] == pytest.approx(float(only) / 4, abs=1e-4)
    assert found["n"] == 4


def test_a_judge_that_is_always_sure_and_half_right_is_badly_calibrated():
    sure, truth = torch.full((100,), 9.0), torch.arange(100) % 2
    assert accuracy_of(sure, -sure, truth.float(), 1.0)["ece"] == pytest.approx(0.5, abs=0.01)
    assert accuracy_of(sure, -sure, truth.float(), 1000.0)["ece"] < 0.01

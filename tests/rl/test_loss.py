from __future__ import annotations

import pytest
import torch

from onefill.rl.loss import hinge, onereward_loss


def test_eq_5_on_values_worked_by_hand():
    p_yes = {
        "structure": torch.tensor([0.2, 0.95]),  # (0.7 + 0) / 2 = 0.35
        "aesthetics": torch.tensor([0.6, 0.5]),  # (0.3 + 0.4) / 2 = 0.35
        "text-alignment": torch.tensor([0.1]),  # 0.8: only one sample had words
    }
    assert onereward_loss(p_yes, 0.9).item() == pytest.approx((0.35 + 0.35 + 0.8) / 3)


def test_nothing_is_gained_above_lambda():
    p_yes = torch.tensor([0.4, 0.8, 0.99], requires_grad=True)
    hinge(p_yes, 0.8).sum().backward()
    assert p_yes.grad.tolist() == [-1.0, 0.0, 0.0]

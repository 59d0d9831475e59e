from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from onefill.pocket.training_state import cosine_rate, load_state, save_state


def _parts() -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    return model, torch.optim.AdamW(model.parameters(), lr=1e-2)


def _step(model: nn.Module, optimizer: torch.optim.Optimizer, number: int) -> None:
    batch = torch.randn(6, 4, generator=torch.Generator().manual_seed(number))
    optimizer.zero_grad()
    model(batch).square().mean().backward()
    optimizer.step()


def test_a_stopped_training_goes_on_bit_for_bit(tmp_path: Path) -> None:
    straight, optimizer = _parts()
    for number in range(6):
        _step(straight, optimizer, number)

    halfway, optimizer = _parts()
    for number in range(3):
        _step(halfway, optimizer, number)
    save_state(tmp_path, {"model": halfway}, [optimizer], {"step": 3})

    resumed, optimizer = _parts()
    assert load_state(tmp_path, {"model": resumed}, [optimizer]) == {"step": 3}
    for number in range(3, 6):
        _step(resumed, optimizer, number)
    for left, right in zip(straight.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(left, right)


def test_nothing_saved_is_a_new_start(tmp_path: Path) -> None:
    model, optimizer = _parts()
    assert load_state(tmp_path, {"model": model}, [optimizer]) == {}


def test_tied_weights_are_saved(tmp_path: Path) -> None:
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    second.weight = first.weight
    tied = nn.ModuleList([first, second])
    save_state(tmp_path, {"model": tied}, [], {})
    other = nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3)])
    load_state(tmp_path, {"model": other}, [])
    assert torch.equal(other[1].weight, first.weight)


def test_the_rate_warms_up_and_comes_down() -> None:
    rates = [cosine_rate(done / 100) for done in range(101)]
    assert rates[0] < 0.1
    assert max(rates) == rates[2] == 1.0
    assert rates[2:] == sorted(rates[2:], reverse=True)
    assert rates[-1] < 0.05

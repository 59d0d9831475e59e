"""Resumable training of the embedded models: weights, optimizer and progress on disk, no pickle."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn


def cosine_rate(done: float, *, warm: float = 0.02, floor: float = 0.02) -> float:
    """Share of the peak learning rate when ``done`` (in [0, 1]) of the training is over."""
    if done < warm:
        return max(done / warm, 0.01)
    return floor + (1 - floor) * 0.5 * (
        1 + math.cos(math.pi * min(1.0, (done - warm) / (1 - warm)))
    )


def save_state(
    folder: Path,
    modules: Mapping[str, nn.Module],
    optimizers: list[torch.optim.Optimizer],
    progress: Mapping[str, float],
) -> None:
    """Write everything a training needs to go on; an interrupted write leaves the old one."""
    # Copies: a tied weight stands in a state dict twice, which safetensors refuses.
    tensors = {
        f"{name}|{key}": value.detach().clone(memory_format=torch.contiguous_format)
        for name, module in modules.items()
        for key, value in module.state_dict().items()
    }
    for number, optimizer in enumerate(optimizers):
        for index, state in optimizer.state_dict()["state"].items():
            for key, value in state.items():
                tensors[f"optimizer{number}|{index}|{key}"] = torch.as_tensor(value).contiguous()
    folder.mkdir(parents=True, exist_ok=True)
    staged = folder / "state.part"
    save_file(tensors, staged, metadata={"progress": json.dumps(dict(progress))})
    staged.replace(folder / "state.safetensors")


def load_state(
    folder: Path, modules: Mapping[str, nn.Module], optimizers: list[torch.optim.Optimizer]
) -> dict[str, float]:
    """Put back what ``save_state`` wrote and return its progress; empty if there is nothing."""
    path = folder / "state.safetensors"
    if not path.exists():
        return {}
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        progress: dict[str, float] = json.loads(file.metadata()["progress"])
    tensors = load_file(path)
    for name, module in modules.items():
        start = f"{name}|"
        module.load_state_dict(
            {key[len(start) :]: value for key, value in tensors.items() if key.startswith(start)}
        )
    for number, optimizer in enumerate(optimizers):
        states: dict[int, dict[str, torch.Tensor]] = {}
        for key, value in tensors.items():
            owner, _, rest = key.partition("|")
            if owner == f"optimizer{number}":
                index, _, field = rest.partition("|")
                states.setdefault(int(index), {})[field] = value
        whole = optimizer.state_dict()
        whole["state"] = states
        optimizer.load_state_dict(whole)
    return progress

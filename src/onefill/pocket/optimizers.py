"""Muon for matrices and AdamW for the rest, on whatever the machine multiplies quickly."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn


def muon_and_adamw(
    matrices: Sequence[nn.Parameter],
    others: Sequence[nn.Parameter],
    *,
    muon: dict[str, Any],
    adamw: dict[str, Any],
) -> list[torch.optim.Optimizer]:
    """Muon (Jordan et al. 2024) over ``matrices``, AdamW over ``others``.

    Muon multiplies in bfloat16, so where a CPU only emulates that, AdamW takes its matrices too.

    Args:
        matrices: two-dimensional weights inside the blocks of a transformer.
        others: every other weight.
        muon: options of ``torch.optim.Muon``.
        adamw: options of ``torch.optim.AdamW``.
    """
    if matrices[0].is_cuda or torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return [
            torch.optim.Muon(matrices, **muon),
            torch.optim.AdamW(others, fused=True, **adamw),
        ]
    return [torch.optim.AdamW([*matrices, *others], fused=True, **adamw)]


def optimizers_for(
    modules: Iterable[nn.Module], matrix_rate: float, other_rate: float
) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside transformer layers, AdamW for everything else."""
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for module in modules:
        for name, parameter in module.named_parameters():
            inside = ("blocks." in name or "layers." in name) and parameter.ndim == 2
            (matrices if inside else others).append(parameter)
    return muon_and_adamw(
        matrices,
        others,
        muon={"lr": matrix_rate, "weight_decay": 0.02},
        adamw={"lr": other_rate, "weight_decay": 0.01, "betas": (0.9, 0.98)},
    )

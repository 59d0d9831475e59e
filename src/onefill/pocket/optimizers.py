"""Muon for matrices and AdamW for the rest, on whatever the machine multiplies quickly."""

from __future__ import annotations

from collections.abc import Sequence
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
    if torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return [
            torch.optim.Muon(matrices, **muon),
            torch.optim.AdamW(others, fused=True, **adamw),
        ]
    return [torch.optim.AdamW([*matrices, *others], fused=True, **adamw)]

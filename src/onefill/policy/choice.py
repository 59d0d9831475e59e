"""Which weights, where and in what precision: what is said about a model before it is loaded.

Imports nothing heavy, so that a wrong word costs a moment.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ADAPTER_FILE = "pytorch_lora_weights.safetensors"
"""What an adapter's folder holds, in the file format of stock diffusers."""

DTYPES = ("float32", "bfloat16", "float16")
"""Precisions of the weights in memory."""

OFFLOADS = ("none", "model", "sequential", "group")
"""What waits in the machine's own memory until it is needed: nothing, whole models one after
another, single layers, or blocks of layers, the next of which is fetched while one computes."""


@dataclass(frozen=True, kw_only=True)
class Memory:
    """How a model is kept in memory.

    Attributes:
        dtype: one of ``DTYPES``.
        offload: one of ``OFFLOADS``.
        quantize: one of ``onefill.quantizers.QUANTIZERS``, or None.
    """

    dtype: str = "float32"
    offload: str = "none"
    quantize: str | None = None


PRESETS = {
    80: Memory(dtype="bfloat16"),
    48: Memory(dtype="bfloat16"),
    24: Memory(dtype="bfloat16", offload="group"),
    16: Memory(dtype="bfloat16", offload="model", quantize="torchao-int8"),
    12: Memory(dtype="bfloat16", offload="model", quantize="bnb-4bit"),
}
"""GiB of a card to how FLUX.1-Fill is kept on it.

From its number of weights: in bfloat16 the transformer takes 22.2 GiB and T5 8.9; all of it fits a
card of 48. On one of 24 the transformer leaves no room to compute in, so its blocks come and go,
which changes no result. In 8 bits it takes 11.1 GiB, in 4 bits 6.3 GiB, and T5 leaves before it
comes.
"""


@dataclass(frozen=True, kw_only=True)
class ModelChoice:
    """A model as chosen on a command line.

    Attributes:
        model: a diffusers folder, or the id of a model on the hub (``owner/name``).
        transformer: folder or hub id of other transformer weights for it.
        transformer_subfolder: where they are in there.
        adapter: folder or hub id of adapter weights on top.
        adapter_subfolder: where they are in there.
        adapter_scale: how strongly they act; 1 as trained, 0 not at all.
        settings: how this model is best run, where its folder does not say so itself.
        device: as torch names it.
        memory: precision and offloading.
        offline: use only what an earlier download left on this machine.
    """

    model: str
    transformer: str | None = None
    transformer_subfolder: str | None = None
    adapter: str | Path | None = None
    adapter_subfolder: str | None = None
    adapter_scale: float = 1.0
    settings: Mapping[str, Any] = field(default_factory=dict)
    device: str = "cpu"
    memory: Memory = Memory()
    offline: bool = False

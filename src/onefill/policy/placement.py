"""Where a pipeline's weights wait and where they compute."""

from __future__ import annotations

import torch
from diffusers import FluxFillPipeline
from diffusers.hooks import apply_group_offloading
from torch import nn


def place(pipeline: FluxFillPipeline, device: torch.device, offload: str) -> None:
    """Put the weights on the device, or have them come there when they are needed.

    Every way computes the same up to rounding; they differ in memory and time.

    Args:
        pipeline: on the CPU.
        device: where it is to compute.
        offload: one of ``OFFLOADS``.
    """
    if offload == "none":
        pipeline.to(device)
        return
    # One picture at a time: decoding a batch at once would need the most memory of all.
    pipeline.vae.enable_slicing()
    if offload == "model":
        pipeline.enable_model_cpu_offload(device=device)
        return
    parts = {name: p for name, p in pipeline.components.items() if isinstance(p, nn.Module)}
    if offload == "group":
        apply_group_offloading(
            parts.pop("transformer"),
            onload_device=device,
            offload_type="block_level",
            num_blocks_per_group=1,
            # One block computes while the next is on its way, which only CUDA's streams can do.
            use_stream=device.type == "cuda",
        )
    # The others run once for an edit, and their blocks lie deeper than block_level looks.
    for part in parts.values():
        apply_group_offloading(part, onload_device=device, offload_type="leaf_level")

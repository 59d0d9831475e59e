"""Gradient checkpointing: less memory for more arithmetic, in the parts that are asked for."""

from __future__ import annotations

from collections.abc import Sequence

from transformers.modeling_layers import GradientCheckpointingLayer

from onefill.judge.model import Judge
from onefill.policy.flux_fill import FluxFillPolicy
from onefill.rl.config import RecomputeConfig


def recompute_activations(
    policy: FluxFillPolicy, judges: Sequence[Judge], config: RecomputeConfig
) -> None:
    """Have the parts that ``config`` names compute activations again in the backward pass.

    Only calls with gradient are touched; rollouts run as before.
    """
    if config.transformer:
        policy.pipeline.transformer.enable_gradient_checkpointing()
    if config.vae:
        policy.pipeline.vae.enable_gradient_checkpointing()
    if config.judge:
        for judge in judges:
            _recompute_judge(judge)


def _recompute_judge(judge: Judge) -> None:
    network = judge.model
    # Renamed in the course of transformers 5; the old name warns.
    enable = getattr(network, "activation_checkpointing_enable", None)
    (enable or network.gradient_checkpointing_enable)({"use_reentrant": False})
    for layer in network.modules():
        if isinstance(layer, GradientCheckpointingLayer):
            # The layer heeds it in training mode only. Its parts, where dropout would be, stay
            # out of that mode: nothing but memory and time may change.
            layer.training = True

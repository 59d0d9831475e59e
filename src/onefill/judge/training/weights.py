"""What of a judge is trained: all of its weights, or a low-rank adapter (LoRA) on every layer.

The network stays the stock one: an adapter is put into its linear layers, and worked into the
weights when the judge is written, so that the folder is an ordinary model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

_NAME = "default"
_PROBED = 64  # values of each tensor; enough to tell two models apart


def train_all(network: nn.Module) -> dict[str, nn.Parameter]:
    """Make every weight trainable; returns them by name."""
    network.requires_grad_(True)
    return dict(network.named_parameters())


def add_adapter(network: nn.Module, rank: int, seed: int) -> dict[str, nn.Parameter]:
    """Put an adapter that changes nothing yet on every linear layer but the output head.

    Args:
        network: a judge's, frozen.
        rank: of the adapter; its alpha is the same.
        seed: of its weights; torch's global generator is left as it was.

    Returns:
        The adapter's weights by name, in single precision whatever the network's own.
    """
    targets = [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear) and not name.endswith("lm_head")
    ]
    config = LoraConfig(r=rank, lora_alpha=rank, lora_dropout=0.0, target_modules=targets)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(config, network, adapter_name=_NAME)
    parameters = {}
    for name, parameter in network.named_parameters():
        parameter.requires_grad_("lora_" in name)
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
            parameters[name] = parameter
    return parameters


@torch.no_grad()
def plain_weights(network: nn.Module) -> dict[str, Tensor]:
    """The network's weights under the stock names, with the adapter worked in if there is one."""
    layers = {
        name: module for name, module in network.named_modules() if isinstance(module, LoraLayer)
    }
    weights = {}
    for name, tensor in network.state_dict().items():
        if ".lora_" in name:
            continue
        owner, _, rest = name.partition(".base_layer.")
        if rest == "weight" and owner in layers:
            layer: Any = layers[owner]
            tensor = (tensor.float() + layer.get_delta_weight(_NAME).float()).to(tensor.dtype)
        weights[f"{owner}.{rest}" if rest else name] = tensor
    return weights


def snapshot(parameters: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """Copies on the CPU."""
    return {
        name: parameter.detach().to("cpu", copy=True).contiguous()
        for name, parameter in parameters.items()
    }


@torch.no_grad()
def put_back(parameters: Mapping[str, nn.Parameter], tensors: Mapping[str, Tensor]) -> None:
    """Take on the values of a ``snapshot``."""
    for name, parameter in parameters.items():
        parameter.copy_(tensors[name])


def fingerprint(network: nn.Module) -> str:
    """A hash that differs between base models; of a few values of every weight, so it is quick."""
    digest = hashlib.sha256()
    for name, parameter in network.named_parameters():
        digest.update(f"{name} {tuple(parameter.shape)}".encode())
        probe = parameter.detach().flatten()[:_PROBED].float().cpu()
        digest.update(probe.numpy().tobytes())
    return digest.hexdigest()

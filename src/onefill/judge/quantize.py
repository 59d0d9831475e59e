"""Weights in 8 or 4 bits, for asking a judge that does not fit otherwise; not for training one."""

from __future__ import annotations

from typing import Any

import torch

from onefill.errors import BadInput
from onefill.quantizers import QUANTIZERS, check_package

_DEVICES = {"bnb-8bit": ("cpu", "cuda"), "bnb-4bit": ("cuda",), "torchao-int8": ("cpu", "cuda")}


def check_quantizer(name: str, device: torch.device) -> None:
    """Refuse what cannot work, before a weight is read.

    Args:
        name: one of ``QUANTIZERS``.
        device: where the judge is to compute.

    Raises:
        BadInput: no such quantizer, the device is not the quantizer's, or its package is not
            installed.
    """
    where = f"--quantize {name}"
    if name not in QUANTIZERS:
        raise BadInput(f"{where}: unknown; choose from {', '.join(QUANTIZERS)}")
    devices = _DEVICES[name]
    if device.type not in devices:
        on_this = [other for other, known in _DEVICES.items() if device.type in known]
        instead = f"--quantize {on_this[-1]}, or " if on_this else ""
        raise BadInput(
            f"{where}: works on {' or '.join(devices)}, and this judge is to run on {device.type}; "
            f"try {instead}--dtype bfloat16"
        )
    check_package(name)


def check_trainable(model: Any, where: str) -> None:
    """Refuse to train weights of so few bits.

    Args:
        model: a judge's network, as loaded.
        where: what names it, such as "--base folder".

    Raises:
        BadInput: it is quantized, here or in its folder.
    """
    if getattr(model, "is_quantized", False):
        raise BadInput(
            f"{where}: a quantized judge can be asked and not trained; name the folder or hub id "
            "it was made from"
        )


def quantization_config(name: str, dtype: torch.dtype) -> Any:
    """The stock configuration for ``from_pretrained``.

    The output head stays as it is: a judge reads two of its rows. So does the patch embedding.

    Args:
        name: one of ``QUANTIZERS``, checked before.
        dtype: in which 4-bit weights are multiplied.
    """
    from transformers import BitsAndBytesConfig, TorchAoConfig

    if name == "bnb-8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    if name == "bnb-4bit":
        return BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype
        )
    from torchao.quantization import Int8WeightOnlyConfig

    return TorchAoConfig(quant_type=Int8WeightOnlyConfig())

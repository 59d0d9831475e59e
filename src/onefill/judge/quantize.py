"""Weights in 8 or 4 bits, for asking a judge that does not fit otherwise; not for training one."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import torch

from onefill.errors import BadInput

QUANTIZERS = ("bnb-8bit", "bnb-4bit", "torchao-int8", "torchao-int4")
"""What ``--quantize`` takes: a package and what it makes of the linear layers' weights."""

_PACKAGES = {"bnb": "bitsandbytes", "torchao": "torchao"}
_ONLY_ON_CUDA = ("bnb-8bit", "bnb-4bit", "torchao-int4")


def check_quantizer(name: str, device: torch.device, *, training: bool = False) -> None:
    """Refuse what cannot work, before a weight is read.

    Args:
        name: one of ``QUANTIZERS``.
        device: where the judge is to compute.
        training: whether the judge's own weights are to be changed.

    Raises:
        BadInput: no such quantizer, the judge is to be trained, the device is not the
            quantizer's, or its package is not installed.
    """
    where = f"--quantize {name}"
    if name not in QUANTIZERS:
        raise BadInput(f"{where}: unknown; choose from {', '.join(QUANTIZERS)}")
    if training:
        raise BadInput(
            f"{where}: a judge in so few bits can be asked and not trained; leave --quantize out"
        )
    if name in _ONLY_ON_CUDA and device.type != "cuda":
        raise BadInput(
            f"{where}: works on an NVIDIA GPU only, and this judge is to run on {device.type}; "
            "try --quantize torchao-int8, or --dtype bfloat16"
        )
    package = _PACKAGES[name.partition("-")[0]]
    if find_spec(package) is None:
        raise BadInput(f"{where}: needs the package {package}; `pip install {package}`")


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
    from torchao.quantization import Int4WeightOnlyConfig, Int8WeightOnlyConfig

    chosen = Int8WeightOnlyConfig() if name == "torchao-int8" else Int4WeightOnlyConfig()
    return TorchAoConfig(quant_type=chosen)

"""The transformer's weights in 8 or 4 bits, to paint with a model that does not fit otherwise."""

from __future__ import annotations

from typing import Any

import torch

from onefill.errors import BadInput
from onefill.quantizers import check_package

_DEVICES = {"bnb-8bit": ("cuda",), "bnb-4bit": ("cuda",), "torchao-int8": ("cpu", "cuda")}


def check_quantizer(name: str, device: torch.device) -> None:
    """Refuse what cannot work here, before a weight is read.

    Args:
        name: one of ``QUANTIZERS``.
        device: where the model is to compute.

    Raises:
        BadInput: the device is not the quantizer's, or its package is not installed.
    """
    if device.type not in _DEVICES[name]:
        raise BadInput(
            f"--quantize {name}: works on {' or '.join(_DEVICES[name])} and not on {device.type}; "
            "leave it out, or try --quantize torchao-int8"
        )
    check_package(name)


def quantization(name: str, device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    """What ``FluxTransformer2DModel.from_pretrained`` is given for it.

    Args:
        name: one of ``QUANTIZERS``, checked before.
        device: where bitsandbytes packs the weights.
        dtype: in which packed weights are multiplied.
    """
    # The last layer is small and writes the picture; it keeps its precision.
    spared = ["proj_out"]
    if name == "torchao-int8":
        from diffusers import TorchAoConfig
        from torchao.quantization import Int8WeightOnlyConfig

        kept = TorchAoConfig(Int8WeightOnlyConfig(), modules_to_not_convert=spared)
        return {"quantization_config": kept}
    from diffusers import BitsAndBytesConfig

    if name == "bnb-8bit":
        config = BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=spared)
    else:
        config = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_compute_dtype=dtype,
            llm_int8_skip_modules=spared,
        )
    return {"quantization_config": config, "device_map": {"": device}}

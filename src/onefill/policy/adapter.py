"""Low-rank adapters on the transformer (LoRA), in the file format of stock diffusers.

One adapter at a time, under peft's name ``default``. Its weights are float32 whatever the model's
own precision: in half precision a small step rounds away and training silently stands still.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from diffusers import FluxFillPipeline, FluxTransformer2DModel
from peft import LoraConfig
from peft.tuners.lora import LoraLayer
from peft.utils import get_peft_model_state_dict
from safetensors import safe_open
from torch import Tensor, nn

from onefill.errors import BadInput
from onefill.policy.choice import ADAPTER_FILE
from onefill.policy.quiet import quiet_libraries

# Attention and feed-forward of both kinds of block; modulation, embedders and the output stay.
_DEFAULT_TARGETS = (
    r".*transformer_blocks\.\d+\.("
    r"attn\.(to_q|to_k|to_v|to_out\.0|add_q_proj|add_k_proj|add_v_proj|to_add_out)"
    r"|ff(_context)?\.net\.(0\.proj|2)|proj_mlp|proj_out)"
)
_NAME = "default"


def has_adapter(transformer: FluxTransformer2DModel) -> bool:
    """Whether an adapter sits on the transformer, switched on or off."""
    return bool(getattr(transformer, "peft_config", None))


def add_lora(
    transformer: FluxTransformer2DModel,
    *,
    rank: int,
    alpha: float,
    seed: int,
    targets: Sequence[str] | None = None,
) -> None:
    """Put a fresh adapter on the transformer, which at first changes nothing (its B is zero).

    Args:
        transformer: gets the adapter, replacing one that is there.
        rank: of every low-rank pair.
        alpha: the pair's product is scaled by alpha / rank (Hu et al. 2021, section 4.1).
        seed: of the random A; the same seed gives the same adapter.
        targets: name endings of the layers to adapt; by default every attention and
            feed-forward layer of every block.
    """
    _remove(transformer)
    config = lora_config(rank, alpha, targets)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        transformer.add_adapter(config, adapter_name=_NAME)
    _to_float32(transformer)


def lora_config(rank: int, alpha: float, targets: Sequence[str] | None = None) -> LoraConfig:
    """What peft is told of an adapter; see ``add_lora``."""
    return LoraConfig(
        r=rank,
        lora_alpha=alpha,
        target_modules=_DEFAULT_TARGETS if targets is None else list(targets),
    )


def adapter_parameters(transformer: FluxTransformer2DModel) -> dict[str, nn.Parameter]:
    """The adapter's own weights by name, all float32."""
    return {name: p for name, p in transformer.named_parameters() if ".lora_" in name}


@contextmanager
def adapter_off(transformer: FluxTransformer2DModel) -> Iterator[None]:
    """Run the transformer as if it had no adapter: exactly the model it was put on."""
    transformer.disable_adapters()
    try:
        yield
    finally:
        transformer.enable_adapters()


def save_adapter(transformer: FluxTransformer2DModel, folder: Path) -> None:
    """Write the adapter to ``folder`` as stock ``FluxFillPipeline.load_lora_weights`` reads it."""
    # The metadata holds rank, alpha and targets, so that no reader has to guess the scale.
    FluxFillPipeline.save_lora_weights(
        folder,
        transformer_lora_layers=get_peft_model_state_dict(transformer, adapter_name=_NAME),
        transformer_lora_adapter_metadata=transformer.peft_config[_NAME].to_dict(),
    )


def load_adapter(pipeline: FluxFillPipeline, folder: Path) -> None:
    """Read an adapter, of ours or any that diffusers understands, replacing one that is there.

    Raises:
        BadInput: there is no adapter file in ``folder``, it does not fit this model, or it adapts
            more than the transformer.
    """
    file = folder / ADAPTER_FILE
    if not file.is_file():
        raise BadInput(f"{folder}: holds no adapter ({ADAPTER_FILE}); give one that does")
    try:
        tensors = _read_tensors(file)
        _refuse_text_encoder(file, tensors)
        _remove(pipeline.transformer)
        with quiet_libraries():
            pipeline.load_lora_weights(folder, weight_name=ADAPTER_FILE, adapter_name=_NAME)
    except BadInput:
        raise
    except Exception as error:  # whatever a foreign file makes peft or safetensors raise
        _remove(pipeline.transformer)
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise BadInput(
            f"{file}: does not fit this model ({reason}); load it on the model it was trained on"
        ) from error
    if not has_adapter(pipeline.transformer):
        raise BadInput(f"{file}: adapts no part of this model; choose another adapter")
    _to_float32(pipeline.transformer)
    # On a half-precision model peft has rounded the weights by now.
    with torch.no_grad():
        for name, parameter in adapter_parameters(pipeline.transformer).items():
            key = "transformer." + name.replace(f".{_NAME}.", ".")
            if key in tensors:
                parameter.copy_(tensors[key])


def scale_adapter(transformer: FluxTransformer2DModel, scale: float) -> None:
    """Let the adapter act ``scale`` times as strongly as it was trained; 0 is not at all."""
    transformer.set_adapters(_NAME, weights=scale)


def merged(transformer: FluxTransformer2DModel) -> FluxTransformer2DModel:
    """A copy of the transformer with its adapter worked into the weights; the original stays."""
    plain = copy.deepcopy(transformer)
    plain.fuse_lora()
    plain.unload_lora()
    return plain


def _read_tensors(file: Path) -> dict[str, Tensor]:
    with safe_open(file, framework="pt") as tensors:
        return {key: tensors.get_tensor(key) for key in tensors.keys()}  # noqa: SIM118


def _refuse_text_encoder(file: Path, tensors: dict[str, Tensor]) -> None:
    # With the adapter off such a model would not be the untouched one again.
    if any(key.startswith(("text_encoder", "lora_te")) for key in tensors):
        raise BadInput(
            f"{file}: adapts the text encoder, which stays frozen here; choose an adapter of the "
            "transformer alone"
        )


def _to_float32(transformer: FluxTransformer2DModel) -> None:
    for layer in transformer.modules():
        if isinstance(layer, LoraLayer):
            layer.lora_A.float()
            layer.lora_B.float()


def _remove(transformer: FluxTransformer2DModel) -> None:
    if has_adapter(transformer):
        transformer.unload_lora()

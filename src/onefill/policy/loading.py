"""From a model as a user chose it to a policy, or to one line that says why not."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import torch
from diffusers import FluxFillPipeline, FluxTransformer2DModel

from onefill.errors import BadInput
from onefill.policy.adapter import scale_adapter
from onefill.policy.choice import ADAPTER_FILE, DTYPES, Memory, ModelChoice
from onefill.policy.device import find_device
from onefill.policy.flux_fill import FluxFillPolicy
from onefill.policy.hub import download, download_if_there, hub_answers
from onefill.policy.quantize import check_quantizer, quantization
from onefill.policy.quiet import quiet_libraries
from onefill.policy.settings import SETTINGS_FILE, read_settings, settings_with_adapter

_INDEX_FILE = "model_index.json"
_CONFIG_FILE = "config.json"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def load_policy(
    model: str, *, device: str = "cpu", dtype: str = "float32", offline: bool = False
) -> FluxFillPolicy:
    """Load a FLUX-Fill model whole, onto one device; see ``load_chosen``.

    Args:
        model: a diffusers folder, or the id of a model on the hub (``owner/name``).
        device: as torch names it.
        dtype: float32, bfloat16 or float16.
        offline: use only what an earlier download left on this machine.

    Raises:
        BadInput: there is no such model, it is no FLUX-Fill pipeline, it cannot be read, the
            hub does not give it, or there is no such device or precision.
    """
    return load_chosen(
        ModelChoice(model=model, device=device, memory=Memory(dtype=dtype), offline=offline)
    )


def load_chosen(choice: ModelChoice) -> FluxFillPolicy:
    """Load a FLUX-Fill model as chosen.

    Raises:
        BadInput: as ``load_policy``, for the model, its other transformer or its adapter; or the
            weights cannot be quantized here.
    """
    device = find_device(choice.device)
    memory = choice.memory
    if memory.dtype not in DTYPES:
        raise BadInput(f"--dtype {memory.dtype}: choose from {', '.join(DTYPES)}")
    if memory.quantize is not None:
        check_quantizer(memory.quantize, device)
    named = filter(None, (choice.model, choice.transformer, str(choice.adapter or "")))
    offline = choice.offline
    if not offline and any(_is_hub_id(name) for name in named):
        offline = not hub_answers()

    index_file = _find(choice.model, _INDEX_FILE, "--model", offline)
    _check_kind(f"--model {choice.model}", index_file, FluxFillPipeline)
    parts = {}
    if choice.transformer is not None or memory.quantize is not None:
        parts["transformer"] = _read_transformer(choice, device, offline)
    pipeline = _read_pipeline(choice.model, parts, memory, offline)
    _check_fit(choice, pipeline)
    settings = read_settings(
        _find_settings(choice.model, index_file, offline), 2 * pipeline.vae_scale_factor
    )
    adapter = None if choice.adapter is None else _adapter_folder(choice, offline)
    if adapter is not None:
        settings = settings_with_adapter(settings, adapter / SETTINGS_FILE)
    policy = FluxFillPolicy(pipeline, settings.model_copy(update=dict(choice.settings)))
    if adapter is not None:
        policy.load_adapter(adapter)
        if choice.adapter_scale != 1:
            scale_adapter(policy.pipeline.transformer, choice.adapter_scale)
    policy.place(device, memory.offload)
    return policy


def _is_hub_id(name: str) -> bool:
    return not Path(name).expanduser().exists() and _HUB_ID.fullmatch(name) is not None


def _find(model: str, file: str, flag: str, offline: bool) -> Path:
    """A file of a model: where it is, or where it would be in a folder that lacks it."""
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder / file
    if _is_hub_id(model):
        return download(model, file, offline=offline, flag=flag)
    raise BadInput(f"{flag} {model}: no such model or folder; run `onefill models` for the names")


def _find_settings(model: str, index_file: Path, offline: bool) -> Path:
    # Most models have none; a path that does not exist stands for the defaults.
    beside = index_file.parent / SETTINGS_FILE
    if not _is_hub_id(model):
        return beside
    return download_if_there(model, SETTINGS_FILE, offline=offline) or beside


def _check_kind(where: str, file: Path, wanted: type) -> None:
    try:
        kind = json.loads(file.read_text(encoding="utf-8")).get("_class_name")
    except FileNotFoundError as error:
        raise BadInput(
            f"{where}: holds no {file.name}; give a diffusers {wanted.__name__} folder"
        ) from error
    except (OSError, ValueError, AttributeError) as error:
        raise BadInput(f"{where}: {file.name} is broken; save the model again") from error
    if kind != wanted.__name__:
        raise BadInput(
            f"{where}: is a {kind}, not a {wanted.__name__}; run `onefill models` for names"
        )


def _read_transformer(
    choice: ModelChoice, device: torch.device, offline: bool
) -> FluxTransformer2DModel:
    source, subfolder = choice.transformer, choice.transformer_subfolder
    flag = "--transformer"
    if source is None:  # the model's own, to be quantized
        source, subfolder, flag = choice.model, "transformer", "--model"
    inside = f"{subfolder}/{_CONFIG_FILE}" if subfolder else _CONFIG_FILE
    where = f"{flag} {source}"
    _check_kind(where, _find(source, inside, flag, offline), FluxTransformer2DModel)
    dtype = getattr(torch, choice.memory.dtype)
    options: dict[str, Any] = {"dtype": dtype, "local_files_only": offline}
    if subfolder:
        options["subfolder"] = subfolder
    if choice.memory.quantize is not None:
        options |= quantization(choice.memory.quantize, device, dtype)
    return _read(FluxTransformer2DModel, source, where, options)


def _read_pipeline(
    model: str, parts: dict[str, Any], memory: Memory, offline: bool
) -> FluxFillPipeline:
    dtype = getattr(torch, memory.dtype)
    options = {"dtype": dtype, "local_files_only": offline, **parts}
    return _read(FluxFillPipeline, model, f"--model {model}", options)


def _read(kind: Any, source: str, where: str, options: dict[str, Any]) -> Any:
    if not _is_hub_id(source):
        source = str(Path(source).expanduser())
    try:
        with quiet_libraries():
            # Pickled weights are never read: they can run code.
            return kind.from_pretrained(source, use_safetensors=True, **options)
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # whatever a damaged folder makes the libraries raise
        raise BadInput(
            f"{where}: cannot be loaded ({_reason(error)}); download or save it again"
        ) from error


def _check_fit(choice: ModelChoice, pipeline: FluxFillPipeline) -> None:
    """Refuse a transformer that was not made to be shown a picture and a mask."""
    latents = 4 * pipeline.vae.config.latent_channels
    wanted = 2 * latents + 4 * pipeline.vae_scale_factor**2
    found = pipeline.transformer.config.in_channels
    if found != wanted:
        where = f"--transformer {choice.transformer}" if choice.transformer else "--model"
        raise BadInput(
            f"{where}: reads {found} channels a token, and a Fill transformer for "
            f"{choice.model} reads {wanted}; choose one that was made for filling"
        )


def _adapter_folder(choice: ModelChoice, offline: bool) -> Path:
    source, subfolder = str(choice.adapter), choice.adapter_subfolder
    inside = f"{subfolder}/{ADAPTER_FILE}" if subfolder else ADAPTER_FILE
    return _find(source, inside, "--adapter", offline).parent


def _reason(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__

"""From a folder or a hub id to a judge, or to one line that says why not."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import torch
from transformers.utils import logging

from onefill.errors import BadInput
from onefill.judge.canary import check_canaries
from onefill.judge.card import read_card
from onefill.judge.families import MODEL_CLASSES
from onefill.judge.model import Judge
from onefill.judge.processor import load_processor
from onefill.judge.quantize import check_quantizer, quantization_config

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}

_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+")
# Weights only as safetensors: a pickle would run whatever its author put into it.
_HUB_FILES = ["*.json", "*.safetensors", "*.txt", "*.jinja", "canaries/*.png"]


def load_judge(
    model: str,
    *,
    device: str = "auto",
    dtype: str = "float32",
    offline: bool = False,
    device_map: str | dict[str, Any] | None = None,
    quantize: str | None = None,
) -> Judge:
    """A frozen judge, ready to be asked.

    Args:
        model: a folder in the layout of Qwen2.5-VL or Qwen3-VL, or a hub id such as
            "Qwen/Qwen2.5-VL-7B-Instruct".
        device: "auto" (a GPU if there is one), or a torch device such as "cpu" or "cuda:1".
        dtype: "float32", "bfloat16" or "float16", of the weights in memory.
        offline: take a hub id from the local cache only.
        device_map: spread the weights over several devices, as in transformers: "auto", or names
            of modules and devices; instead of ``device``.
        quantize: one of ``onefill.quantizers.QUANTIZERS``.

    Raises:
        BadInput: there is no such judge, its files are incomplete or damaged, it is another
            kind of model, it was trained with another query template, it cannot be quantized here,
            or it answers its canary pairs otherwise than when it was made.
    """
    where = f"--judge {model}"
    target = pick_device(device)
    if dtype not in DTYPES:
        raise BadInput(f"--dtype {dtype}: unknown; choose from {', '.join(DTYPES)}")
    placed: dict[str, Any] = {"device_map": device_map} if device_map is not None else {}
    if quantize is not None:
        check_quantizer(quantize, target)
        placed = {"device_map": device_map or {"": target}}
        placed["quantization_config"] = quantization_config(quantize, DTYPES[dtype])
    folder = _find_folder(model, where, offline)
    model_class = MODEL_CLASSES[_model_type(folder, where)]
    card = read_card(folder)
    logging.disable_progress_bar()
    try:
        network, report = model_class.from_pretrained(
            folder,
            dtype=DTYPES[dtype],
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
            **placed,
        )
        judge = Judge(network, load_processor(folder), card)
    except MemoryError:
        raise
    except BadInput as error:
        raise BadInput(f"{where}: {error}") from error
    # Damaged files surface as OSError, ValueError, KeyError, SafetensorError and more.
    except Exception as error:
        hint = "copy it again" if quantize is None else f"try without --quantize {quantize}"
        raise BadInput(f"{where}: cannot be loaded ({_first_line(error)}); {hint}") from error
    if missing := sorted(report["missing_keys"]):
        raise BadInput(
            f"{where}: {len(missing)} weights are missing ({missing[0]}, …); copy the folder again"
        )
    network.requires_grad_(False).eval()
    if not placed:
        network.to(target)
    try:
        check_canaries(folder, judge, coarse=dtype != "float32" or quantize is not None)
    except BadInput as error:
        raise BadInput(f"{where}: {error}") from error
    return judge


def pick_device(name: str) -> torch.device:
    """The torch device of that name; "auto" is a GPU if there is one.

    Raises:
        BadInput: no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise BadInput(f"--device {name}: not on this machine; try --device cpu") from error
    return device


def _find_folder(model: str, where: str, offline: bool) -> Path:
    folder = Path(model).expanduser()
    if model and folder.is_dir():
        return folder
    if not _HUB_ID.fullmatch(model):
        raise BadInput(
            f"{where}: neither an embedded judge nor a folder here nor a hub id (owner/name); "
            "`onefill models` lists the embedded ones"
        )
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(model, allow_patterns=_HUB_FILES, local_files_only=offline))
    # The hub client answers a wrong name, a missing network and a full disk each in its own way.
    except Exception as error:
        hint = "run once without --offline" if offline else "check the name and the network"
        raise BadInput(
            f"{where}: not a folder, and not from the hub ({_first_line(error)}); {hint}"
        ) from error


def _model_type(folder: Path, where: str) -> str:
    path = folder / "config.json"
    try:
        kind = json.loads(path.read_text(encoding="utf-8")).get("model_type")
    except FileNotFoundError as error:
        raise BadInput(
            f"{where}: {folder} holds no config.json; name the folder of a Qwen2.5-VL judge"
        ) from error
    except (OSError, ValueError, AttributeError) as error:
        raise BadInput(f"{where}: {path} cannot be read; copy the folder again") from error
    if kind not in MODEL_CLASSES:
        known = " or ".join(MODEL_CLASSES)
        raise BadInput(f"{where}: a model of type {kind}, not {known}; name a judge of these")
    return str(kind)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or repr(error)).splitlines()[0]

"""From what a user typed after ``--model`` to a policy, or to one line that says why not."""

from __future__ import annotations

import json
import re
from pathlib import Path

import torch
from diffusers import FluxFillPipeline
from huggingface_hub import constants, get_session, hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
)

from onefill.errors import BadInput
from onefill.policy.flux_fill import FluxFillPolicy
from onefill.policy.quiet import quiet_libraries
from onefill.policy.settings import SETTINGS_FILE, read_settings

_INDEX_FILE = "model_index.json"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_PRECISIONS = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


def load_policy(
    model: str, *, device: str = "cpu", dtype: str = "float32", offline: bool = False
) -> FluxFillPolicy:
    """Load a FLUX-Fill model.

    Args:
        model: a diffusers folder, or the id of a model on the hub (``owner/name``).
        device: as torch names it.
        dtype: float32, bfloat16 or float16.
        offline: use only what an earlier download left on this machine.

    Raises:
        BadInput: there is no such model, it is no FLUX-Fill pipeline, it cannot be read, the
            hub does not give it, or there is no such device or precision.
    """
    _check_device(device)
    if dtype not in _PRECISIONS:
        raise BadInput(f"--dtype {dtype}: choose from {', '.join(_PRECISIONS)}")
    folder = Path(model).expanduser()
    if folder.is_dir():
        index_file, settings_file = folder / _INDEX_FILE, folder / SETTINGS_FILE
        source = str(folder)
    elif not folder.exists() and _HUB_ID.fullmatch(model):
        offline = offline or not _hub_answers()
        index_file = _download(model, _INDEX_FILE, offline)
        settings_file = _download_settings(model, index_file, offline)
        source = model
    else:
        raise BadInput(
            f"--model {model}: no such model or folder; run `onefill models` for the names"
        )
    _check_index(model, index_file)
    pipeline = _read_pipeline(source, _PRECISIONS[dtype], offline)
    settings = read_settings(settings_file, multiple=2 * pipeline.vae_scale_factor)
    return FluxFillPolicy(pipeline.to(device), settings)


def _check_device(device: str) -> None:
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise BadInput(f"--device {device}: this machine has none; try --device cpu") from error


def _hub_answers() -> bool:
    # Asked once and briefly: the download itself would try for half a minute before it gives up,
    # and what an earlier download left can be used at once.
    try:
        get_session().head(constants.ENDPOINT, timeout=5)
    except Exception:  # which ones there are depends on the hub library's HTTP client
        return False
    return True


def _download(model: str, file: str, offline: bool) -> Path:
    try:
        return Path(hf_hub_download(model, file, local_files_only=offline))
    except GatedRepoError as error:
        raise BadInput(
            f"--model {model}: its licence must be accepted first; do so at "
            f"https://huggingface.co/{model} and run `hf auth login`"
        ) from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise BadInput(
            f"--model {model}: the hub knows no such model; run `onefill models` for local ones"
        ) from error
    except LocalEntryNotFoundError as error:
        raise BadInput(
            f"--model {model}: not on this machine, and the hub cannot be reached or --offline is "
            "set; give a local folder, or run `onefill models` for local names"
        ) from error
    except EntryNotFoundError as error:
        raise BadInput(
            f"--model {model}: holds no {file}, so it is no FLUX-Fill model; choose another"
        ) from error
    except (HfHubHTTPError, OSError) as error:
        raise BadInput(
            f"--model {model}: the hub does not give it ({_reason(error)}); try again, or give a "
            "local folder"
        ) from error


def _download_settings(model: str, index_file: Path, offline: bool) -> Path:
    try:
        return Path(hf_hub_download(model, SETTINGS_FILE, local_files_only=offline))
    except (EntryNotFoundError, OSError):
        # Most models have none; a path that does not exist stands for the defaults.
        return index_file.parent / SETTINGS_FILE


def _check_index(model: str, file: Path) -> None:
    try:
        kind = json.loads(file.read_text(encoding="utf-8")).get("_class_name")
    except FileNotFoundError as error:
        raise BadInput(
            f"--model {model}: holds no {_INDEX_FILE}; give a diffusers FluxFillPipeline folder"
        ) from error
    except (OSError, ValueError, AttributeError) as error:
        raise BadInput(f"--model {model}: {file.name} is broken; save the model again") from error
    if kind != FluxFillPipeline.__name__:
        raise BadInput(
            f"--model {model}: is a {kind}, not a FluxFillPipeline; run `onefill models` for names"
        )


def _read_pipeline(source: str, dtype: torch.dtype, offline: bool) -> FluxFillPipeline:
    try:
        with quiet_libraries():
            # Pickled weights are never read: they can run code.
            return FluxFillPipeline.from_pretrained(
                source, dtype=dtype, local_files_only=offline, use_safetensors=True
            )
    except (MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # whatever a damaged folder makes the libraries raise
        raise BadInput(
            f"--model {source}: cannot be loaded ({_reason(error)}); download or save it again"
        ) from error


def _reason(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__

"""Small files of models on the hub, and one line for each way in which the hub says no."""

from __future__ import annotations

from pathlib import Path

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
from onefill.policy.published import GATED


def hub_answers() -> bool:
    """Whether the hub can be reached, asked once and briefly.

    The download itself would try for half a minute before it gives up, and what an earlier
    download left can be used at once.
    """
    try:
        get_session().head(constants.ENDPOINT, timeout=5)
    except Exception:  # which ones there are depends on the hub library's HTTP client
        return False
    return True


def download(model: str, file: str, *, offline: bool, flag: str = "--model") -> Path:
    """A file of a model on the hub, from the local cache where it is there.

    Args:
        model: hub id.
        file: path in the model.
        offline: use the cache only.
        flag: how the user named the model.

    Raises:
        BadInput: there is no such model or file, its licence has not been accepted, or the hub
            cannot be reached.
    """
    where = f"{flag} {model}"
    try:
        return Path(hf_hub_download(model, file, local_files_only=offline))
    except GatedRepoError as error:
        raise BadInput(
            f"{where}: its licence must be accepted first; do so at {_page(model)} and run "
            "`hf auth login`"
        ) from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise BadInput(
            f"{where}: the hub knows no such model; run `onefill models` for local ones"
        ) from error
    except LocalEntryNotFoundError as error:
        fetch = f"run `hf download {model}`"
        if model in GATED:
            fetch = f"accept its licence at {_page(model)}, run `hf auth login`, and {fetch}"
        raise BadInput(
            f"{where}: not on this machine, and the hub cannot be reached or --offline is set; "
            f"where it can be, {fetch}; or give a local folder, or see `onefill models` for local "
            "names"
        ) from error
    except EntryNotFoundError as error:
        raise BadInput(
            f"{where}: holds no {file}, so it is not what is needed here; choose another"
        ) from error
    except (HfHubHTTPError, OSError) as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise BadInput(
            f"{where}: the hub does not give it ({reason}); try again, or give a local folder"
        ) from error


def _page(model: str) -> str:
    return f"https://huggingface.co/{model}"


def download_if_there(model: str, file: str, *, offline: bool) -> Path | None:
    """A file that most models do not have; None where it cannot be had."""
    try:
        return Path(hf_hub_download(model, file, local_files_only=offline))
    except (EntryNotFoundError, OSError):
        return None

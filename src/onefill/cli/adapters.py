"""The adapter that a flag names: a folder of its own, or what a run trained."""

from __future__ import annotations

from pathlib import Path

from onefill.errors import BadInput
from onefill.pocket.embedded import ADAPTERS
from onefill.policy.choice import ADAPTER_FILE


def adapter_folder(path: Path, flag: str = "--adapter") -> Path:
    """An embedded adapter, that of a run's folder, or the folder itself if it is one.

    Raises:
        BadInput: neither; of a run the line says how what it has learned can be used.
    """
    for folder in (ADAPTERS.get(str(path), path), path / "adapter"):
        if (folder / ADAPTER_FILE).is_file():
            return folder
    if (path / "config.yaml").is_file():
        raise BadInput(f"{flag} {path}: {_use_of_run(path)}")
    raise BadInput(
        f"{flag} {path}: no trained adapter in it; give the folder of a finished "
        f"`onefill train` run, or an embedded name ({', '.join(ADAPTERS)})"
    )


def _use_of_run(path: Path) -> str:
    from onefill.rl.config_file import build_config

    whole = build_config(path / "config.yaml", {}).train == "full"
    if whole and (path / "pipeline").is_dir():
        return f"this run trained every weight, so it is a model: --model {path / 'pipeline'}"
    if not any((path / "checkpoints").glob("step-*")):
        return (
            "this run has not finished, nor saved anything yet; go on with it: "
            f"onefill train --resume {path}"
        )
    form, flag = ("pipeline", "model") if whole else ("adapter", "adapter")
    target = f"{path.absolute().name}-{form}"
    return (
        f"this run has not finished; `onefill export {path} --to {form} -o {target}` writes what "
        f"its last checkpoint has learned, for --{flag} {target}"
    )

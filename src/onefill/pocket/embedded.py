"""Where the embedded models and scenes are, and what they say about themselves.

Imports nothing heavy, so that names can be checked before a model library is loaded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from onefill.errors import BadInput, OnefillError

Kind = Literal["policies", "judges", "adapters"]

_HERE = Path(__file__).parent

POLICIES: dict[str, Path] = {"pocket": _HERE / "weights" / "policy"}
"""Embedded policies by name: folders in the FLUX-Fill diffusers layout."""

JUDGES: dict[str, Path] = {"pocket": _HERE / "weights" / "judge"}
"""Embedded judges by name: Qwen2.5-VL folders."""

ADAPTERS: dict[str, Path] = {"pocket-distilled": _HERE / "weights" / "distilled"}
"""Embedded adapters of the embedded policy by name: LoRA folders that stock diffusers loads."""

CLASSIFIER = _HERE / "weights" / "classifier.safetensors"
"""What names the object in a fill when a policy is scored."""

SECOND_JUDGE = _HERE / "weights" / "second_judge.safetensors"
"""What is asked beside a judge, to see whether a reward is more than the judge's opinion."""

_CARD = {
    "policies": "onefill.json",
    "judges": "onefill_judge.json",
    "adapters": "onefill.json",
}
_FLAG = {"policies": "--model", "judges": "--judge"}
_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)+")
_REBUILD = "build them with `onefill pocket build`, or install onefill again"


@dataclass(frozen=True, kw_only=True)
class EmbeddedModel:
    """An embedded model that is there.

    Attributes:
        name: what ``--model``, ``--judge`` or ``--adapter`` takes.
        path: its folder.
        card: the contents of its ``onefill.json`` or ``onefill_judge.json``.

    """

    name: str
    path: Path
    card: Mapping[str, Any]


def resolve(kind: Literal["policies", "judges"], name: str) -> str:
    """What a loader is given for what the user typed after ``--model`` or ``--judge``.

    Returns:
        The folder of an embedded model, or ``name`` itself if it is a folder or may be a hub id.

    Raises:
        BadInput: it is none of the three, or an embedded model that is not in this installation.

    """
    flag, embedded = _FLAG[kind], _names(kind)
    if name in embedded:
        if not (embedded[name] / _CARD[kind]).is_file():
            raise BadInput(f"{flag} {name}: the embedded models are missing; {_REBUILD}")
        return str(embedded[name])
    path = Path(name).expanduser()
    if name and path.is_dir():
        return str(path)
    if path.is_file():
        raise BadInput(f"{flag} {name}: is a file; name the folder that holds the model")
    if not _HUB_ID.fullmatch(name) or name.startswith("."):
        raise BadInput(
            f"{flag} {name}: no such model; give an embedded name ({', '.join(embedded)}), "
            "a folder or a hub id (see `onefill models`)"
        )
    return name


def describe(kind: Kind) -> list[EmbeddedModel]:
    """The embedded models of a kind that are in this installation.

    Raises:
        OnefillError: a model's card cannot be read.

    """
    found = []
    for name, folder in _names(kind).items():
        card = folder / _CARD[kind]
        if not card.is_file():
            continue
        try:
            contents = json.loads(card.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise OnefillError(f"{card}: cannot be read ({error}); {_REBUILD}") from error
        if not isinstance(contents, dict):
            raise OnefillError(f"{card}: holds no JSON object; {_REBUILD}")
        found.append(EmbeddedModel(name=name, path=folder, card=contents))
    return found


def scenes(split: Literal["train", "heldout", "unseen"]) -> Path:
    """The folder of embedded scenes: pictures and a ``metadata.jsonl``.

    Raises:
        BadInput: they are not in this installation.

    """
    folder = _HERE / "scenes" / split
    if not (folder / "metadata.jsonl").is_file():
        raise BadInput(f"--data: the embedded scenes are missing; give a folder, or {_REBUILD}")
    return folder


def _names(kind: Kind) -> dict[str, Path]:
    return {"policies": POLICIES, "judges": JUDGES, "adapters": ADAPTERS}[kind]

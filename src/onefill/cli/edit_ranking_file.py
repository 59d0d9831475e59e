"""The file that says how an edit's candidates were ranked; once it is there, the edit is done."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from onefill.edit.output import RANKING, beside
from onefill.errors import OnefillError
from onefill.files import replace_text


def ranking_path(outputs: Sequence[Path]) -> Path:
    """Where the ranking of an edit with these results goes."""
    return beside(outputs, RANKING)


def write_ranking(outputs: Sequence[Path], document: Mapping[str, Any]) -> None:
    """Write the ranking; results that an earlier one had kept and this one has not are removed.

    Args:
        outputs: the places of all candidates.
        document: what to write; its "results" name the files kept.

    Raises:
        OnefillError: it cannot be written.
    """
    path = ranking_path(outputs)
    stale = _kept(read_ranking(path)) - _kept(document)
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    try:
        # Before the ranking: a stop between the two leaves the edit to be done again.
        for output in outputs:
            if output.name in stale:
                output.unlink(missing_ok=True)
        replace_text(path, text)
    except OSError as error:
        raise OnefillError(f"{path}: cannot be written ({error.strerror})") from error


def read_ranking(path: Path) -> dict[str, Any]:
    """The ranking in a file; empty if there is none that can be read."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def _kept(document: Mapping[str, Any]) -> set[str]:
    """The names of the files that a ranking speaks of."""
    results = document.get("results")
    entries = results if isinstance(results, list) else []
    names = (entry.get("path") for entry in entries if isinstance(entry, dict))
    return {name for name in names if isinstance(name, str)}

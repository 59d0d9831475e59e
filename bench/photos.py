"""The photographs that a benchmark looks at: a folder's, or those inside installed packages."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

_ENDINGS = {".png", ".jpg", ".jpeg", ".webp"}


def find_photos(folder: Path | None, packaged: Mapping[str, Sequence[str]]) -> list[Path]:
    """Those of a folder, or else the packaged files that are there; says so where there is none.

    Args:
        folder: what --photos names; None takes packages.
        packaged: package to files inside it.
    """
    if folder is not None:
        photos = sorted(f for f in folder.iterdir() if f.suffix.lower() in _ENDINGS)
    else:
        photos = [file for file in _inside(packaged) if file.is_file()]
    if not photos:
        print(
            "no photographs: give --photos FOLDER, or `pip install scikit-image`", file=sys.stderr
        )
    return photos


def _inside(packaged: Mapping[str, Sequence[str]]) -> list[Path]:
    found = []
    for package, files in packaged.items():
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.origin is not None:
            found += [Path(spec.origin).parent / file for file in files]
    return found

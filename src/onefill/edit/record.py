"""What a result tells about its own making, written into the file and read back from it.

One line of JSON for each edit, the oldest first: a picture that is edited twice tells of both. A
PNG holds them in a text chunk, JPEG and WebP in the EXIF entry that exists for a picture's history.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from PIL import Image, PngImagePlugin

from onefill import __version__
from onefill.images import FORMATS, decode_image

TEXT_KEY = "onefill"
"""Keyword of the PNG's text chunk."""

EXIF_TAG = 0x9213
"""ImageHistory of TIFF/EP (ISO 12234-2): "a record of what has been done to the image"."""


@dataclass(frozen=True, kw_only=True)
class EditRecord:
    """One edit, as far as it must be known to make it again; None where it does not apply.

    Attributes:
        task: its name.
        prompt: text the model was given.
        seed: of the noise.
        model: embedded name, hub id, or folder; of a folder only its own name is written.
        adapter: folder of trained weights on top, likewise.
        negative: what guidance led away from.
        steps: Euler steps.
        guidance: true guidance scale.
        strength: noise level at which painting began.
        key: of an edit of a batch, see ``onefill.edit.key``.
    """

    task: str
    prompt: str
    seed: int
    model: str
    adapter: str | None = None
    negative: str | None = None
    steps: int | None = None
    guidance: float | None = None
    strength: float | None = None
    key: str | None = None

    def line(self) -> str:
        """One line of ASCII JSON; the version of onefill comes first."""
        # Where somebody keeps their models is nobody's business who is sent the picture.
        own = {"model": own_name(self.model), "adapter": own_name(self.adapter)}
        known = {key: value for key, value in (asdict(self) | own).items() if value is not None}
        return json.dumps({"onefill": __version__, **known})


def read_history(path: Path) -> list[dict[str, Any]]:
    """The edits a file tells of, the oldest first; empty if it tells of none.

    Raises:
        BadInput: the file is no picture.
    """
    return _edits_in(history_of(decode_image(path)))


def read_key(path: Path) -> str | None:
    """The key of the newest edit that a result tells of; None if it tells none.

    Only the head of the file is read, not its pixels.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            edits = _edits_in(history_of(image))
    # Whatever a damaged file is answered with, it tells nothing.
    except Exception:
        return None
    key = edits[-1].get("key") if edits else None
    return key if isinstance(key, str) else None


def _edits_in(history: Sequence[str]) -> list[dict[str, Any]]:
    edits = []
    for line in history:
        try:
            edits.append(json.loads(line))
        except ValueError:
            continue  # another program's entry
    return [edit for edit in edits if isinstance(edit, dict) and TEXT_KEY in edit]


def history_of(image: Image.Image) -> tuple[str, ...]:
    """The lines of history in a picture, of whatever program."""
    try:
        if isinstance(image, PngImagePlugin.PngImageFile):
            # Not from ``text``, which would decode the pixels for the sake of what follows them.
            text = image.info.get(TEXT_KEY, "")
        else:
            text = image.getexif().get(EXIF_TAG, "")
    # A damaged EXIF block, which Pillow answers in many ways, tells nothing.
    except Exception:
        return ()
    return tuple(text.splitlines()) if isinstance(text, str) else ()


def own_name(model: str | None) -> str | None:
    """A folder's last name; anything else as it is."""
    if model is not None and Path(model).expanduser().is_dir():
        return Path(model).expanduser().resolve().name
    return model

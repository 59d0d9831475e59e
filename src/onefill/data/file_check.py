"""A look at the header of every picture, so that a bad file is told before training begins."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from onefill.data.jsonl import Row
from onefill.images import MAX_PIXELS, read_image, read_mask


def check_files(rows: Iterable[Row]) -> None:
    """Open the pictures and masks of all rows without decoding them.

    Raises:
        BadInput: a file is empty, no picture or too large, or a mask is not of its picture's
            size. Damage that the header does not show is told when the sample is drawn.
    """
    sizes: dict[Path, tuple[int, int] | None] = {}
    for row in rows:
        if row.image not in sizes:
            sizes[row.image] = _header_size(row.image)
        size = sizes[row.image]
        if size is None:
            size = read_image(row.image, flag=row.origin).size
        if row.mask is None:
            continue
        mask_size = _header_size(row.mask)
        # Sizes are as stored: either file may yet be turned upright.
        if mask_size is None or sorted(mask_size) != sorted(size):
            read_mask(row.mask, read_image(row.image, flag=row.origin).size, flag=row.origin)


def _header_size(path: Path) -> tuple[int, int] | None:
    """Width and height as stored, or None if a closer look is needed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                return image.size if image.width * image.height <= MAX_PIXELS else None
    # Whatever a damaged header makes Pillow raise, the full reading tells it to the user.
    except Exception:
        return None

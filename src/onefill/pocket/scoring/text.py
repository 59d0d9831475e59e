"""Written words, read back as ``onefill edit --check-text`` reads them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from onefill.edit.crop import bounding_box
from onefill.edit.reading import Reader, missing_packages, open_reader, read_box, says_the_same
from onefill.pocket.scoring.held_out import HeldOut, Pictures, paint
from onefill.pocket.scoring.table import NEEDS_PACKAGES, Figures, share_of
from onefill.policy.flux_fill import FluxFillPolicy


def score_text(policy: FluxFillPolicy, scenes: HeldOut, seed: int) -> Figures:
    """Words read without a wrong letter; spaces, case and forms of width do not count.

    What is read of the true composites, in the font that is held out, says what that is worth.
    """
    if missing_packages():
        return {"text/read": NEEDS_PACKAGES, "text/reader": NEEDS_PACKAGES}
    reader = open_reader()
    return {
        "text/read": share_of(read_rightly(reader, paint(policy, scenes, seed), scenes)),
        "text/reader": share_of(read_rightly(reader, scenes.truths, scenes)),
    }


def read_rightly(reader: Reader, pictures: Pictures, scenes: HeldOut) -> NDArray[np.bool_]:
    """Whether the word of each scene is what its picture says inside the mask, (N,)."""
    cases = zip(pictures, scenes.masks, scenes.rows, strict=True)
    return np.array(
        [
            says_the_same(read_box(Image.fromarray(p), bounding_box(m), reader), row["word"])
            for p, m, row in cases
        ]
    )

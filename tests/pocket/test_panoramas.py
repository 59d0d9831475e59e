"""Panoramas become photographs."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import OpenEXR

from onefill.pocket.material.panoramas import read_panorama


def test_light_is_shown_by_its_middle_and_the_bent_rows_are_left_out(tmp_path: Path) -> None:
    light = np.full((64, 128, 3), 0.2, np.float32)
    light[:8], light[-8:] = 9, 9
    light[30, 60] = 1e5  # the sun
    file = tmp_path / "hall.exr"
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    with OpenEXR.File(header, {"RGB": light}) as stored:
        stored.write(str(file))
    module = tmp_path / "hall.exr.js"
    encoded = base64.b64encode(file.read_bytes()).decode()
    module.write_text(f"export default 'data:application/exr;base64,{encoded}'", encoding="ascii")
    shown = np.asarray(read_panorama(module))
    assert shown.shape == (48, 128, 3)
    assert np.unique(shown).size == 2
    assert 150 < shown[0, 0, 0] < 200
    assert shown[22, 60, 0] == 255

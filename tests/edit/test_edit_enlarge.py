"""Paintings brought to the size of their box, with the picture's own pixels where pieces lie."""

from __future__ import annotations

import numpy as np
import pytest

from onefill.edit.canvas import Canvas
from onefill.edit.crop import Box, Crop, shrink_mask, shrink_picture
from onefill.edit.enlarge import enlarge
from onefill.images import image_to_array
from onefill.policy.finishing import Finished, finish

_RED = (255, 0, 0)


def _grain(height: int, width: int, channels: int = 3) -> np.ndarray:
    """Grey grain as fine as pixels, light above and dark below, with a red thing on it."""
    rng = np.random.default_rng(0)
    grey = (
        rng.integers(0, 60, (height, width))
        + np.where(np.arange(height) < height / 2, 180, 20)[:, None]
    )
    pixels = np.repeat(grey[..., None], 3, 2).astype(np.uint8)
    if channels == 4:
        pixels = np.dstack([pixels, np.full((height, width), 255, np.uint8)])
    return pixels


def _thing(height: int, width: int) -> np.ndarray:
    mask = np.zeros((height, width), bool)
    mask[height // 3 : height // 2, width // 3 : width // 2 + 5] = True
    return mask


def _removed(pixels: np.ndarray, crop: Crop) -> tuple[np.ndarray, np.ndarray, Finished]:
    mask = _thing(*pixels.shape[:2])
    pixels = pixels.copy()
    pixels[mask, :3] = _RED
    canvas = Canvas(pixels)
    known = image_to_array(shrink_picture(canvas.view(crop.box), crop))
    small = shrink_mask(mask[crop.box.slices], crop)
    painting = finish(np.where(small, 0.7, known), known, small, detail=False, pieces=True)
    assert painting.laid is not None
    return np.asarray(enlarge(painting, canvas, crop)), mask[crop.box.slices], painting


@pytest.mark.parametrize("box", [Box(0, 0, 150, 130), Box(11, 3, 128, 120), Box(0, 0, 64, 64)])
def test_pieces_are_as_fine_as_the_picture_and_never_of_what_is_removed(box: Box) -> None:
    pixels = _grain(130, 150) if box.width > 64 else _grain(64, 64)
    result, mask, _ = _removed(pixels, Crop(box, 64, 64))
    inside, light = result[mask].astype(int), pixels[: len(pixels) // 3]
    assert np.ptp(inside, axis=1).max() < 20  # nearly grey: no red was copied
    assert inside.std() > 0.6 * light.std()
    assert inside.mean() == pytest.approx(light.mean(), abs=15)


def test_at_the_working_size_nothing_is_changed() -> None:
    result, mask, painting = _removed(_grain(64, 64), Crop(Box(0, 0, 64, 64), 64, 64))
    expected = painting.picture.transpose(1, 2, 0) * 255
    assert np.abs(result[mask] - expected[mask]).max() <= 1


def test_a_box_that_is_transparent_somewhere_is_enlarged_as_a_whole() -> None:
    """Hidden colours there are not the ones that the model was shown."""
    pixels = _grain(130, 150, channels=4)
    crop = Crop(Box(0, 0, 150, 130), 64, 64)
    opaque, mask, _ = _removed(pixels, crop)
    pixels[0, 0, 3] = 128
    enlarged, _, _ = _removed(pixels, crop)
    assert enlarged[mask].std() < 0.7 * opaque[mask].std()

from __future__ import annotations

import numpy as np

from onefill.edit.canvas import Canvas
from onefill.edit.crop import Box, Crop
from onefill.edit.show import show_crop

CROP = Crop(Box(0, 0, 32, 32), 16, 16)
NOTHING = np.zeros((16, 16), np.bool_)


def cut_out(inside: tuple[int, ...], hidden: tuple[int, ...], opacity: int = 255) -> Canvas:
    """Left half visible, right half transparent over a colour that nobody sees."""
    pixels = np.zeros((32, 32, 4), np.uint8)
    pixels[:, :16] = (*inside, opacity)
    pixels[:, 16:] = (*hidden, 0)
    return Canvas(pixels)


def test_a_cut_outs_colours_go_on_where_it_is_transparent() -> None:
    view = np.asarray(show_crop(cut_out((200, 60, 20), (0, 255, 0)), CROP, NOTHING)).astype(int)
    assert np.abs(view - (200, 60, 20)).max() <= 5


def test_hidden_colours_do_not_matter() -> None:
    one = show_crop(cut_out((200, 60, 20), (0, 255, 0)), CROP, NOTHING)
    other = show_crop(cut_out((200, 60, 20), (9, 9, 90)), CROP, NOTHING)
    assert one.tobytes() == other.tobytes()


def test_what_is_taken_out_is_not_carried_on() -> None:
    canvas = cut_out((200, 60, 20), (0, 0, 0))
    canvas.pixels[8:24, 8:16, :3] = (0, 0, 255)
    mask = NOTHING.copy()
    mask[3:13, 3:9] = True
    view = np.asarray(show_crop(canvas, CROP, mask)).astype(int)
    assert np.abs(view[:, 9:] - (200, 60, 20)).max() <= 6


def test_what_is_partly_transparent_shows_its_own_colour() -> None:
    view = np.asarray(show_crop(cut_out((200, 60, 20), (0, 0, 0), 128), CROP, NOTHING)).astype(int)
    assert np.abs(view - (200, 60, 20)).max() <= 5


def test_where_nothing_can_be_seen_the_model_sees_white() -> None:
    canvas = cut_out((1, 2, 3), (4, 5, 6), opacity=0)
    assert (np.asarray(show_crop(canvas, CROP, NOTHING)) == 255).all()


def test_an_opaque_picture_is_shown_as_it_is() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 4), np.uint8)
    pixels[..., 3] = 255
    seen = show_crop(Canvas(pixels), CROP, NOTHING)
    assert seen.tobytes() == show_crop(Canvas(pixels[..., :3]), CROP, NOTHING).tobytes()

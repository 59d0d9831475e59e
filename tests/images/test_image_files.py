from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from onefill import images
from onefill.errors import BadInput, OnefillError

RED, WHITE = (255, 0, 0), (255, 255, 255)


def photo(size: tuple[int, int] = (40, 30)) -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(noise)


def png_bytes(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def png_that_claims(width: int, height: int) -> bytes:
    """A few bytes that unpack to as many pixels as you like."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + checksum

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


def missing(folder: Path) -> Path:
    return folder / "absent.png"


def a_folder(folder: Path) -> Path:
    return folder


def empty(folder: Path) -> Path:
    path = folder / "empty.png"
    path.touch()
    return path


def prose(folder: Path) -> Path:
    path = folder / "prose.png"
    path.write_text("this is no picture")
    return path


def truncated_png(folder: Path) -> Path:
    path = folder / "cut.png"
    path.write_bytes(png_bytes(photo())[:1500])
    return path


def truncated_jpeg(folder: Path) -> Path:
    path = folder / "cut.jpg"
    photo().save(path)
    path.write_bytes(path.read_bytes()[:-900])
    return path


def damaged_png(folder: Path) -> Path:
    path = folder / "damaged.png"
    raw = bytearray(png_bytes(photo()))
    raw[200:260] = bytes(60)
    path.write_bytes(raw)
    return path


def huge(folder: Path) -> Path:
    path = folder / "huge.png"
    path.write_bytes(png_that_claims(13_000, 13_000))
    return path


def monstrous(folder: Path) -> Path:
    path = folder / "monstrous.png"
    path.write_bytes(png_that_claims(60_000, 60_000))
    return path


def pipe(folder: Path) -> Path:
    path = folder / "pipe.png"
    os.mkfifo(path)
    return path


def name_too_long(folder: Path) -> Path:
    return folder / ("x" * 400 + ".png")


BAD = [
    (missing, "no such file"),
    (a_folder, "is a folder"),
    (empty, "0 bytes"),
    (prose, "not an image"),
    (truncated_png, "truncated or damaged"),
    (truncated_jpeg, "truncated or damaged"),
    (damaged_png, "truncated or damaged"),
    (huge, "169 megapixels, over the limit of 150"),
    (monstrous, "megapixels"),
    (pipe, "pipe or device"),
    (name_too_long, "cannot be read"),
]


@pytest.mark.parametrize(("make", "complaint"), BAD, ids=[make.__name__ for make, _ in BAD])
@pytest.mark.parametrize("reader", ["image", "mask"])
def test_a_bad_file_is_refused_in_one_line_that_names_it(
    make: Callable[[Path], Path], complaint: str, reader: str, tmp_path: Path
) -> None:
    path = make(tmp_path)
    with pytest.raises(BadInput) as caught:
        if reader == "image":
            images.read_image(path, flag="--image")
        else:
            images.read_mask(path, (40, 30))
    message = str(caught.value)
    assert complaint in message
    assert str(path) in message
    assert message.startswith("--image" if reader == "image" else "--mask")
    assert "\n" not in message


def test_a_picture_just_below_the_limit_is_read_without_a_warning(
    tmp_path: Path, recwarn: pytest.WarningsRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    photo().save(tmp_path / "photo.png")
    assert images.read_image(tmp_path / "photo.png").size == (40, 30)
    assert len(recwarn) == 0


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr", "I;16", "F"])
def test_every_mode_becomes_rgb(mode: str, tmp_path: Path) -> None:
    path = tmp_path / "picture.tif"
    picture = Image.new("RGB", (7, 5), (180, 180, 180))
    if mode == "I;16":
        stored = Image.fromarray(np.full((5, 7), 180 * 257, dtype=np.uint16))
    elif mode == "F":
        stored = Image.fromarray(np.full((5, 7), 180 / 255, dtype=np.float32))
    else:
        stored = picture.convert(mode, palette=Image.Palette.ADAPTIVE)
    stored.save(path)
    read = images.read_image(path)
    assert read.mode == "RGB"
    assert read.size == (7, 5)
    if mode != "1":
        assert np.abs(np.asarray(read).astype(int) - 180).max() <= 2


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_becomes_white_and_not_what_hid_below(
    mode: str, tmp_path: Path
) -> None:
    picture = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    picture.paste((0, 0, 0, 255), (0, 0, 2, 4))
    picture.convert(mode).save(tmp_path / "clear.png")
    read = images.read_image(tmp_path / "clear.png")
    assert read.getpixel((3, 0)) == WHITE
    assert read.getpixel((0, 0)) == (0, 0, 0)


def test_a_photograph_taken_sideways_is_upright_and_keeps_its_info(tmp_path: Path) -> None:
    picture = Image.new("RGB", (30, 20))
    picture.paste(RED, (0, 0, 10, 20))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise to see it
    picture.save(tmp_path / "turned.png", exif=exif, dpi=(300, 300))
    read = images.read_image(tmp_path / "turned.png")
    assert read.size == (20, 30)
    assert read.getpixel((5, 2)) == RED
    assert read.info["dpi"] == pytest.approx((300, 300), abs=1)
    raw = images.decode_image(tmp_path / "turned.png")
    assert raw.size == (30, 20)


def test_damaged_exif_does_not_cost_the_picture(tmp_path: Path) -> None:
    photo().save(tmp_path / "odd.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\x7fgarbage")
    assert images.read_image(tmp_path / "odd.jpg").size == (40, 30)


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "RGBA", "LA", "P", "I;16"])
def test_a_mask_of_any_mode_paints_where_it_is_bright(mode: str, tmp_path: Path) -> None:
    expected = np.zeros((30, 40), dtype=bool)
    expected[5:20, 8:30] = True
    white = Image.fromarray(expected.astype(np.uint8) * 255)
    if mode == "I;16":
        stored = Image.fromarray(expected.astype(np.uint16) * 65535)
    else:
        stored = white.convert(mode)
    stored.save(tmp_path / "mask.png")
    assert np.array_equal(images.read_mask(tmp_path / "mask.png", (40, 30)), expected)


def test_a_mask_paints_above_half_only(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 127, 128, 255]], dtype=np.uint8)).save(tmp_path / "mask.png")
    mask = images.read_mask(tmp_path / "mask.png", (4, 1))
    assert mask.tolist() == [[False, False, True, True]]


def test_what_a_mask_leaves_transparent_is_kept(tmp_path: Path) -> None:
    strokes = Image.new("RGBA", (6, 2), (255, 255, 255, 0))
    strokes.paste((255, 255, 255, 255), (0, 0, 2, 2))
    strokes.save(tmp_path / "mask.png")
    mask = images.read_mask(tmp_path / "mask.png", (6, 2))
    assert mask.tolist() == [[True, True, False, False, False, False]] * 2


def test_a_mask_of_another_size_is_refused(tmp_path: Path) -> None:
    Image.new("L", (30, 40), 255).save(tmp_path / "mask.png")
    with pytest.raises(BadInput, match="mask is 30x40 but the image is 40x30"):
        images.read_mask(tmp_path / "mask.png", (40, 30))


@pytest.mark.parametrize("mode", ["L", "RGBA"])
def test_an_empty_mask_is_refused(mode: str, tmp_path: Path) -> None:
    Image.new(mode, (40, 30)).save(tmp_path / "mask.png")
    with pytest.raises(BadInput, match="the mask is empty"):
        images.read_mask(tmp_path / "mask.png", (40, 30))


@given(pixels=arrays.arrays(np.uint8, st.tuples(st.integers(1, 8), st.integers(1, 8), st.just(3))))
def test_picture_to_array_and_back_loses_nothing(pixels: Any) -> None:
    array = images.image_to_array(Image.fromarray(pixels))
    assert array.shape == (3, *pixels.shape[:2])
    assert array.dtype == np.float32
    assert 0.0 <= array.min() <= array.max() <= 1.0
    assert np.array_equal(np.asarray(images.array_to_image(array)), pixels)


def test_values_beyond_the_range_are_clipped_and_the_rest_rounded() -> None:
    array = np.full((3, 1, 4), [-0.5, 0.499 / 255, 0.501 / 255, 1.5], dtype=np.float64)
    assert np.asarray(images.array_to_image(array))[0, :, 0].tolist() == [0, 0, 1, 255]


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("", "is a folder"),
        ("out", "no image format is called ''"),
        ("out.docx", "no image format is called '.docx'"),
        ("file.txt/out.png", "cannot be written"),
        ("file.txt/deeper/out.png", "cannot be written"),
    ],
)
def test_a_place_where_no_image_can_be_saved_is_refused_before_the_work(
    name: str, complaint: str, tmp_path: Path
) -> None:
    (tmp_path / "file.txt").touch()
    with pytest.raises(BadInput, match=complaint) as caught:
        images.check_target(tmp_path / name)
    assert str(caught.value).startswith("-o ")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file.txt"]


def test_a_read_only_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        os, "access", lambda path, mode: path != tmp_path
    )  # root may write anywhere
    with pytest.raises(BadInput, match="cannot be written"):
        images.check_target(tmp_path / "out.png")


def test_a_good_place_is_taken_and_its_folder_made_only_when_saving(tmp_path: Path) -> None:
    target = images.check_target(tmp_path / "new" / "deep" / "out.png")
    assert not (tmp_path / "new").exists()
    images.save_image(photo(), target)
    assert Image.open(target).tobytes() == photo().tobytes()
    assert [path.name for path in target.parent.iterdir()] == ["out.png"]


def test_a_picture_that_cannot_be_saved_leaves_the_old_one_and_no_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "out.png"
    target.write_bytes(b"the old one")

    def disk_full(self: Image.Image, path: Path) -> None:
        path.write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", disk_full)
    with pytest.raises(OnefillError, match="No space left on device"):
        images.save_image(photo(), target)
    assert target.read_bytes() == b"the old one"
    assert [path.name for path in tmp_path.iterdir()] == ["out.png"]


def test_kinds_that_are_rarely_met_are_not_decoded_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    photo().save(path, "PCX")
    with pytest.raises(BadInput, match="of a kind read here; give a PNG"):
        images.decode_image(path)


def test_a_file_of_absurd_length_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png_bytes(photo()))
    os.truncate(path, images.MAX_BYTES + 1)  # sparse: takes no room
    with pytest.raises(BadInput, match="longer than 1,024 MiB"):
        images.decode_image(path)

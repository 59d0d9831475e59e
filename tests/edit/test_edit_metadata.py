"""What a result carries beside its pixels: how it was made, and what the photograph said."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image, PngImagePlugin
from test_edit_exif import camera_block

from onefill import __version__
from onefill.edit.decode import open_photo
from onefill.edit.encode import check_output, write_picture
from onefill.edit.exif import add_text, update_exif
from onefill.edit.record import EXIF_TAG, EditRecord, read_history
from onefill.errors import BadInput

RECORD = EditRecord(task="fill", prompt='澳门, a "hat"\n', seed=7, model="pocket", guidance=3.0)
TOLD = {
    "onefill": __version__,
    "task": "fill",
    "prompt": '澳门, a "hat"\n',
    "seed": 7,
    "model": "pocket",
    "guidance": 3.0,
}


def noise(mode: str = "RGB") -> Image.Image:
    pixels = np.random.default_rng(1).integers(0, 256, (20, 30, 4), np.uint8)
    return Image.fromarray(pixels, "RGBA").convert(mode)


def with_chunks(path: Path, *chunks: tuple[bytes, bytes]) -> Path:
    """A PNG with chunks put behind its header."""
    stream = io.BytesIO()
    noise().save(stream, "PNG")
    data = stream.getvalue()
    added = b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )
    path.write_bytes(data[:33] + added + data[33:])
    return path


def chunks_of(path: Path) -> dict[bytes, bytes]:
    data, place, found = path.read_bytes(), 8, {}
    while place < len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        found[kind] = data[place + 8 : place + 8 + length]
        place += 12 + length
    return found


@pytest.mark.parametrize("source", ["png", "jpg", "webp", "tif"])
@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_a_result_tells_how_it_was_made(tmp_path: Path, source: str, suffix: str) -> None:
    noise().save(tmp_path / f"in.{source}")
    photo = open_photo(tmp_path / f"in.{source}")
    write_picture(tmp_path / f"out.{suffix}", photo.canvas, photo, RECORD)
    assert read_history(tmp_path / f"out.{suffix}") == [TOLD]


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_the_second_edit_of_a_picture_tells_of_the_first_too(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "in.jpg"
    noise().save(path)
    for number, target in enumerate([f"first.{suffix}", "second.png", f"third.{suffix}"]):
        photo = open_photo(path)
        path = tmp_path / target
        write_picture(path, photo.canvas, photo, replace(RECORD, seed=number))
    assert [edit["seed"] for edit in read_history(path)] == [0, 1, 2]


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_without_a_record_nothing_is_added(tmp_path: Path, suffix: str) -> None:
    noise().save(tmp_path / "in.png")
    photo = open_photo(tmp_path / "in.png")
    path = tmp_path / f"out.{suffix}"
    write_picture(path, photo.canvas, photo)
    assert read_history(path) == []
    assert b"onefill" not in path.read_bytes()


def test_a_record_names_a_folder_and_not_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "secret" / "hats").mkdir(parents=True)
    line = replace(RECORD, model="owner/name", adapter=str(tmp_path / "secret" / "hats")).line()
    assert '"adapter": "hats"' in line and '"model": "owner/name"' in line
    assert "secret" not in line


def test_another_programs_history_stays_and_is_not_taken_for_ours(tmp_path: Path) -> None:
    block = add_text(camera_block(), EXIF_TAG, "cropped by hand\n{}\n[1]")
    noise().save(tmp_path / "in.jpg", exif=block)
    photo = open_photo(tmp_path / "in.jpg")
    write_picture(tmp_path / "out.jpg", photo.canvas, photo, RECORD)
    assert read_history(tmp_path / "out.jpg") == [TOLD]
    with Image.open(tmp_path / "out.jpg") as image:
        assert str(image.getexif()[EXIF_TAG]).startswith("cropped by hand\n{}\n[1]\n{")


def test_a_record_that_no_longer_fits_into_a_jpeg_is_left_out(tmp_path: Path) -> None:
    noise().save(tmp_path / "in.jpg", exif=camera_block() + bytes(63_000))
    photo = open_photo(tmp_path / "in.jpg")
    write_picture(tmp_path / "out.jpg", photo.canvas, photo, replace(RECORD, prompt="x" * 3000))
    assert read_history(tmp_path / "out.jpg") == []
    with Image.open(tmp_path / "out.jpg") as image:
        assert image.getexif()[ExifTags.Base.Orientation] == 1


@pytest.mark.parametrize("order", ["<", ">"])
def test_adding_a_text_moves_nothing_else(order: str) -> None:
    block = update_exif(camera_block(order=order), 300, 200)
    assert block is not None
    added = add_text(add_text(block, EXIF_TAG, "first"), EXIF_TAG, "then longer")
    # Only the pointer to the main folder differs in what was there.
    assert added[:10] == block[:10] and added[14 : len(block)] == block[14:]
    exif = Image.Exif()
    exif.load(added)
    assert exif[EXIF_TAG] == "then longer"
    assert exif[ExifTags.Base.Orientation] == 1
    details = exif.get_ifd(ExifTags.IFD.Exif)
    assert details[ExifTags.Base.MakerNote] == b"MAKER-NOTE-OF-A-CAMERA"
    assert details[ExifTags.Base.ExifImageWidth] == 300


@given(st.text(st.characters(max_codepoint=127, exclude_characters="\0"), min_size=4, max_size=90))
def test_any_ascii_text_comes_back(text: str) -> None:
    exif = Image.Exif()
    exif.load(add_text(None, EXIF_TAG, text))
    assert exif[EXIF_TAG] == text


def test_the_texts_of_a_png_stay(tmp_path: Path) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("Title", "Café")
    info.add_itxt("Author", "Zoë 澳门", lang="en")
    info.add_text("Raw profile type xmp", "\nxmp\n 2\n4142\n")
    noise().save(tmp_path / "in.png", pnginfo=info)
    photo = open_photo(tmp_path / "in.png")
    write_picture(tmp_path / "out.png", photo.canvas, photo)
    with Image.open(tmp_path / "out.png") as image:
        image.load()
        assert dict(image.text) == {"Title": "Café", "Author": "Zoë 澳门"}  # type: ignore[attr-defined]


def test_what_the_numbers_of_a_png_mean_stays(tmp_path: Path) -> None:
    chunks = {
        b"gAMA": struct.pack(">I", 100_000),
        b"cHRM": struct.pack(">8I", *range(1, 9)),
        b"cICP": bytes((1, 13, 0, 1)),
    }
    photo = open_photo(with_chunks(tmp_path / "in.png", *chunks.items()))
    write_picture(tmp_path / "out.png", photo.canvas, photo)
    written = chunks_of(tmp_path / "out.png")
    assert {kind: written[kind] for kind in chunks} == chunks


@pytest.mark.parametrize("transfer", [16, 18])
def test_an_hdr_png_is_refused(tmp_path: Path, transfer: int) -> None:
    path = with_chunks(tmp_path / "in.png", (b"cICP", bytes((9, transfer, 0, 1))))
    with pytest.raises(BadInput, match="HDR picture; convert it to SDR"):
        open_photo(path)


def test_wide_colours_that_only_a_png_tells_of_go_into_no_other_format(tmp_path: Path) -> None:
    photo = open_photo(with_chunks(tmp_path / "in.png", (b"cICP", bytes((12, 13, 0, 1)))))
    for suffix in ("jpg", "webp"):
        with pytest.raises(BadInput, match=r"kind of colours; end it in \.png"):
            check_output(tmp_path / f"out.{suffix}", photo, 30, 20)
    check_output(tmp_path / "out.png", photo, 30, 20)


def test_a_gain_map_is_left_out_and_said(tmp_path: Path) -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/" hdrgm:Version="1.0"/>'
    noise().save(tmp_path / "in.jpg", xmp=xmp)
    assert "gain map is not kept" in open_photo(tmp_path / "in.jpg").notes[0]


def test_a_jpeg_of_plain_rgb_lends_no_tables(tmp_path: Path) -> None:
    noise().save(tmp_path / "in.jpg", keep_rgb=True, quality=60)
    photo = open_photo(tmp_path / "in.jpg")
    assert photo.jpeg is None
    write_picture(tmp_path / "out.jpg", photo.canvas, photo)
    with Image.open(tmp_path / "out.jpg") as image:
        change = np.abs(np.asarray(image, int) - photo.canvas.pixels)
    assert change.mean() < 3

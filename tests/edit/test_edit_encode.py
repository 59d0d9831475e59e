from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms

from onefill.edit.canvas import Canvas
from onefill.edit.decode import Photo, open_photo
from onefill.edit.encode import check_output, write_picture
from onefill.errors import BadInput, OnefillError

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/">caf\xc3\xa9</x:xmpmeta>'


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def make_photo(tmp_path: Path, suffix: str, mode: str = "RGB") -> Photo:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 8
    exif[ExifTags.Base.Make] = "Onecam"
    noise = np.random.default_rng(0).integers(0, 256, (20, 30, 4), np.uint8)
    path = tmp_path / f"source.{suffix}"
    Image.fromarray(noise, "RGBA").convert(mode).save(
        path, exif=exif, icc_profile=SRGB, dpi=(300, 300)
    )
    photo = open_photo(path)
    return Photo(**{**vars(photo), "xmp": XMP})


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
@pytest.mark.parametrize("suffix", ["png", "webp"])
def test_lossless_formats_keep_every_bit(tmp_path: Path, mode: str, suffix: str) -> None:
    photo = make_photo(tmp_path, "png", mode)
    write_picture(tmp_path / f"out.{suffix}", photo.canvas, photo)
    with Image.open(tmp_path / f"out.{suffix}") as image:
        written = np.asarray(image if suffix == "png" else image.convert(mode))
    assert (written == photo.canvas.pixels.squeeze()).all()


@pytest.mark.parametrize("suffix", ["png", "webp", "jpg"])
def test_metadata_survives_with_the_orientation_reset(tmp_path: Path, suffix: str) -> None:
    photo = make_photo(tmp_path, "jpg")
    write_picture(tmp_path / f"out.{suffix}", photo.canvas, photo)
    with Image.open(tmp_path / f"out.{suffix}") as image:
        image.load()
        assert image.size == (20, 30)
        assert image.info["icc_profile"] == SRGB
        exif = image.getexif()
        assert exif[ExifTags.Base.Make] == "Onecam"
        assert exif[ExifTags.Base.Orientation] == 1
        assert image.info["xmp"] == XMP
        if suffix != "webp":
            assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)


def test_a_jpeg_keeps_its_tables_and_sampling(tmp_path: Path, photo: Path) -> None:
    opened = open_photo(photo)
    write_picture(tmp_path / "out.jpg", opened.canvas, opened)
    with Image.open(photo) as before, Image.open(tmp_path / "out.jpg") as after:
        assert after.quantization == before.quantization  # type: ignore[attr-defined]
        assert after.layer == before.layer  # type: ignore[attr-defined]
        change = np.abs(np.asarray(after, int) - np.asarray(before, int))
    # Coded again with its own tables a JPEG hardly changes; at another quality it would.
    assert change.mean() < 0.6
    assert (tmp_path / "out.jpg").stat().st_size < 1.1 * photo.stat().st_size


def test_a_jpeg_from_something_else_is_of_high_quality(tmp_path: Path, photo: Path) -> None:
    with Image.open(photo) as image:
        image.save(tmp_path / "in.png")
    opened = open_photo(tmp_path / "in.png")
    write_picture(tmp_path / "out.jpg", opened.canvas, opened)
    with Image.open(tmp_path / "out.jpg") as after:
        assert after.layer[0][1:3] == (1, 1)  # type: ignore[attr-defined]
        change = np.asarray(after, int) - opened.canvas.pixels
    assert 10 * np.log10(255**2 / (change**2).mean()) > 40


def test_a_damaged_exif_block_is_left_out(tmp_path: Path) -> None:
    photo = make_photo(tmp_path, "jpg")
    write_picture(
        tmp_path / "out.png", photo.canvas, Photo(**{**vars(photo), "exif": b"Exif\0\0x"})
    )
    with Image.open(tmp_path / "out.png") as image:
        assert "exif" not in image.info


def test_missing_folders_are_made_and_nothing_else_is_left(tmp_path: Path) -> None:
    photo = make_photo(tmp_path, "png")
    write_picture(tmp_path / "a" / "b" / "out.png", photo.canvas, photo)
    assert names_in(tmp_path / "a" / "b") == ["out.png"]


def test_a_failure_leaves_the_old_file_and_no_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = make_photo(tmp_path, "png")
    target = tmp_path / "out" / "out.png"
    write_picture(target, photo.canvas, photo)
    before = target.read_bytes()

    def full_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    dark = Canvas(np.zeros_like(photo.canvas.pixels))
    with pytest.raises(OnefillError, match="No space left"):
        write_picture(target, dark, photo)
    assert names_in(target.parent) == ["out.png"]
    assert target.read_bytes() == before


def test_an_interruption_leaves_no_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photo = make_photo(tmp_path, "png")

    def interrupt(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_picture(tmp_path / "out" / "out.png", photo.canvas, photo)
    assert names_in(tmp_path / "out") == []


@pytest.mark.parametrize(
    ("name", "size", "says"),
    [
        ("out.tif", (20, 30), ".png, .jpg or .webp"),
        ("out", (20, 30), ".png, .jpg or .webp"),
        ("out.jpg", (20, 30), "transparency"),
        ("out.webp", (16_384, 30), "too large"),
        ("source.png/out.png", (20, 30), "cannot be written"),
    ],
)
def test_places_that_are_refused(
    tmp_path: Path, name: str, size: tuple[int, int], says: str
) -> None:
    photo = make_photo(tmp_path, "png", "RGBA")
    with pytest.raises(BadInput, match=says):
        check_output(tmp_path / name, photo, *size)
    assert names_in(tmp_path) == ["source.png"]


def test_metadata_too_long_for_a_jpeg(tmp_path: Path) -> None:
    photo = make_photo(tmp_path, "png")
    long = Photo(**{**vars(photo), "exif": b"Exif\0\0" + bytes(70_000)})
    with pytest.raises(BadInput, match="metadata"):
        check_output(tmp_path / "out.jpg", long, 20, 30)
    check_output(tmp_path / "out.png", long, 20, 30)

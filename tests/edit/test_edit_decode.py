from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms

from onefill.edit.decode import open_photo
from onefill.errors import BadInput

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def picture(mode: str = "RGB", width: int = 30, height: int = 20) -> Image.Image:
    rng = np.random.default_rng(1)
    noise = rng.integers(0, 256, (height, width, 4), np.uint8)
    return Image.fromarray(noise, "RGBA").convert(mode)


def png_16(path: Path, colour_type: int, channels: int) -> Path:
    """A 16-bit PNG, which Pillow itself cannot write in colour."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    rows = (b"\0" + bytes(4 * 2 * channels)) * 3
    header = struct.pack(">IIBBBBB", 4, 3, 16, colour_type, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + parts)
    return path


def exif_with(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    exif[ExifTags.Base.Make] = "Onecam"
    return exif


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_plain_modes_keep_every_bit(tmp_path: Path, mode: str) -> None:
    source = picture(mode)
    source.save(tmp_path / "a.png")
    pixels = open_photo(tmp_path / "a.png").canvas.pixels
    assert (pixels.squeeze() == np.asarray(source)).all()
    assert pixels.shape[2] == len(source.getbands())


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp", "webp", "gif"])
def test_formats(tmp_path: Path, suffix: str) -> None:
    source = picture("RGB")
    options = {"lossless": True} if suffix == "webp" else {}
    path = tmp_path / f"a.{suffix}"
    source.save(path, **options)
    with Image.open(path) as reopened:
        expected = np.asarray(reopened.convert("RGB"))
    assert (open_photo(path).canvas.pixels == expected).all()


def test_a_palette_becomes_its_colours(tmp_path: Path) -> None:
    source = picture("RGB").quantize(16)
    source.save(tmp_path / "a.png")
    assert (open_photo(tmp_path / "a.png").canvas.pixels == np.asarray(source.convert("RGB"))).all()


def test_a_transparent_palette_keeps_its_transparency(tmp_path: Path) -> None:
    source = picture("RGB").quantize(16)
    source.save(tmp_path / "a.gif", transparency=3)
    pixels = open_photo(tmp_path / "a.gif").canvas.pixels
    assert pixels.shape[2] == 4
    with Image.open(tmp_path / "a.gif") as reopened:
        assert (pixels == np.asarray(reopened.convert("RGBA"))).all()
    assert (pixels[..., 3] == 0).any() and (pixels[..., 3] == 255).any()


def test_a_colour_key_becomes_alpha(tmp_path: Path) -> None:
    source = Image.new("RGB", (4, 4), (1, 2, 3))
    source.putpixel((0, 0), (9, 9, 9))
    source.save(tmp_path / "a.png", transparency=(1, 2, 3))
    alpha = open_photo(tmp_path / "a.png").canvas.pixels[..., 3]
    assert alpha[0, 0] == 255 and alpha[1:].max() == 0


def test_black_and_white_becomes_grey(tmp_path: Path) -> None:
    picture("1").save(tmp_path / "a.png")
    pixels = open_photo(tmp_path / "a.png").canvas.pixels
    assert pixels.shape == (20, 30, 1)
    assert set(np.unique(pixels)) == {0, 255}


def test_cmyk_is_converted_and_said(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (255, 0, 0, 0)).save(tmp_path / "a.jpg", quality=100)
    photo = open_photo(tmp_path / "a.jpg")
    red, green, blue = (int(v) for v in photo.canvas.pixels[4, 4])
    assert red < 10 and green > 200 and blue > 200
    assert photo.icc is None and photo.jpeg is None
    assert "CMYK" in photo.notes[0]


def test_a_damaged_cmyk_profile_does_not_stop_it(tmp_path: Path) -> None:
    Image.new("CMYK", (8, 8), (0, 0, 0, 0)).save(tmp_path / "a.jpg", icc_profile=b"no profile")
    assert open_photo(tmp_path / "a.jpg").canvas.pixels.min() > 250


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_orientation_is_applied_and_recorded(tmp_path: Path, orientation: int, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    image = Image.new("L", (30, 20))
    image.paste(255, (0, 0, 15, 10))  # the stored top left is bright
    image.convert("RGB").save(path, exif=exif_with(orientation))
    photo = open_photo(path)
    assert photo.orientation == orientation
    height, width = photo.canvas.pixels.shape[:2]
    assert (width, height) == ((30, 20) if orientation < 5 else (20, 30))
    bright = photo.canvas.pixels[..., 0] > 128
    top, left = bright[: height // 2].sum() > bright.sum() / 2, bright[:, : width // 2].sum()
    corner = (bool(top), bool(left > bright.sum() / 2))
    expected = {
        1: (True, True),
        2: (True, False),
        3: (False, False),
        4: (False, True),
        5: (True, True),
        6: (True, False),
        7: (False, False),
        8: (False, True),
    }
    assert corner == expected[orientation]


def test_metadata_is_read(tmp_path: Path) -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/" tiff:Orientation="6"/>'
    picture().save(tmp_path / "a.jpg", exif=exif_with(1), icc_profile=SRGB, xmp=xmp, dpi=(300, 300))
    photo = open_photo(tmp_path / "a.jpg")
    assert photo.icc == SRGB
    assert photo.exif is not None and b"Onecam" in photo.exif
    assert photo.xmp == xmp.replace(b"6", b"1")
    assert photo.dpi == (300, 300)


def test_tiff_keeps_what_describes_the_picture(tmp_path: Path) -> None:
    exif = exif_with(6)
    exif[ExifTags.IFD.Exif] = {ExifTags.Base.DateTimeOriginal: "2024:05:06 07:08:09"}
    stored = Image.Exif()
    stored.load(exif.tobytes())
    picture().save(tmp_path / "a.tif", exif=stored)
    kept = Image.Exif()
    kept.load(open_photo(tmp_path / "a.tif").exif or b"")
    assert kept[ExifTags.Base.Make] == "Onecam"
    assert ExifTags.Base.Orientation not in kept
    details = kept.get_ifd(ExifTags.IFD.Exif)
    assert details[ExifTags.Base.DateTimeOriginal] == "2024:05:06 07:08:09"


@pytest.mark.parametrize("recorded", [None, (240, 240)])
def test_a_tiff_has_the_resolution_that_it_records_and_no_other(
    tmp_path: Path, recorded: tuple[int, int] | None
) -> None:
    picture().save(tmp_path / "a.tif", dpi=recorded)
    assert open_photo(tmp_path / "a.tif").dpi == recorded


@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_jpeg_coding_is_recorded(tmp_path: Path, subsampling: int) -> None:
    path = tmp_path / "a.jpg"
    picture().save(path, quality=71, subsampling=subsampling, progressive=True)
    coding = open_photo(path).jpeg
    assert coding is not None and coding.subsampling == subsampling and coding.progressive
    with Image.open(path) as stored:
        assert coding.quantization == stored.quantization  # type: ignore[attr-defined]


def test_jpeg_coding_turns_with_the_picture(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    picture().save(path, quality=71, subsampling=1, exif=exif_with(6))
    coding = open_photo(path).jpeg
    assert coding is not None and coding.subsampling == 0
    with Image.open(path) as stored:
        table: NDArray[np.int64] = np.reshape(stored.quantization[0], (8, 8))  # type: ignore[attr-defined]
    assert (np.reshape(coding.quantization[0], (8, 8)) == table.T).all()


def test_a_damaged_exif_block_is_no_damaged_picture(tmp_path: Path) -> None:
    source = picture()
    source.save(tmp_path / "a.png", exif=b"Exif\0\0II*\0\xff\xff\xff\xffgarbage")
    assert (open_photo(tmp_path / "a.png").canvas.pixels == np.asarray(source)).all()


def test_sixteen_bits_are_refused(tmp_path: Path) -> None:
    grey = tmp_path / "grey.png"
    Image.fromarray(np.zeros((3, 4), np.uint16)).save(grey)
    wide = tmp_path / "wide.tif"
    Image.new("F", (4, 3)).save(wide)
    colour = png_16(tmp_path / "colour.png", 2, 3)
    alpha = png_16(tmp_path / "alpha.png", 6, 4)
    for path in (grey, wide, colour, alpha):
        with pytest.raises(BadInput, match="8 bits"):
            open_photo(path)


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tif"])
def test_several_frames_are_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    first, second = Image.new("RGB", (9, 9), "red"), Image.new("RGB", (9, 9), "blue")
    first.save(path, save_all=True, append_images=[second])
    with pytest.raises(BadInput, match="several frames"):
        open_photo(path)


def test_a_phones_second_image_is_left_out_and_said(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    first, second = Image.new("RGB", (9, 9), "red"), Image.new("RGB", (9, 9), "blue")
    first.save(path, format="MPO", save_all=True, append_images=[second])
    photo = open_photo(path)
    assert photo.canvas.pixels[4, 4].tolist()[0] > 240
    assert photo.jpeg is not None
    assert "further images" in photo.notes[0]


def test_other_formats_and_modes_are_refused(tmp_path: Path) -> None:
    picture().save(tmp_path / "a.ppm")
    with pytest.raises(BadInput, match="PPM"):
        open_photo(tmp_path / "a.ppm")
    Image.new("LAB", (4, 4)).save(tmp_path / "a.tif")
    with pytest.raises(BadInput, match="LAB"):
        open_photo(tmp_path / "a.tif")


def test_a_large_picture_brings_no_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture().save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        assert open_photo(tmp_path / "a.png").canvas.pixels.shape == (20, 30, 3)


def test_raw_profile_of_a_png(tmp_path: Path) -> None:
    from PIL import PngImagePlugin

    block = exif_with(3).tobytes()
    info = PngImagePlugin.PngInfo()
    info.add_text("Raw profile type exif", f"\nexif\n{len(block):8}\n{block.hex()}\n", zip=True)
    stream = io.BytesIO()
    picture().save(stream, "png", pnginfo=info)
    (tmp_path / "a.png").write_bytes(stream.getvalue())
    photo = open_photo(tmp_path / "a.png")
    assert photo.orientation == 3
    assert photo.exif == block

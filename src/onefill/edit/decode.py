"""Open a photograph for editing: upright 8-bit pixels, and all that must survive the edit."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageCms, JpegImagePlugin

from onefill.edit.canvas import Canvas
from onefill.edit.png import XMP_KEY, PngExtras, read_extras
from onefill.edit.record import history_of
from onefill.errors import BadInput
from onefill.images import decode_image

_FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "TIFF", "BMP", "GIF")
_SIDEWAYS = 5  # orientations from here on exchange width and height
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_GAIN_MAP = b"hdrgm:Version"  # of Ultra HDR (ISO 21496-1): the photograph itself is SDR
_XMP_ORIENTATION = re.compile(rb"(tiff:Orientation(?:=[\"']|>))[2-8]")
_TIFF_TAGS = ("ImageDescription", "Make", "Model", "Software", "DateTime", "Artist", "Copyright")


@dataclass(frozen=True)
class JpegCoding:
    """How a JPEG was coded, so that a re-encoding changes untouched blocks as little as it can.

    Attributes:
        quantization: tables of 64 entries in row order, for the upright picture.
        subsampling: Pillow's code: 0 is 4:4:4, 1 is 4:2:2, 2 is 4:2:0.
        progressive: whether it was coded in several scans.
    """

    quantization: dict[int, list[int]]
    subsampling: int
    progressive: bool


@dataclass(frozen=True)
class Photo:
    """A decoded photograph.

    Attributes:
        canvas: upright pixels.
        orientation: EXIF orientation of the file (1 to 8), already applied to the pixels.
        exif: the file's EXIF block, not yet updated for the edit.
        xmp: XMP packet, its orientation set to 1.
        icc: colour profile that belongs to the canvas's channels.
        dpi: recorded resolution.
        jpeg: coding of a JPEG file.
        png: texts and colour chunks of a PNG file.
        history: what was done to the picture before, one line each.
        notes: what could not be kept, one line each.
    """

    canvas: Canvas
    orientation: int
    exif: bytes | None
    xmp: bytes | None
    icc: bytes | None
    dpi: tuple[float, float] | None
    jpeg: JpegCoding | None
    png: PngExtras = field(default_factory=PngExtras)
    history: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def open_photo(path: Path, *, flag: str = "image") -> Photo:
    """Decode a photograph.

    Greyscale stays greyscale, a palette becomes the colours it stands for, CMYK is converted to
    sRGB by its own profile.

    Raises:
        BadInput: what ``decode_image`` refuses; a format, depth or mode that cannot be edited
            without loss; an animation.
    """
    where = f"{flag} {path}"
    image = decode_image(path, flag=flag)
    file_format = image.format or ""
    if file_format not in _FORMATS:
        raise BadInput(
            f"{where}: {file_format} files are not edited; convert it to PNG or JPEG first"
        )
    orientation = _check_header(path, image, where)
    # Pillow turns a TIFF by itself. The others are turned here and not by ``exif_transpose``,
    # which writes the EXIF block anew and fails on blocks that cameras do produce.
    turned = orientation in _TURNS and file_format != "TIFF"
    upright = image.transpose(_TURNS[orientation]) if turned else image
    pixels, icc, notes = _to_channels(upright, image.info.get("icc_profile"), where)
    xmp = _xmp_bytes(image.info)
    if xmp and _GAIN_MAP in xmp:
        notes.append(
            f"{where}: its HDR gain map is not kept; edited and saved as the SDR photograph"
        )
    elif file_format == "MPO":
        notes.append(f"{where}: only the photograph is kept, not the further images in the file")
    png = read_extras(path, image)
    if png.is_hdr:
        raise BadInput(f"{where}: is an HDR picture; convert it to SDR (sRGB, 8 bits) first")
    return Photo(
        canvas=Canvas(pixels),
        orientation=orientation,
        exif=_exif_bytes(image),
        xmp=xmp,
        icc=icc,
        dpi=_resolution(image.info.get("dpi")),
        jpeg=_jpeg_coding(image, orientation),
        png=png,
        history=history_of(image),
        notes=tuple(notes),
    )


def _check_header(path: Path, image: Image.Image, where: str) -> int:
    """The recorded orientation. Loading loses the true depth, and a TIFF's orientation too."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        header = Image.open(path)
    with header:
        if header.mode[0] in "IF" or any(";16" in str(tile.args) for tile in header.tile):
            raise BadInput(
                f"{where}: has more than 8 bits per channel, which would be lost; "
                "convert it to 8 bits first"
            )
        # A phone's MPO holds the photograph first, and previews or a depth map after it.
        if header.format != "MPO" and _holds_frames(header):
            raise BadInput(f"{where}: holds several frames; save the one to edit as a PNG first")
        try:
            source = header if header.format == "TIFF" else image
            orientation = int(source.getexif().get(ExifTags.Base.Orientation, 1))
        # Pillow answers a damaged EXIF block in many ways; the pixels are good and stay put.
        except Exception:
            return 1
    return orientation if 1 <= orientation <= 8 else 1


def _holds_frames(header: Image.Image) -> bool:
    try:
        return bool(getattr(header, "is_animated", False))
    # Looking for a second frame in a damaged file; the first one was decoded and is good.
    except Exception:
        return False


def _to_channels(
    image: Image.Image, icc: bytes | None, where: str
) -> tuple[np.ndarray[Any, np.dtype[np.uint8]], bytes | None, list[str]]:
    notes: list[str] = []
    if image.mode == "1":
        image = image.convert("L")
    elif image.mode == "CMYK":
        image = _cmyk_to_rgb(image, icc)
        icc = None
        notes.append(f"{where}: is CMYK; edited and saved as sRGB")
    elif image.mode in ("P", "PA"):
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    elif "transparency" in image.info and image.mode in ("L", "RGB"):
        image = image.convert("LA" if image.mode == "L" else "RGBA")
    if image.mode not in ("L", "LA", "RGB", "RGBA"):
        raise BadInput(f"{where}: colour mode {image.mode} is not edited; convert it to RGB first")
    pixels = np.array(image, dtype=np.uint8)
    return pixels.reshape(image.height, image.width, -1), icc, notes


def _cmyk_to_rgb(image: Image.Image, icc: bytes | None) -> Image.Image:
    if icc is not None:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
            target = ImageCms.createProfile("sRGB")
            converted = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
            if converted is not None:
                return converted
        except (ImageCms.PyCMSError, OSError):
            pass  # a damaged profile: the plain conversion below is what viewers show too
    return image.convert("RGB")


def _exif_bytes(image: Image.Image) -> bytes | None:
    if "exif" in image.info:
        return bytes(image.info["exif"])
    try:
        if "Raw profile type exif" in image.info:  # as ImageMagick writes it into a PNG
            return bytes.fromhex("".join(image.info["Raw profile type exif"].split("\n")[3:]))
        return _tiff_exif(image) if image.format == "TIFF" else None
    # Damaged metadata of an otherwise good picture, which Pillow answers in many ways.
    except Exception:
        return None


def _tiff_exif(image: Image.Image) -> bytes | None:
    """The descriptive tags of a TIFF; the others speak of how its pixels were stored."""
    source = image.getexif()
    kept = Image.Exif()
    for name in _TIFF_TAGS:
        tag = ExifTags.Base[name]
        if tag in source:
            kept[tag] = source[tag]
    for folder in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
        if entries := source.get_ifd(folder):
            kept[folder] = dict(entries)
    return kept.tobytes() if len(kept) else None


def _xmp_bytes(info: Mapping[Any, Any]) -> bytes | None:
    xmp = info.get("xmp", info.get(XMP_KEY))
    if xmp is None:
        return None
    data = xmp.encode() if isinstance(xmp, str) else bytes(xmp)
    return _XMP_ORIENTATION.sub(rb"\g<1>1", data)


def _resolution(dpi: Any) -> tuple[float, float] | None:
    try:
        x, y = (float(value) for value in dpi)
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    # 1 is what Pillow says of a TIFF that records none.
    return (x, y) if 1 < x <= 65535 and 1 < y <= 65535 else None


def _jpeg_coding(image: Image.Image, orientation: int) -> JpegCoding | None:
    if not isinstance(image, JpegImagePlugin.JpegImageFile) or image.mode == "CMYK":
        return None
    if [layer[0] for layer in image.layer] == list(b"RGB"):
        return None  # its tables are for red, green and blue, and Pillow writes luma and chroma
    tables = {key: list(table) for key, table in image.quantization.items()}
    if sorted(tables) != list(range(len(tables))):
        return None  # Pillow writes tables by position
    subsampling = JpegImagePlugin.get_sampling(image)
    if orientation >= _SIDEWAYS:
        tables = {
            key: [int(v) for v in np.reshape(table, (8, 8)).T.flat] for key, table in tables.items()
        }
    # 4:2:2 on its side is a sampling that Pillow does not write; nor does it write unusual ones.
    if subsampling < 0 or (subsampling == 1 and orientation >= _SIDEWAYS):
        subsampling = 0
    return JpegCoding(tables, subsampling, bool(image.info.get("progressive")))

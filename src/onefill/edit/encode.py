"""Write an edited picture, whole or not at all, with the metadata of its photograph."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from PIL import Image

from onefill.edit.canvas import Canvas
from onefill.edit.decode import Photo
from onefill.edit.exif import add_text, update_exif
from onefill.edit.png import png_info
from onefill.edit.record import EXIF_TAG, EditRecord
from onefill.errors import BadInput, OnefillError
from onefill.images import check_target

_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
_LONGEST_SIDE = {"JPEG": 65_500, "WEBP": 16_383}
_JPEG_BLOCK = 65_500  # bytes of one EXIF or XMP segment, its header left out


def check_output(path: Path, photo: Photo, width: int, height: int, *, flag: str = "-o") -> None:
    """Refuse a path that the edited photograph cannot be written to; nothing is created.

    Args:
        path: the file to be written.
        photo: what is edited; its alpha and metadata must fit the format.
        width: of the result, in pixels.
        height: of the result, in pixels.
        flag: how the user named the path.

    Raises:
        BadInput: another suffix than .png, .jpg, .jpeg or .webp, a picture the format cannot
            hold, or a place that cannot be written to.
    """
    where = f"{flag} {path}"
    if path.suffix.lower() not in _FORMATS:
        raise BadInput(
            f"{where}: results are written as .png, .jpg or .webp; end it in one of them"
        )
    check_target(path, flag=flag)
    kind = _FORMATS[path.suffix.lower()]
    if max(width, height) > _LONGEST_SIDE.get(kind, max(width, height)):
        raise BadInput(f"{where}: {width}x{height} is too large for {kind}; end it in .png")
    if kind != "PNG" and photo.png.is_wide:
        raise BadInput(f"{where}: {kind} cannot hold the picture's kind of colours; end it in .png")
    if kind != "JPEG":
        return
    if photo.canvas.has_alpha:
        raise BadInput(f"{where}: a JPEG cannot hold the picture's transparency; end it in .png")
    if max(len(photo.exif or b""), len(photo.xmp or b"")) > _JPEG_BLOCK:
        raise BadInput(f"{where}: the picture's metadata is too long for a JPEG; end it in .png")


def write_picture(
    path: Path, canvas: Canvas, photo: Photo, record: EditRecord | None = None
) -> None:
    """Encode the canvas beside its place, then rename it there in one step.

    PNG and WebP are lossless. A JPEG made from a JPEG keeps its quantisation tables and
    sampling; another one is written at quality 95 without subsampling.

    Args:
        path: passed ``check_output``; missing folders are made.
        canvas: the edited pixels.
        photo: where colour profile, EXIF, XMP, texts and resolution come from.
        record: how the picture was made, to be written into it; None leaves that out.

    Raises:
        OnefillError: the disk is full, or the place went away.
    """
    image = Image.fromarray(canvas.pixels[..., 0] if canvas.pixels.shape[2] == 1 else canvas.pixels)
    kind = _FORMATS[path.suffix.lower()]
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("xb") as stream:
            image.save(stream, format=kind, **_options(kind, canvas, photo, record))
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OnefillError(f"{path}: cannot be written ({reason}); choose another place") from error
    finally:
        part.unlink(missing_ok=True)


def _options(kind: str, canvas: Canvas, photo: Photo, record: EditRecord | None) -> dict[str, Any]:
    history = [*photo.history, record.line()] if record else list(photo.history)
    options: dict[str, Any] = {}
    if photo.icc:
        options["icc_profile"] = photo.icc
    if exif := _exif(kind, canvas, photo, history if record else []):
        options["exif"] = exif
    if photo.dpi and kind != "WEBP":
        options["dpi"] = photo.dpi
    if kind == "PNG":
        return options | {"pnginfo": png_info(photo.png, xmp=photo.xmp, history=history)}
    if photo.xmp:
        options["xmp"] = photo.xmp
    if kind == "WEBP":
        return options | {"lossless": True, "exact": True, "quality": 60}
    if photo.jpeg is None:
        return options | {"quality": 95, "subsampling": 0}
    return options | {
        "qtables": photo.jpeg.quantization,
        "subsampling": photo.jpeg.subsampling,
        "progressive": photo.jpeg.progressive,
    }


def _exif(kind: str, canvas: Canvas, photo: Photo, history: list[str]) -> bytes | None:
    """The photograph's EXIF block brought up to date; a new one if there is history to tell."""
    height, width = canvas.pixels.shape[:2]
    # A block that cannot be read cannot have its orientation reset, and would turn the picture.
    exif = update_exif(photo.exif, width, height) if photo.exif else None
    if kind == "PNG" or not history:
        return exif
    told = add_text(exif, EXIF_TAG, "\n".join(history))
    # A result that is painted is written, if need be without the story of its making.
    return exif if kind == "JPEG" and len(told) > _JPEG_BLOCK else told

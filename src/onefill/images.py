"""Image files in, arrays out: every picture a user names is opened here, or refused in one line.

Length, format and size are checked before any pixel is decoded, so that a small file which unpacks
to billions of pixels costs nothing, and no rarely used decoder meets a stranger's file.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from onefill.errors import BadInput, OnefillError

MAX_PIXELS = 150_000_000
"""Width times height above which a file is refused before decoding (12,000 x 12,000 fits)."""

MAX_BYTES = 2**30
"""Length above which a file is refused unread; a picture of ``MAX_PIXELS`` is shorter."""

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "PPM")
"""What is opened at all, by Pillow's names; "JPEG" covers a phone's MPO."""

_HALF = 127
_SUFFIX_HINT = "end it in .png, .jpg, .webp or .tif"


def decode_image(path: Path | str, *, flag: str = "image") -> Image.Image:
    """The picture as the file holds it: own mode, own orientation, fully loaded, ``info`` kept.

    Args:
        path: an image file Pillow can read; of an animation, the first frame is taken.
        flag: how the user named the file, for the error line: ``--mask``.

    Raises:
        BadInput: missing, a folder, empty, none of ``FORMATS``, damaged, over ``MAX_BYTES`` or
            over ``MAX_PIXELS``.
    """
    path = Path(path)
    where = f"{flag} {path}"
    _check_readable(path, where)
    try:
        with warnings.catch_warnings():
            # Pillow warns from 89 megapixels on; our own cap below decides, and names the fix.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(path, formats=FORMATS)
            if image.width * image.height > MAX_PIXELS:
                raise BadInput(
                    f"{where}: {image.width * image.height / 1e6:.0f} megapixels, over the limit "
                    f"of {MAX_PIXELS / 1e6:.0f}; make it smaller first"
                )
            image.load()
    except (BadInput, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise BadInput(
            f"{where}: more than {MAX_PIXELS / 1e6:.0f} megapixels; make it smaller first"
        ) from error
    except UnidentifiedImageError as error:
        raise BadInput(
            f"{where}: not an image of a kind read here; give a PNG, JPEG, WebP or TIFF file"
        ) from error
    # Pillow's decoders answer damaged data with OSError, SyntaxError, ValueError, struct.error,
    # zlib.error and more; to the user they are one thing.
    except Exception as error:
        raise BadInput(
            f"{where}: the image is truncated or damaged ({error}); save it again"
        ) from error
    return image


def _check_readable(path: Path, where: str) -> None:
    try:
        if path.is_dir():
            raise BadInput(f"{where}: is a folder; name one image file in it")
        if path.exists() and not path.is_file():
            raise BadInput(f"{where}: is a pipe or device; save it to a file first")
        with path.open("rb") as stream:
            if not stream.read(1):
                raise BadInput(f"{where}: the file is empty (0 bytes); save it again")
            if os.fstat(stream.fileno()).st_size > MAX_BYTES:
                raise BadInput(
                    f"{where}: longer than {MAX_BYTES // 2**20:,} MiB; save it compressed"
                )
    except FileNotFoundError as error:
        raise BadInput(f"{where}: no such file; check the path") from error
    except OSError as error:
        raise BadInput(f"{where}: cannot be read ({error.strerror}); check the path") from error
    except ValueError as error:
        raise BadInput(f"{where!r}: not a path ({error}); check the spelling") from error


def read_image(path: Path | str, *, flag: str = "image") -> Image.Image:
    """The picture as a person sees it: upright, mode RGB, transparency laid over white.

    For models and judges. The editing canvas keeps alpha and depth, and uses ``decode_image``.

    Raises:
        BadInput: see ``decode_image``.
    """
    image = decode_image(path, flag=flag)
    upright = _upright(image)
    rgb = _flatten(upright, background=255).convert("RGB")
    rgb.info = dict(upright.info)
    return rgb


def read_mask(
    path: Path | str, size: tuple[int, int], *, flag: str = "--mask"
) -> NDArray[np.bool_]:
    """A mask file: what is brighter than half is painted, what is transparent is kept.

    Args:
        path: an image file of any mode.
        size: (width, height) of the upright picture that the mask belongs to.
        flag: how the user named the file, for the error line.

    Returns:
        Boolean array of shape (height, width).

    Raises:
        BadInput: see ``decode_image``; or the size differs, or nothing is painted.
    """
    mask = _upright(decode_image(path, flag=flag))
    if mask.size != tuple(size):
        raise BadInput(
            f"{flag} {path}: the mask is {mask.width}x{mask.height} but the image is "
            f"{size[0]}x{size[1]}; give a mask of the image's size"
        )
    painted = np.asarray(_flatten(mask, background=0).convert("L")) > _HALF
    if not painted.any():
        raise BadInput(f"{flag} {path}: the mask is empty; paint white what is to be changed")
    return painted


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    # A damaged EXIF block says nothing about the orientation; the pixels are still good.
    except Exception:
        return image


def _flatten(image: Image.Image, *, background: int) -> Image.Image:
    """8 bits a channel, no transparency: what shines through is grey level ``background``."""
    if image.mode in {"F", "I"} or image.mode.startswith("I;16"):
        return _to_8_bit(image)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        ground = Image.new("RGBA", rgba.size, (background, background, background, 255))
        return Image.alpha_composite(ground, rgba)
    return image


def _to_8_bit(image: Image.Image) -> Image.Image:
    """Grey levels of 16 bits, or floats in [0, 1], to 8 bits; Pillow's own conversion clips."""
    levels = np.asarray(image, dtype=np.float32)
    highest = float(levels.max(initial=0.0))
    if image.mode == "F":
        scale = 255.0 if highest <= 1.0 else 1.0
    elif image.mode == "I" and highest <= 255.0:
        scale = 1.0
    else:
        scale = 255.0 / 65535.0
    return Image.fromarray(np.rint(np.clip(levels * scale, 0.0, 255.0)).astype(np.uint8))


def image_to_array(image: Image.Image) -> NDArray[np.float32]:
    """Float array of shape (3, H, W) with values in [0, 1]."""
    pixels = np.asarray(image.convert("RGB"), dtype=np.float32) / np.float32(255.0)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def array_to_image(array: NDArray[np.floating]) -> Image.Image:
    """RGB picture of an array of shape (3, H, W) in [0, 1]; values outside are clipped."""
    levels = np.rint(np.clip(np.asarray(array, dtype=np.float32), 0.0, 1.0) * 255.0)
    return Image.fromarray(levels.astype(np.uint8).transpose(1, 2, 0))


def check_target(path: Path | str, *, flag: str = "-o") -> Path:
    """The path, if an image can be saved there; nothing is created.

    Folders that do not exist yet count as writable when their nearest existing parent is.

    Raises:
        BadInput: a folder, a suffix Pillow cannot write, or a place that is not writable.
    """
    path = Path(path)
    where = f"{flag} {path}"
    if path.is_dir():
        raise BadInput(f"{where}: is a folder; name the file too, as {path / 'out.png'}")
    kind = Image.registered_extensions().get(path.suffix.lower())
    if kind is None or kind not in Image.SAVE:
        raise BadInput(f"{where}: no image format is called {path.suffix!r}; {_SUFFIX_HINT}")
    parent = path.absolute().parent
    while not parent.exists() and parent != parent.parent:
        parent = parent.parent
    target = path if path.exists() else parent
    if not parent.is_dir() or not os.access(target, os.W_OK):
        raise BadInput(f"{where}: {target} cannot be written to; choose another place")
    return path


def save_image(image: Image.Image, path: Path) -> None:
    """Save a picture whole or not at all, making its folder; the suffix names the format.

    Raises:
        OnefillError: the disk is full, or the place is gone since ``check_target``.
    """
    aside = path.with_name(f".{path.name}.part{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(aside)
        aside.replace(path)
    except OSError as error:
        raise OnefillError(f"{path}: cannot be saved ({error.strerror or error})") from error
    finally:
        aside.unlink(missing_ok=True)

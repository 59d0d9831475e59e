"""What a PNG says about itself beside its pixels: texts, and what its numbers mean as colours."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image, PngImagePlugin

from onefill.edit.record import TEXT_KEY

XMP_KEY = "XML:com.adobe.xmp"

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR = (b"cICP", b"cHRM", b"gAMA", b"sRGB")
_LONGEST = 64  # bytes of a chunk that is kept; those above are shorter
_SRGB_PRIMARIES = 1  # ITU-T H.273, table 2
_HDR_TRANSFERS = {16, 18}  # PQ and HLG; table 3
_RAW_PROFILE = "Raw profile type "  # how old programs put EXIF, XMP and ICC into texts


@dataclass(frozen=True)
class PngExtras:
    """What is carried from a PNG to the PNG made of it.

    Attributes:
        texts: title, author, comment and the like, by keyword.
        colour: chunks that say which colours the numbers mean, byte for byte.
    """

    texts: Mapping[str, str] = field(default_factory=dict)
    colour: tuple[tuple[bytes, bytes], ...] = ()

    @property
    def is_hdr(self) -> bool:
        """Whether the numbers stand for light beyond white."""
        return any(code[1] in _HDR_TRANSFERS for code in self._codes)

    @property
    def is_wide(self) -> bool:
        """Whether the numbers stand for other colours than sRGB's, as only a PNG can say."""
        return any(code[0] != _SRGB_PRIMARIES for code in self._codes)

    @property
    def _codes(self) -> list[bytes]:
        return [data for kind, data in self.colour if kind == b"cICP" and len(data) == 4]


def read_extras(path: Path, image: Image.Image) -> PngExtras:
    """The extras of a loaded PNG; nothing of another format.

    Its EXIF, XMP, ICC and history are read elsewhere and are left out here.
    """
    if not isinstance(image, PngImagePlugin.PngImageFile):
        return PngExtras()
    texts = {
        key: str(value)
        for key, value in image.text.items()
        if key not in (XMP_KEY, TEXT_KEY) and not key.startswith(_RAW_PROFILE)
    }
    return PngExtras(texts=texts, colour=tuple(_colour_chunks(path)))


def _colour_chunks(path: Path) -> Iterable[tuple[bytes, bytes]]:
    """The colour chunks of a PNG that was decoded and is sound; they come before its pixels."""
    with path.open("rb") as stream:
        if stream.read(len(_SIGNATURE)) != _SIGNATURE:
            return
        while len(head := stream.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            if kind == b"IDAT":
                return
            if kind in _COLOUR and length <= _LONGEST:
                yield kind, stream.read(length)
                length = 0
            stream.seek(length + 4, 1)


def png_info(
    extras: PngExtras, *, xmp: bytes | None, history: Iterable[str]
) -> PngImagePlugin.PngInfo:
    """The chunks to be written beside the pixels."""
    info = PngImagePlugin.PngInfo()
    for kind, data in extras.colour:
        info.add(kind, data)
    for key, value in extras.texts.items():
        info.add_itxt(key, value)
    if xmp:
        info.add_itxt(XMP_KEY, xmp.decode("utf-8", "replace"))
    if text := "\n".join(history):
        info.add_itxt(TEXT_KEY, text)
    return info

"""EXIF bytes of a picture whose pixels were turned upright and changed: patched, not rewritten.

Rewriting the block would lose maker notes, whose offsets only the camera's maker knows. So four
things are changed in place, and every other byte stays: the orientation becomes 1, the recorded
pixel size the new one, and the thumbnail, which still shows what was removed, is blanked and
unlinked. What is added is put behind all that is there.
"""

from __future__ import annotations

import struct

PREFIX = b"Exif\0\0"

_ORIENTATION = 0x0112
_EXIF_FOLDER = 0x8769
_PIXEL_WIDTH = 0xA002
_PIXEL_HEIGHT = 0xA003
_THUMBNAIL_START = 0x0201
_THUMBNAIL_LENGTH = 0x0202
_ASCII, _SHORT, _LONG = 2, 3, 4
_EMPTY = b"MM\0*" + struct.pack(">IHI", 8, 0, 0)


class _Block:
    """A TIFF structure in a byte array; offsets count from its own start."""

    def __init__(self, data: bytes) -> None:
        self.data = bytearray(data)
        if data[:4] not in (b"II*\0", b"MM\0*"):
            raise ValueError("no TIFF header")
        self.order = "<" if data[:2] == b"II" else ">"

    def read(self, code: str, offset: int) -> int:
        return int(struct.unpack_from(self.order + code, self.data, offset)[0])

    def write(self, code: str, offset: int, value: int) -> None:
        struct.pack_into(self.order + code, self.data, offset, value)

    def folder(self, offset: int) -> tuple[dict[int, int], int]:
        """Entry offsets by tag, and where the link to the next folder stands."""
        count = self.read("H", offset)
        entries = range(offset + 2, offset + 2 + 12 * count, 12)
        return {self.read("H", entry): entry for entry in entries}, offset + 2 + 12 * count

    def append(self, data: bytes) -> int:
        """Put something behind all that is there, at an even offset as TIFF asks, and say where."""
        self.data += bytes(len(self.data) % 2)
        place = len(self.data)
        self.data += data
        return place

    def value(self, entry: int) -> int:
        return self.read("H" if self.read("H", entry + 2) == _SHORT else "I", entry + 8)

    def set_value(self, entry: int, value: int) -> None:
        kind = self.read("H", entry + 2)
        if kind == _SHORT and value <= 0xFFFF:
            self.write("H", entry + 8, value)
        else:
            self.write("H", entry + 2, _LONG)
            self.write("I", entry + 8, value)


def update_exif(exif: bytes, width: int, height: int) -> bytes | None:
    """The block for upright pixels of the given size, with its prefix; None if it is damaged."""
    try:
        block = _Block(exif.removeprefix(PREFIX))
        main, link = block.folder(block.read("I", 4))
        if _ORIENTATION in main:
            block.set_value(main[_ORIENTATION], 1)
        if _EXIF_FOLDER in main:
            details, _ = block.folder(block.value(main[_EXIF_FOLDER]))
            for tag, length in ((_PIXEL_WIDTH, width), (_PIXEL_HEIGHT, height)):
                if tag in details:
                    block.set_value(details[tag], length)
        _drop_thumbnail(block, link)
    except (struct.error, ValueError, IndexError):
        return None
    return PREFIX + bytes(block.data)


def add_text(exif: bytes | None, tag: int, text: str) -> bytes:
    """The block with a text in its main folder, in place of one of that tag.

    The folder moves to the end of the block, so that nothing else has to.

    Args:
        exif: passed ``update_exif``, or None to begin a block.
        tag: of the entry.
        text: ASCII, of four characters at least: shorter ones are stored in another way.
    """
    block = _Block((exif or _EMPTY).removeprefix(PREFIX))
    entries, link = block.folder(block.read("I", 4))
    rows = {known: bytes(block.data[place : place + 12]) for known, place in entries.items()}
    following = block.read("I", link) if link + 4 <= len(block.data) else 0
    value = text.encode("ascii") + b"\0"
    start = block.append(value)
    rows[tag] = struct.pack(block.order + "HHII", tag, _ASCII, len(value), start)
    folder = struct.pack(block.order + "H", len(rows)) + b"".join(rows[key] for key in sorted(rows))
    block.write("I", 4, block.append(folder + struct.pack(block.order + "I", following)))
    return PREFIX + bytes(block.data)


def _drop_thumbnail(block: _Block, link: int) -> None:
    if link + 4 > len(block.data) or not block.read("I", link):
        return
    second, _ = block.folder(block.read("I", link))
    if _THUMBNAIL_START in second and _THUMBNAIL_LENGTH in second:
        start = block.value(second[_THUMBNAIL_START])
        length = block.value(second[_THUMBNAIL_LENGTH])
        if start + length > len(block.data):
            raise ValueError("the thumbnail lies outside the block")
        block.data[start : start + length] = bytes(length)
    block.write("I", link, 0)

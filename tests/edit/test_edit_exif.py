from __future__ import annotations

import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image

from onefill.edit.exif import PREFIX, update_exif


def camera_block(orientation: int = 6, order: str = "<") -> bytes:
    """What a camera writes: details with a maker note, and a thumbnail in a second folder."""
    thumbnail = io.BytesIO()
    Image.new("RGB", (16, 12), "red").save(thumbnail, "jpeg")
    picture = thumbnail.getvalue()
    note = b"MAKER-NOTE-OF-A-CAMERA"

    def entry(tag: int, kind: int, count: int, value: int) -> bytes:
        packed = struct.pack(order + "HHI", tag, kind, count)
        if kind == 3:
            return packed + struct.pack(order + "HH", value, 0)
        return packed + struct.pack(order + "I", value)

    main_at = 8
    details_at = main_at + 2 + 2 * 12 + 4
    second_at = details_at + 2 + 3 * 12 + 4
    data_at = second_at + 2 + 2 * 12 + 4
    main = struct.pack(order + "H", 2) + entry(0x0112, 3, 1, orientation)
    main += entry(0x8769, 4, 1, details_at) + struct.pack(order + "I", second_at)
    details = struct.pack(order + "H", 3) + entry(0xA002, 3, 1, 4000)
    details += entry(0xA003, 4, 1, 3000) + entry(0x927C, 7, len(note), data_at)
    details += struct.pack(order + "I", 0)
    second = struct.pack(order + "H", 2) + entry(0x0201, 4, 1, data_at + len(note))
    second += entry(0x0202, 4, 1, len(picture)) + struct.pack(order + "I", 0)
    magic = b"II*\0" if order == "<" else b"MM\0*"
    header = magic + struct.pack(order + "I", main_at)
    return PREFIX + header + main + details + second + note + picture


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("prefix", [True, False])
def test_orientation_size_and_thumbnail_are_updated(order: str, prefix: bool) -> None:
    block = camera_block(order=order)
    updated = update_exif(block if prefix else block.removeprefix(PREFIX), 70_000, 3000)
    assert updated is not None and len(updated) == len(block)
    exif = Image.Exif()
    exif.load(updated)
    assert exif[ExifTags.Base.Orientation] == 1
    details = exif.get_ifd(ExifTags.IFD.Exif)
    assert details[ExifTags.Base.ExifImageWidth] == 70_000
    assert details[ExifTags.Base.ExifImageHeight] == 3000
    assert b"MAKER-NOTE-OF-A-CAMERA" in updated
    assert b"\xff\xd8\xff" in block and b"\xff\xd8\xff" not in updated
    assert not exif.get_ifd(ExifTags.IFD.IFD1)


def test_a_block_without_any_of_it_stays() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "Onecam"
    assert update_exif(exif.tobytes(), 10, 10) == exif.tobytes()


@given(st.integers(0, 200), st.binary(max_size=3), st.integers(1, 400))
def test_damaged_blocks_are_dropped_or_readable(place: int, damage: bytes, length: int) -> None:
    block = bytearray(camera_block())
    block[place : place + len(damage)] = damage
    updated = update_exif(bytes(block[:length]), 10, 10)
    assert updated is None or len(updated) <= len(block) + len(PREFIX)

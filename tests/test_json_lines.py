"""Lines of JSON: counted as an editor counts them, each with its object or its fault."""

from __future__ import annotations

from pathlib import Path

import pytest

from onefill.errors import BadInput
from onefill.json_lines import read_json_lines


def test_lines_are_counted_as_an_editor_does(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    # U+2028 may stand in a JSON string, and ends no line.
    path.write_bytes('\ufeff{"a": 1}\r\n\n  \n{"a": "x\u2028y"}\n{"a": 3}'.encode())
    assert list(read_json_lines(path)) == [(1, {"a": 1}), (4, {"a": "x\u2028y"}), (5, {"a": 3})]


def test_a_fault_is_of_its_own_line_only(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(
        b"\n".join([b"{", b"[1]", b'{"a": "\xe9"}', b"[" * 100_000, b'{"a": NaN}', b'{"a": 1}'])
    )
    found = dict(read_json_lines(path))
    faults = [row for row in found.values() if isinstance(row, str)]
    assert [fault.split(":")[0] for fault in faults] == [
        "not JSON",
        "a JSON list, not an object",
        "not UTF-8 text; save the file as UTF-8",
        "not JSON",
        "not JSON",
    ]
    assert "NaN" in faults[-1] and not any("\n" in fault for fault in faults)
    assert found[6] == {"a": 1}
    assert isinstance(dict(read_json_lines(path, numbers_only=False))[5], dict)


def test_a_file_that_cannot_be_read_is_named_as_the_user_named_it(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.jsonl", tmp_path / "a\0b"):
        with pytest.raises(BadInput, match="cannot be read") as told:
            list(read_json_lines(path, flag="--jobs"))
        assert str(told.value).startswith(f"--jobs {tmp_path}")

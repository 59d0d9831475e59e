"""The hidden folder of candidates: seen by nobody, and gone after a kill as soon as may be."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from onefill.edit.aside import clear_asides, folder_aside

OWNER = """
import sys, time
from pathlib import Path
from onefill.edit.aside import folder_aside
with folder_aside(Path(sys.argv[1])) as folder:
    (folder / "1").mkdir()
    (folder / "1" / "a.png").write_bytes(b"half a candidate")
    print(folder, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A command that is at its candidates, in a folder ``out``, and where they are."""
    out = tmp_path / "out"
    out.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(out)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    yield process, Path(process.stdout.readline().strip())
    process.kill()
    process.communicate()


def test_what_a_kill_left_is_removed_and_what_is_in_use_is_not(
    owner: tuple[subprocess.Popen[str], Path],
) -> None:
    process, folder = owner
    clear_asides(folder.parent)
    assert (folder / "1" / "a.png").exists()
    with folder_aside(folder.parent) as own:
        clear_asides(folder.parent)
        assert own.exists()
    assert not own.exists()
    process.kill()
    process.wait()
    assert folder.exists()
    clear_asides(folder.parent)
    assert list(folder.parent.iterdir()) == []


def test_nothing_else_is_touched(tmp_path: Path) -> None:
    clear_asides(tmp_path / "not-there")
    (tmp_path / ".onefill-notes").mkdir()
    unowned = tmp_path / ".onefill-aside-by-hand"
    unowned.mkdir()
    (unowned / "a.png").touch()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "owner.lock").touch()
    (tmp_path / ".onefill-aside-link").symlink_to(elsewhere)
    before = sorted(tmp_path.rglob("*"))
    clear_asides(tmp_path)
    assert sorted(tmp_path.rglob("*")) == before


def test_the_next_edit_removes_what_a_killed_one_left(
    cli: Callable[..., Any],
    photo: Path,
    mask: Path,
    tiny_model: Path,
    owner: tuple[subprocess.Popen[str], Path],
) -> None:
    process, folder = owner
    out = folder.parent
    line = ("edit", photo, "--mask", mask, "--task", "removal", "--model", tiny_model)
    assert cli(*line, "--steps", 1, "-o", f"{out}/").code == 0
    assert sorted(path.name for path in out.iterdir()) == [folder.name, "coffee-removal-0.png"]
    process.kill()
    process.wait()
    assert cli(*line, "--steps", 1, "-o", out / "again.png").code == 0
    assert sorted(path.name for path in out.iterdir()) == ["again.png", "coffee-removal-0.png"]

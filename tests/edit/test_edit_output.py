from __future__ import annotations

from pathlib import Path

import pytest

from onefill.edit.output import name_outputs
from onefill.errors import BadInput


def names(output: str | None, count: int = 1) -> list[str]:
    seeds = list(range(7, 7 + count))
    image = Path("pictures/cup.jpg")
    return [str(path) for path in name_outputs(output, image=image, task="fill", seeds=seeds)]


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_without_output_the_current_folder_gets_a_png_per_seed() -> None:
    assert names(None, 2) == ["cup-fill-7.png", "cup-fill-8.png"]


def test_a_name_of_ours_never_replaces_a_file() -> None:
    Path("cup-fill-7.png").touch()
    Path("cup-fill-7-2.png").touch()
    assert names(None, 2) == ["cup-fill-7-3.png", "cup-fill-8.png"]


@pytest.mark.parametrize("what", ["ranking.json", "compare.png"])
def test_nor_what_tells_of_an_earlier_edit_whose_first_result_was_not_kept(what: str) -> None:
    Path(f"cup-fill-7-{what}").touch()
    assert names(None, 2) == ["cup-fill-7-2.png", "cup-fill-8.png"]


def test_folders() -> None:
    Path("there").mkdir()
    assert names("there") == ["there/cup-fill-7.png"]
    assert names("new/folder/") == ["new/folder/cup-fill-7.png"]
    assert not Path("new").exists()


def test_one_file_is_taken_as_typed_even_if_it_exists() -> None:
    Path("hat.webp").touch()
    assert names("hat.webp") == ["hat.webp"]


def test_one_file_for_several_results_gets_the_seeds() -> None:
    assert names("out/hat.jpg", 2) == ["out/hat-7.jpg", "out/hat-8.jpg"]


def test_patterns() -> None:
    assert names("{task}/{stem}_{seed:04}.jpg", 2) == ["fill/cup_0007.jpg", "fill/cup_0008.jpg"]
    assert names("hat{n}.png", 2) == ["hat1.png", "hat2.png"]


@pytest.mark.parametrize("pattern", ["{model}.png", "{}.png", "{seed.png", "{seed!z}.png"])
def test_patterns_that_cannot_be_filled(pattern: str) -> None:
    with pytest.raises(BadInput, match="may stand in braces"):
        names(pattern)


def test_a_pattern_for_one_file_and_several_results() -> None:
    assert names("{stem}.png") == ["cup.png"]
    with pytest.raises(BadInput, match="seed"):
        names("{stem}.png", 2)

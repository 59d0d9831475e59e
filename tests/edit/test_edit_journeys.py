"""Whole commands as a user types them, on a real photograph and a tiny random model."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from onefill.edit.record import read_history

Cli = Callable[..., Any]


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def files() -> list[str]:
    return sorted(str(path) for path in Path().rglob("*"))


def pixels(path: Path | str) -> Any:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def test_fill_changes_the_mask_and_nothing_else(
    cli: Cli, photo: Path, mask: Path, tiny_model: Path
) -> None:
    result = cli(
        *("edit", photo, "--mask", mask, "--prompt", "straw hat", "--feather", 4),
        *("--model", tiny_model),
    )
    assert (result.code, result.stdout, result.stderr) == (0, "coffee-fill-0.png\n", "")
    assert files() == ["coffee-fill-0.png"]
    before, after = pixels(photo), pixels("coffee-fill-0.png")
    painted = pixels(mask)[..., 0] > 127
    rows, columns = np.nonzero(painted)
    near = np.zeros_like(painted)
    near[rows.min() - 4 : rows.max() + 5, columns.min() - 4 : columns.max() + 5] = True
    assert (before[~near] == after[~near]).all()
    assert (before[painted] != after[painted]).any(axis=1).mean() > 0.9


def test_extend_to_a_shape(cli: Cli, photo: Path, tiny_model: Path) -> None:
    result = cli(
        *("edit", photo, "--task", "extend", "--to", "16:9", "--feather", 0),
        *("--model", tiny_model, "--json"),
    )
    assert (result.code, result.stderr) == (0, "")
    assert json.loads(result.stdout) == {
        "images": [{"path": "coffee-extend-0.png", "seed": 0, "width": 711, "height": 400}]
    }
    assert (pixels("coffee-extend-0.png")[:, 55:655] == pixels(photo)).all()


def test_extend_to_a_size_with_words(cli: Cli, photo: Path, tiny_model: Path) -> None:
    result = cli(
        *("edit", photo, "--task", "extend", "--to", "900x1400", "--prompt", "a tree"),
        *("-o", "wide.webp", "--model", tiny_model),
    )
    assert (result.code, result.stdout) == (0, "wide.webp\n")
    assert pixels("wide.webp").shape == (1400, 900, 3)


def test_removal_needs_no_words(cli: Cli, photo: Path, mask: Path, tiny_model: Path) -> None:
    result = cli(
        *("edit", photo, "--mask", mask, "--task", "removal"),
        *("-n", 2, "--seed", 7, "-o", "out/", "--model", tiny_model, "--json"),
    )
    assert (result.code, result.stderr) == (0, "")
    images = json.loads(result.stdout)["images"]
    assert [image["path"] for image in images] == [
        "out/coffee-removal-7.png",
        "out/coffee-removal-8.png",
    ]
    assert [image["seed"] for image in images] == [7, 8]
    first, second = (pixels(image["path"]) for image in images)
    assert (first != second).any()
    again = cli(
        *("edit", photo, "--mask", mask, "--task", "removal"),
        *("--seed", 7, "-o", "again.png", "--model", tiny_model),
    )
    assert again.code == 0
    assert np.abs(pixels("again.png").astype(int) - first).max() <= 1


def test_boxes_and_prompts_one_for_each(cli: Cli, photo: Path, tiny_model: Path) -> None:
    result = cli(
        *("edit", photo, "--box", "10,10,20%,100", "--polygon", "70%,60% 95%,60% 80%,95%"),
        *("--each-region", "--prompt", "a hat", "--prompt", "a tree"),
        *("-o", "two.png", "--feather", 2, "--model", tiny_model),
    )
    assert (result.code, result.stdout, result.stderr) == (0, "two.png\n", "")
    changed = (pixels("two.png") != pixels(photo)).any(axis=2)
    assert changed[10:110, 10:130].mean() > 0.9
    assert changed[245:300, 450:520].mean() > 0.9
    assert not changed[:, 150:400].any() and not changed[120:, :400].any()
    (told,) = read_history(Path("two.png"))
    assert told["prompt"] == "a hat; a tree"


def test_sides_make_it_an_extension(cli: Cli, photo: Path, tiny_model: Path) -> None:
    result = cli(
        *("edit", photo, "--expand", "left=10%,bottom=30", "--feather", 0),
        *("--model", tiny_model, "--no-metadata"),
    )
    assert (result.code, result.stdout) == (0, "coffee-extend-0.png\n")
    after = pixels("coffee-extend-0.png")
    assert after.shape == (430, 660, 3)
    assert (after[:400, 60:] == pixels(photo)).all()
    assert read_history(Path("coffee-extend-0.png")) == []


def test_words_to_write_make_it_the_text_task(
    cli: Cli, photo: Path, mask: Path, tiny_model: Path
) -> None:
    line = ("edit", photo, "--mask", mask, "-o", "sign.png", "--model", tiny_model)
    assert cli(*line, "--text", "澳门").code == 0
    (told,) = read_history(Path("sign.png"))
    assert (told["task"], told["prompt"], told["model"]) == ("text", "澳门", tiny_model.name)
    both = cli(*line, "--text", "澳门", "--prompt", "hat")
    assert (both.code, both.stderr.count("\n")) == (2, 1)
    assert "--text and --prompt" in both.stderr


def test_text(cli: Cli, photo: Path, mask: Path, tiny_model: Path) -> None:
    result = cli(
        *("edit", photo, "--mask", mask, "--task", "text", "--prompt", "澳门"),
        *("-o", "sign.jpg", "--model", tiny_model, "--save-debug", "debug"),
    )
    assert (result.code, result.stdout, result.stderr) == (0, "sign.jpg\n", "")
    assert files() == [
        "debug",
        "debug/sign-pass-1-crop.png",
        "debug/sign-pass-1-model-mask.png",
        "debug/sign-pass-1-stitch-mask.png",
        "sign.jpg",
    ]


def test_the_same_line_gives_the_same_file(
    cli: Cli, photo: Path, mask: Path, tiny_model: Path
) -> None:
    for name in ("a.png", "b.png"):
        line = ("edit", photo, "--mask", mask, "--prompt", "hat", "--seed", 3, "-o", name)
        assert cli(*line, "--model", tiny_model).code == 0
    assert Path("a.png").read_bytes() == Path("b.png").read_bytes()


def test_prompt_steps_guidance_and_negative_all_matter(
    cli: Cli, photo: Path, mask: Path, tiny_model: Path
) -> None:
    variants: dict[str, list[object]] = {
        "base": [],
        "steps": ["--steps", 2],
        "guidance": ["--guidance", 1],
        "negative": ["--negative", "cat"],
    }
    for name, options in variants.items():
        line = ("edit", photo, "--mask", mask, "--prompt", "red ball", "-o", f"{name}.png")
        assert cli(*line, "--model", tiny_model, *options).code == 0
    line = ("edit", photo, "--mask", mask, "--prompt", "tree", "-o", "prompt.png")
    assert cli(*line, "--model", tiny_model).code == 0
    pictures = {path.stem: pixels(path).tobytes() for path in Path().glob("*.png")}
    assert len(set(pictures.values())) == 5


def test_an_unknown_word_is_said_with_the_nearest_known(
    cli: Cli, photo: Path, mask: Path, tiny_model: Path
) -> None:
    line = ("edit", photo, "--mask", mask, "--prompt", "straww hat", "--model", tiny_model)
    result = cli(*line, "--json")
    assert result.code == 0
    assert result.stderr.strip() == (
        "warning: 'straww' is no word this model knows; the nearest is 'straw'"
    )
    json.loads(result.stdout)


def test_a_second_run_does_not_replace_the_first(
    cli: Cli, photo: Path, mask: Path, tiny_model: Path
) -> None:
    for prompt in ("hat", "tree"):
        line = ("edit", photo, "--mask", mask, "--prompt", prompt, "--model", tiny_model)
        assert cli(*line).code == 0
    assert files() == ["coffee-fill-0-2.png", "coffee-fill-0.png"]


def test_from_a_shell_stdout_is_one_document(
    photo: Path, mask: Path, tiny_model: Path, in_an_empty_folder: Path
) -> None:
    line = ["edit", photo, "--mask", mask, "--prompt", "zebra hat", "--model", tiny_model, "--json"]
    done = subprocess.run(
        [sys.executable, "-c", "from onefill.cli.app import main; main()", *map(str, line)],
        capture_output=True,
        text=True,
        cwd=in_an_empty_folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["images"][0]["path"] == "coffee-fill-0.png"
    assert done.stderr.count("\n") == 1 and "zebra" in done.stderr


def huge_png(path: Path) -> None:
    """A kilobyte that claims to be 40,000 x 40,000."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    header = struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(1000))
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + parts)


@pytest.fixture
def bad(tmp_path: Path, photo: Path) -> Path:
    folder = tmp_path / "bad"
    folder.mkdir()
    (folder / "notes.jpg").write_text("not an image")
    (folder / "cut.jpg").write_bytes(photo.read_bytes()[:9000])
    (folder / "nothing.png").touch()
    huge_png(folder / "huge.png")
    Image.new("L", (10, 10), 255).save(folder / "other-size.png")
    Image.new("L", (600, 400)).save(folder / "black.png")
    Image.fromarray(np.zeros((400, 600), np.uint16)).save(folder / "deep.png")
    return folder


BAD_LINES = {
    "missing file": (["{bad}/none.jpg", "--mask", "{mask}"], "no such file"),
    "a folder": (["{bad}", "--mask", "{mask}"], "folder"),
    "not an image": (["{bad}/notes.jpg", "--mask", "{mask}"], "not an image"),
    "truncated": (["{bad}/cut.jpg", "--mask", "{mask}"], "truncated"),
    "0-byte file": (["{bad}/nothing.png", "--mask", "{mask}"], "empty"),
    "over the pixel cap": (["{bad}/huge.png", "--mask", "{mask}"], "megapixels"),
    "16 bits": (["{bad}/deep.png", "--mask", "{mask}"], "8 bits"),
    "missing mask": (["{photo}", "--mask", "{bad}/none.png"], "--mask"),
    "truncated mask": (["{photo}", "--mask", "{bad}/cut.jpg"], "--mask"),
    "0-byte mask": (["{photo}", "--mask", "{bad}/nothing.png"], "--mask"),
    "mask of another size": (["{photo}", "--mask", "{bad}/other-size.png"], "10x10"),
    "empty mask": (["{photo}", "--mask", "{bad}/black.png"], "empty"),
    "no mask": (["{photo}"], "--mask"),
    "unknown task": (["{photo}", "--mask", "{mask}", "--task", "fil"], "onefill tasks"),
    "unknown model": (["{photo}", "--mask", "{mask}", "--model", "pocktet"], "onefill models"),
    "a folder that is no model": (["{photo}", "--mask", "{mask}", "--model", "{bad}"], "--model"),
    "unknown device": (["{photo}", "--mask", "{mask}", "--device", "toaster"], "--device"),
    "prompt too long": (["{photo}", "--mask", "{mask}", "--prompt", "zig zag " * 9], "shorten"),
    "no shape": (["{photo}", "--task", "extend", "--to", "wide"], "16:9"),
    "fill to a shape": (["{photo}", "--task", "fill", "--to", "16:9"], "extend"),
    "shape and sides": (["{photo}", "--to", "16:9", "--expand", "left=9"], "leave one"),
    "a side that is none": (["{photo}", "--expand", "west=9"], "left=20%"),
    "an anchor that is none": (["{photo}", "--to", "16:9", "--anchor", "up"], "top-left"),
    "a box outside": (["{photo}", "--box", "700,10,20,20"], "600x400"),
    "a box of three": (["{photo}", "--box", "7,10,20"], "x,y,width,height"),
    "a polygon of two": (["{photo}", "--polygon", "7,10 20,20"], "three corners"),
    "no alpha": (["{photo}", "--mask-alpha", "transparent"], "alpha"),
    "alpha misspelt": (["{photo}", "--mask-alpha", "clear"], "opaque"),
    "growth that is none": (["{photo}", "--mask", "{mask}", "--grow", "far"], "--grow"),
    "inverted nothing": (["{photo}", "--invert-mask"], "--box"),
    "two prompts, one mask": (
        ["{photo}", "--mask", "{mask}", "--prompt", "a", "--prompt", "b"],
        "--each-region",
    ),
    "text and another task": (
        ["{photo}", "--mask", "{mask}", "--text", "a", "--task", "fill"],
        "--task fill",
    ),
    "no words to write": (["{photo}", "--mask", "{mask}", "--text", " "], "--text: says nothing"),
    "folder not writable": (["{photo}", "--mask", "{mask}", "-o", "{photo}/a.png"], "written"),
    "other suffix": (["{photo}", "--mask", "{mask}", "-o", "a.gif"], ".png"),
    "the input as output": (["{photo}", "--mask", "{mask}", "-o", "{photo}"], "input"),
    "debug folder not writable": (
        ["{photo}", "--mask", "{mask}", "--save-debug", "{photo}/a"],
        "--save-debug",
    ),
    "no results": (["{photo}", "--mask", "{mask}", "-n", "0"], "--count"),
    "unknown option": (["{photo}", "--mosk", "{mask}"], "--help"),
}


@pytest.mark.parametrize("case", BAD_LINES)
def test_bad_input_is_one_line_and_no_file(
    cli: Cli, case: str, photo: Path, mask: Path, bad: Path, tiny_model: Path
) -> None:
    words, says = BAD_LINES[case]
    line = [word.format(photo=photo, mask=mask, bad=bad) for word in words]
    given = ["--prompt", "hat"] if not {"--prompt", "--text"} & set(line) else []
    model = ["--model", str(tiny_model)] if "--model" not in line else []
    before = sorted(str(path) for path in bad.iterdir())
    result = cli("edit", *line, *given, *model)
    assert result.code == 2, result.stderr
    assert result.stdout == ""
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1
    assert says in result.stderr
    assert files() == [] and sorted(str(path) for path in bad.iterdir()) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(cli: Cli, photo: Path, mask: Path, tiny_model: Path) -> None:
    Path("locked").mkdir(mode=0o555)
    line = ("edit", photo, "--mask", mask, "--task", "removal", "-o", "locked/")
    result = cli(*line, "--model", tiny_model)
    assert (result.code, result.stderr.count("\n")) == (2, 1)
    assert "locked" in result.stderr

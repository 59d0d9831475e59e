from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from onefill.judge.pairs_file import read_pairs
from onefill.pairs.duel import GAP
from onefill.tasks.registry import load_tasks

from .conftest import contents, draw_picture, pixels, read_rows

TASKS = ("fill", "extend", "removal", "text")


@pytest.fixture(scope="module")
def pocket(tmp_path_factory):
    """Pairs from the embedded scenes, made by one command."""
    from onefill.cli.app import run

    out = tmp_path_factory.mktemp("made") / "pairs"
    assert run(["pairs", "make", "--from", "pocket", "--count", "60", "--out", str(out)]) == 0
    return out


def test_everything_offline_with_one_command(pocket, cli):
    pairs = read_pairs(pocket / "pairs.jsonl", load_tasks())
    assert len(pairs) == 60
    assert {pair.task for pair in pairs} == set(TASKS)
    asked = {(pair.task, dim) for pair in pairs for dim in pair.winner}
    assert len(asked) >= 11
    assert {w for pair in pairs for w in pair.winner.values()} == {"first", "second"}
    for pair in pairs:
        assert set(pair.strength) == set(pair.winner) == set(pair.dims)
        assert all(GAP - 1e-9 <= value <= 1 for value in pair.strength.values())
    checked = cli("pairs", "check", pocket / "pairs.jsonl")
    assert (checked.code, checked.stdout) == (0, "")
    assert "60 pairs, no fault" in checked.stderr


def test_the_sheet_of_the_docs_shows_better_beside_worse(pocket, tmp_path):
    script = Path(__file__).parents[2] / "scripts" / "make_pairs_sheet.py"
    sheet = tmp_path / "sheet.png"
    command = [sys.executable, str(script), str(pocket / "pairs.jsonl"), "-o", str(sheet)]
    subprocess.run(command, check=True)
    shown = pixels(sheet)
    cells = {(row["task"], dim) for row in read_rows(pocket) for dim in row["winner"]}
    assert shown.shape[0] == 118 * len(cells)
    first = min(cells)
    row = next(r for r in read_rows(pocket) if r["task"] == first[0] and first[1] in r["winner"])
    better = Image.open(pocket / row[row["winner"][first[1]]]).resize((96, 96), Image.LANCZOS)
    assert np.array_equal(shown[:96, 150:246], np.asarray(better.convert("RGB")))


def test_only_ugliness_reaches_beyond_the_mask(pocket):
    seen = 0
    for row in read_rows(pocket):
        if "aesthetics" in row["winner"] or row["task"] == "extend":
            continue
        kept = pixels(pocket / row["mask"])[..., 0] == 0
        first, second = (pixels(pocket / row[key]) for key in ("first", "second"))
        assert np.array_equal(first[kept], second[kept])
        seen += 1
    assert seen > 20


def test_some_pairs_have_two_winners_that_differ(pocket):
    both = [row for row in read_rows(pocket) if len(set(row["winner"].values())) == 2]
    assert both


def test_the_same_seed_the_same_files_and_another_seed_others(photos, cli, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        made = cli("pairs", "make", photos, "--count", 6, "--seed", seed, "--out", tmp_path / name)
        assert made.code == 0, made.stderr
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert contents(tmp_path / "a") != contents(tmp_path / "c")


def test_a_killed_run_goes_on_to_the_same_files(photos, cli, tmp_path):
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    for out, count in ((whole, 6), (torn, 4)):
        assert cli("pairs", "make", photos, "--count", count, "--out", out).code == 0
    with (torn / "pairs.jsonl").open("a") as file:
        file.write('{"first": "pictures/00')  # killed while writing
    again = cli("pairs", "make", photos, "--count", 6, "--out", torn)
    assert again.code == 0
    assert "4 pairs are there" in again.stderr
    assert contents(torn) == contents(whole)


def test_ctrl_c_waits_for_the_pair_and_the_same_command_goes_on(photos, cli, tmp_path, monkeypatch):
    from onefill.pairs.output import PairsFolder

    whole, out = tmp_path / "whole", tmp_path / "out"
    assert cli("pairs", "make", photos, "--count", 5, "--out", whole).code == 0
    append = PairsFolder.append

    def press(folder, rows):
        if rows[0]["number"] == 2:
            os.kill(os.getpid(), signal.SIGINT)
        append(folder, rows)

    monkeypatch.setattr(PairsFolder, "append", press)
    stopped = cli("pairs", "make", photos, "--count", 5, "--out", out)
    assert stopped.code == 130
    assert "the same command goes on" in stopped.stderr
    assert len(read_rows(out)) == 3
    monkeypatch.undo()
    assert cli("pairs", "make", photos, "--count", 5, "--out", out).code == 0
    assert contents(out) == contents(whole)


def test_pictures_are_not_enlarged_and_have_the_size_asked_for(photos, cli, tmp_path):
    out = tmp_path / "out"
    assert cli("pairs", "make", photos, "--count", 8, "--size", 50, "--out", out).code == 0
    sides = {pixels(out / row["first"]).shape[0] for row in read_rows(out)}
    assert sides <= {40, 50} and 50 in sides


def test_without_captions_text_alignment_is_left_out_and_said_so(silent, cli, tmp_path):
    made = cli("pairs", "make", silent, "--count", 5, "--out", tmp_path / "out")
    assert made.code == 0
    assert "fill/text-alignment is left out: it needs pictures with two" in made.stderr
    assert "text/text-alignment is left out: only --fonts" in made.stderr
    assert all("text-alignment" not in row["winner"] for row in read_rows(tmp_path / "out"))


def test_a_font_makes_pairs_of_written_words(photos, cli, tmp_path, monkeypatch):
    from PIL import ImageFont

    fonts = tmp_path / "fonts"
    fonts.mkdir()
    built_in = ImageFont.load_default(20)
    (fonts / "a.ttf").write_bytes(built_in.font_bytes)
    out = tmp_path / "out"
    made = cli(
        "pairs", "make", photos, "--tasks", "text", "--count", 8, "--fonts", fonts, "--out", out
    )
    assert made.code == 0, made.stderr
    rows = read_rows(out)
    assert {row["prompt"] for row in rows} <= {"red hat", "green frog", "OPEN"}
    assert any("text-alignment" in row["winner"] for row in rows)


def test_another_things_region_for_text_alignment(photos, cli, tmp_path):
    out = tmp_path / "out"
    assert cli("pairs", "make", photos, "--tasks", "fill", "--count", 20, "--out", out).code == 0
    rows = [row for row in read_rows(out) if "text-alignment" in row["winner"]]
    assert rows
    for row in rows:
        assert row["strength"]["text-alignment"] == 1.0
        assert row["prompt"]


def test_held_out_pictures_are_no_training_pictures(photos, cli, tmp_path):
    for number in range(3, 9):
        draw_picture(number).save(photos / f"{number}.png")
    scenes = {}
    for part in ("train", "heldout"):
        out = tmp_path / part
        made = cli("pairs", "make", photos, "--part", part, "--count", 12, "--out", out,
                   "--tasks", "extend")  # fmt: skip
        assert made.code == 0, made.stderr
        scenes[part] = {row["scene"] for row in read_rows(out)}
    assert scenes["heldout"] and not scenes["train"] & scenes["heldout"]
    against = cli("pairs", "check", tmp_path / "train" / "pairs.jsonl",
                  "--against", tmp_path / "heldout" / "pairs.jsonl")  # fmt: skip
    assert against.code == 0


def test_a_plugins_own_dimension_is_left_out_by_name(cli, tmp_path, install, photos):
    from onefill.tasks.registry import load_tasks

    install("onefill-polish")
    load_tasks.cache_clear()
    try:
        made = cli("pairs", "make", photos, "--tasks", "polish,removal", "--count", 2,
                   "--out", tmp_path / "out")  # fmt: skip
        alone = cli("pairs", "make", photos, "--tasks", "polish", "--out", tmp_path / "none")
    finally:
        load_tasks.cache_clear()
    assert made.code == 0
    assert "polish/looks is left out: there is damage only to consistency" in made.stderr
    assert alone.code == 2
    assert "no pair can be made" in alone.stderr
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--strengths", "0-1"], "--strengths 0-1: give two numbers"),
        (["--strengths", "much"], "--strengths much"),
        (["--strengths", "0.9-0.2"], "--strengths 0.9-0.2"),
        (["--candidates", "4"], "--candidates: has no meaning with --from images"),
        (["--unlabelled"], "--unlabelled: has no meaning"),
        (["--data", "elsewhere"], "name the pictures once"),
        (["--tasks", "fly"], "--tasks fly"),
        (["--fonts", "none.ttf"], "--fonts none.ttf: no font"),
        (["--from", "pocket"], "--from pocket has pictures of its own"),
        (["--from", "policy", "--size", "64"], "--size: has no meaning with --from policy"),
        (["--count", "0"], "--count"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(photos, cli, tmp_path, arguments, said):
    refused = cli("pairs", "make", photos, "--out", tmp_path / "out", *arguments)
    assert refused.code == 2
    assert said in refused.stderr
    assert len([line for line in refused.stderr.splitlines() if "error:" in line]) == 1
    assert not (tmp_path / "out").exists()


def test_folders_that_cannot_be_used(photos, cli, tmp_path):
    missing = cli("pairs", "make", tmp_path / "nowhere", "--out", tmp_path / "out")
    assert missing.code == 2 and "does not exist" in missing.stderr
    full = cli("pairs", "make", photos, "--out", photos)
    assert full.code == 2 and "is not empty and holds no pairs" in full.stderr
    out = tmp_path / "pairs"
    assert cli("pairs", "make", photos, "--count", 2, "--out", out).code == 0
    other = cli("pairs", "make", photos, "--count", 2, "--seed", 5, "--out", out)
    assert other.code == 2 and "were made with seed 0, not 5" in other.stderr
    draw_picture(9).save(photos / "new.png")
    changed = cli("pairs", "make", photos, "--count", 3, "--out", out)
    assert changed.code == 2 and "pictures" in changed.stderr
    (out / "make.json").write_text("{")
    broken = cli("pairs", "make", photos, "--count", 3, "--out", out)
    assert broken.code == 2 and "make.json: cannot be read" in broken.stderr


def test_pictures_that_cannot_be_damaged(cli, tmp_path):
    tiny = tmp_path / "tiny"
    tiny.mkdir()
    draw_picture(0, 20, 20).save(tiny / "a.png")
    refused = cli("pairs", "make", tiny, "--tasks", "extend", "--out", tmp_path / "out")
    assert refused.code == 2 and "20x20 is too small" in refused.stderr
    alone = cli("pairs", "make", tiny, "--tasks", "removal", "--out", tmp_path / "out2")
    assert alone.code == 2 and "it needs two pictures" in alone.stderr


def test_json_says_where_the_pairs_are(photos, cli, tmp_path):
    out = tmp_path / "out"
    made = cli("pairs", "make", photos, "--count", 2, "--out", out, "--json")
    document = json.loads(made.stdout)
    assert document["count"] == 2
    assert document["pairs"] == str(out / "pairs.jsonl")
    assert document["settings"]["strengths"] == [0.2, 1.0]


def test_a_pair_is_clean_against_damaged_within_the_strengths(photos, cli, tmp_path):
    out = tmp_path / "out"
    made = cli("pairs", "make", photos, "--count", 12, "--strengths", "0.9-1", "--out", out)
    assert made.code == 0
    values = [v for row in read_rows(out) for v in row["strength"].values()]
    assert min(values) >= GAP and max(values) > 0.9
    shutil.rmtree(out)

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from onefill.data.source import open_source
from onefill.pocket.embedded import scenes
from onefill.pocket.material.vocabulary import CONCEPTS
from onefill.tasks.registry import load_tasks


@pytest.mark.parametrize("split", ["train", "heldout"])
def test_every_built_in_task_has_embedded_samples(split: str) -> None:
    tasks = [load_tasks().get(name) for name in ("fill", "extend", "removal", "text")]
    source = open_source(scenes(split), tasks, seed=0)
    for task in tasks:
        assert source.count(task.name) >= 48
        sample = source.draw(task.name, 0, 64)
        assert sample.image.shape == (64, 64, 3)
        assert sample.mask.any()


@pytest.mark.parametrize("split", ["heldout", "unseen"])
def test_no_picture_is_both_trained_on_and_held_out(split: str) -> None:
    assert not _hashes(scenes("train")) & _hashes(scenes(split))


def test_no_scene_to_train_on_shows_a_thing_in_a_colour_that_is_kept_from_training() -> None:
    kept = {(concept.word, concept.unseen) for concept in CONCEPTS if concept.unseen}
    assert _asked(scenes("unseen")) == kept
    assert not _asked(scenes("train")) & kept


def _asked(folder: Path) -> set[tuple[str, str]]:
    lines = (folder / "metadata.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if row["task"] == "fill"]
    return {(row["word"], row["colour"]) for row in rows}


def _hashes(folder: Path) -> set[str]:
    lines = (folder / "metadata.jsonl").read_text(encoding="utf-8").splitlines()
    files = [folder / json.loads(line)["image"] for line in lines]
    found = {hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    assert len(found) > 0.95 * len(files)
    return found

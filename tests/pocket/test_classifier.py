"""Training of the classifier that names what stands in a mask."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from onefill.pocket.material.pool import Pool
from onefill.pocket.material.scenes import SIZE
from onefill.pocket.material.sources import HELD_OUT, RULER, Split
from onefill.pocket.material.vocabulary import WORDS
from onefill.pocket.scoring import classifier
from onefill.pocket.training_plan import Length, Plan

NAMES = {WORDS[2]: (200, 30, 30), WORDS[5]: (30, 60, 200)}


def pool(split: Split, count: int, seed: int, cache: Path, kind: str) -> Pool:
    """One thing is red, the other blue."""
    assert kind == "fill"
    words = [list(NAMES)[number % 2] for number in range(40)]
    masks = np.zeros((40, SIZE, SIZE), bool)
    masks[:, 16:48, 16:48] = True
    targets = np.full((40, SIZE, SIZE, 3), 128, np.uint8)
    for target, mask, word in zip(targets, masks, words, strict=True):
        target[mask] = NAMES[word]
    return Pool(targets, masks, words, ["fill"] * 40, words, ["fill"] * 40)


def test_the_classifier_learns_names_and_goes_on_where_it_was_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits = []

    def draw(split: Split, *rest: object) -> Pool:
        splits.append(split)
        return pool(split, *rest)

    monkeypatch.setattr(classifier, "draw_pool", draw)
    out, lines = tmp_path / "weights" / "classifier.safetensors", []
    plan = Plan(tmp_path, Length(steps=60), 0, lines.append)
    classifier.train_classifier(out, plan)
    assert splits == [RULER, HELD_OUT]
    assert lines[-1].endswith("held-out composites named 1.000")
    before = load_file(out)
    classifier.train_classifier(out, plan)
    assert all(torch.equal(value, before[name]) for name, value in load_file(out).items())
    views = classifier.views_of(
        *(getattr(pool(RULER, 0, 0, tmp_path, "fill"), k) for k in ("targets", "masks"))
    )
    named = classifier.load_classifier(out).look(views[:2]).argmax(1)
    assert [WORDS[place] for place in named] == list(NAMES)
    classifier.train_classifier(out, replace(plan, length=Length(steps=62)))
    assert [line.split("step ")[1].split(",")[0] for line in lines] == ["60", "62"]
    assert [file.name for file in out.parent.iterdir()] == [out.name]

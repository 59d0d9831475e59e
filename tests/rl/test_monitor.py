"""Hacking is seen by measures that are no judge."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from onefill.errors import OnefillError
from onefill.rl.loop import take_step
from onefill.rl.monitor import Figures, outside_drift, seam_error, texture
from onefill.rl.watch import watch

from .conftest import shake, weights_of


class Notes:
    def __init__(self):
        self.lines = []

    def note(self, text):
        self.lines.append(text)


@pytest.fixture
def square():
    masks = torch.zeros(1, 1, 8, 8)
    masks[..., 2:6, 2:6] = 1
    return masks


def test_the_seam_is_the_step_across_the_edge_alone(square):
    images = torch.full((1, 3, 8, 8), 0.25)
    assert seam_error(images, square) == 0
    images[..., 2:6, 2:6] = 0.75
    assert seam_error(images, square) == pytest.approx(0.5)
    images[..., 3:5, 3:5] = 0.0  # deep inside
    images[..., 0, 0] = 1.0  # far outside
    assert seam_error(images, square) == pytest.approx(0.5)


def test_texture_is_the_step_between_pixels_inside_alone(square):
    images = torch.full((1, 3, 8, 8), 0.25)
    images[..., :2, :] = 1.0  # outside, and a seam
    assert texture(images, square) == 0
    images[..., 2:6, 2:6:2] = 0.75  # stripes: 12 steps of 24 pairs
    assert texture(images, square) == pytest.approx(0.25)
    assert texture(images, torch.zeros_like(square)) == 0


def test_the_drift_is_that_of_the_pixels_that_were_not_asked_for(square):
    images = torch.full((1, 3, 8, 8), 0.5)
    pictures = images + 0.4 * square
    assert outside_drift(pictures, images, square) == 0
    pictures[..., 0, :] += 0.24  # 8 of 48 pixels
    assert outside_drift(pictures, images, square) == pytest.approx(0.04)
    assert outside_drift(pictures, images, torch.ones_like(square)) == 0


def test_the_start_model_is_as_good_as_itself_and_watching_changes_nothing(open_run):
    run = open_run(monitor={"every": 1, "scenes": 2})
    before = weights_of(run)
    watch(run, Notes())
    (row,) = run.metrics.read("monitor")
    for figures in row["tasks"].values():
        assert figures["now"] == figures["start"]
        assert 0 < figures["now"]["seam"] < 1
    assert all(torch.equal(weight, before[name]) for name, weight in weights_of(run).items())

    take_step(run)
    other = open_run(name="unwatched", monitor={"every": 0})
    take_step(other)
    assert all(
        torch.equal(weight, weights_of(other)[name]) for name, weight in weights_of(run).items()
    )


START = Figures(0.6, 0.1, 0.2, 0.02, 0.1)


@pytest.mark.parametrize(
    ("now", "told"),
    [
        (Figures(0.8, 0.1, 0.20, 0.02, 0.1), []),
        (Figures(0.8, 0.1, 0.29, 0.029, 0.14), []),
        (Figures(0.8, 0.1, 0.36, 0.02, 0.1), ["the step across the mask's edge is 0.360, 1.8"]),
        (Figures(0.8, 0.1, 0.20, 0.09, 0.1), ["the change outside the mask is 0.090, 4.5 times"]),
        (
            Figures(0.8, 0.1, 0.2, 0.02, 0.2),
            ["the texture inside the mask is 0.200, 2"],
        ),
        (
            Figures(0.8, 0.1, 0.2, 0.02, 0.05),
            ["the texture inside the mask is 0.050, 0.5"],
        ),
        (Figures(0.5, 0.1, 0.35, 0.09, 0.2), []),  # worse, but the judge says so too
    ],
)
def test_what_gets_worse_while_the_reward_rises_is_alarming(open_run, now, told):
    found = open_run().monitor._worse({"fill": (now, START)})
    assert len(found) == len(told)
    assert all(line.startswith(f"fill: {start}") for line, start in zip(found, told, strict=True))


def test_a_trick_is_seen_where_it_costs_reward_as_well(open_run):
    fooled, spoilt = replace(START, reward=0.9), replace(START, reward=0.5, texture=0.2)
    (line,) = open_run().monitor._worse({"fill": (fooled, START), "removal": (spoilt, START)})
    assert line.startswith("removal: the texture inside the mask")
    assert "the reward rose from 0.60 to 0.70" in line


def test_a_reward_that_is_used_up_is_told(open_run):
    run = open_run(monitor={"every": 3, "saturated": 0.9})

    def rows(*shares):
        return [{"saturated": {"fill": {"structure": share}}} for share in shares]

    assert run.monitor.saturation(rows(1.0, 1.0)) == []
    assert run.monitor.saturation(rows(0.0, 1.0, 0.6, 1.0)) == []
    (line,) = run.monitor.saturation(rows(0.0, 1.0, 0.9, 1.0))
    assert line.startswith("97% of the last answers are beyond lam 0.75")


def test_a_run_that_is_to_stop_is_saved_and_stops(open_run, monkeypatch):
    for stop in (False, True):
        run = open_run(name=str(stop), monitor={"every": 1, "scenes": 1, "stop": stop})
        shake(run)
        monkeypatch.setattr(run.monitor, "_worse", lambda found: [f"{next(iter(found))}: bad"])
        notes = Notes()
        if stop:
            with pytest.raises(OnefillError, match="step 0, saved and stopped: fill: bad"):
                watch(run, notes)
        else:
            watch(run, notes)
        assert "warning: fill: bad" in notes.lines
        assert bool(list(run.folder.checkpoints.iterdir())) == stop
        assert run.metrics.read("monitor")[0]["alarms"][0] == "fill: bad"

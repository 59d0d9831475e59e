from __future__ import annotations

import pytest
import torch

from onefill.interrupt import Interrupted
from onefill.rl.evaluate import win_rate
from onefill.rl.loop import take_step

from .conftest import shake


def test_ties_count_half():
    found = win_rate([0.9, 0.56, 0.54, 0.5, 0.46, 0.44, 0.1, 0.2])
    assert found.rate == pytest.approx((2 + 3 * 0.5) / 8)
    assert found.count == 8


@pytest.mark.parametrize(
    ("wins", "count", "low", "high"),
    # Wilson's interval, worked with other software.
    [
        (8, 10, 0.4902, 0.9433),
        (0, 10, 0.0, 0.2775),
        (32, 32, 0.8928, 1.0),
        (16, 32, 0.3363, 0.6637),
    ],
)
def test_the_interval_is_wilsons(wins, count, low, high):
    found = win_rate([0.9] * wins + [0.1] * (count - wins))
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


def test_an_untrained_policy_scores_what_the_start_model_scores(open_run):
    run = open_run()
    assert run.held_out.measure() == run.held_out.measure_start()
    shake(run)
    pictures = run.held_out.paint("fill")
    assert not torch.equal(pictures, run.held_out.scenes("fill").start)


def test_measuring_does_not_touch_the_training(open_run):
    plain, measured = open_run(name="plain"), open_run(name="measured")
    measured.held_out.measure_start()
    first = take_step(plain), take_step(measured)
    measured.held_out.measure()
    second = take_step(plain), take_step(measured)
    assert first[0] == first[1]
    assert second[0] == second[1]


def test_a_sheet_paints_the_same_noise_as_the_measurement(open_run):
    run = open_run()
    shake(run)
    one, all_of_them = run.held_out.paint("fill", 1), run.held_out.paint("fill")
    torch.testing.assert_close(one, all_of_them[:1])


def test_the_reference_has_another_noise_than_whoever_is_measured(open_run):
    scenes = open_run().held_out.scenes("removal")
    painted = scenes.batch.masks.bool().expand_as(scenes.start)
    assert not torch.equal(scenes.start[painted], scenes.reference[painted])
    assert torch.equal(scenes.start[~painted], scenes.batch.images[~painted])


def test_measuring_can_be_broken_off(open_run):
    run = open_run()
    done = []

    def tick(task, place, of):
        done.append((task, place, of))
        raise Interrupted("now")

    run.held_out.tick = tick
    with pytest.raises(Interrupted):
        run.held_out.measure_start()
    assert done == [("fill", 0, 2)]

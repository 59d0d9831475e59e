from __future__ import annotations

import torch

from onefill.rl.randomness import Purpose, draw_gradient_step, noise_generators


def drawn(seed, purpose, step, places):
    return [torch.randn(3, generator=g) for g in noise_generators(seed, purpose, step, places)]


def test_a_place_gets_the_same_noise_whatever_shares_its_batch():
    whole = drawn(0, Purpose.POLICY_NOISE, 3, range(4))
    half = drawn(0, Purpose.POLICY_NOISE, 3, range(2, 4))
    assert torch.equal(torch.stack(whole[2:]), torch.stack(half))


def test_seed_purpose_step_and_place_all_tell_noises_apart():
    noises = [
        drawn(seed, purpose, step, range(place, place + 1))[0].tolist()
        for seed in (0, 1)
        for purpose in (Purpose.POLICY_NOISE, Purpose.REFERENCE_NOISE)
        for step in (0, 1)
        for place in (0, 1)
    ]
    assert len({tuple(noise) for noise in noises}) == 16


def test_the_gradient_step_covers_its_range_evenly():
    steps = [draw_gradient_step(0, step, range(6, 10)) for step in range(400)]
    counts = [steps.count(choice) for choice in range(6, 10)]
    assert sum(counts) == 400
    assert min(counts) > 70

from __future__ import annotations

import pytest
import torch

from onefill.rl.config import RewardConfig
from onefill.rl.jitter import Jitter, draw_jitter, jitter_generators, jittered


@pytest.fixture
def images():
    return torch.rand(2, 3, 12, 16, generator=torch.Generator().manual_seed(0))


def test_nothing_drawn_changes_nothing(images):
    assert torch.equal(jittered(images, Jitter(0.0, 0, 0, 1.0)), images)


def test_a_shift_moves_the_picture_and_repeats_its_border(images):
    moved = jittered(images, Jitter(0.0, 3, -2, 1.0))
    assert torch.equal(moved[:, :, :-2, 3:], images[:, :, 2:, :-3])
    assert torch.equal(moved[:, :, 0, :3], images[:, :, 2, :1].expand(-1, -1, 3))


@pytest.mark.parametrize("scale", [0.8, 1.25])
def test_a_resized_picture_keeps_its_frame_and_its_middle(scale):
    ramp = torch.linspace(0, 1, 16).expand(1, 3, 16, 16)
    seen = jittered(ramp, Jitter(0.0, 0, 0, scale))
    assert seen.shape == ramp.shape
    middle = seen[0, 0, 8, 7:9].mean()
    assert middle.item() == pytest.approx(0.5, abs=0.05)  # half a pixel
    slope = (seen[0, 0, 8, 9] - seen[0, 0, 8, 6]) / 3
    assert slope.item() == pytest.approx(1 / 15 / scale, rel=0.1)


def test_every_step_is_seen_otherwise_and_the_same_step_alike(images):
    config = RewardConfig(noise=0.05, shift=2, resize=0.1)
    drawn = {draw_jitter(config, 0, step) for step in range(20)}
    assert len(drawn) > 15
    assert draw_jitter(config, 0, 3) == draw_jitter(config, 0, 3) != draw_jitter(config, 1, 3)
    assert all(-2 <= j.right <= 2 and 0.9 <= j.scale <= 1.1 for j in drawn)

    def noisy(which, places):
        generators = jitter_generators(0, 3, places, which)
        return jittered(images[: len(places)], Jitter(0.1, 0, 0, 1.0), generators)

    assert torch.equal(noisy(0, range(2)), noisy(0, range(2)))
    assert torch.equal(noisy(0, range(2))[:1], noisy(0, range(1)))
    assert not torch.equal(noisy(0, range(2)), noisy(1, range(2)))
    assert (noisy(0, range(2)) - images).std().item() == pytest.approx(0.1, abs=0.03)


def test_the_gradient_comes_back_to_every_picture(images):
    images.requires_grad_()
    jitter = Jitter(0.02, 1, 1, 0.9)
    jittered(images, jitter, jitter_generators(0, 0, range(2), 0)).sum().backward()
    assert (images.grad.abs().flatten(1).sum(dim=1) > 0).all()

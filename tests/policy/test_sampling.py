from __future__ import annotations

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from onefill.policy.sampling import euler_step, guide, integrate, predict_x0, sigma_schedule


def test_plain_schedule_falls_evenly_from_noise_to_clean() -> None:
    config = FlowMatchEulerDiscreteScheduler(shift=1.0).config
    assert torch.allclose(sigma_schedule(config, 4, 64), torch.tensor([1, 0.75, 0.5, 0.25, 0]))


def test_dynamic_shift_spends_more_steps_on_noise_when_the_picture_is_larger() -> None:
    config = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True).config
    small, large = (sigma_schedule(config, 4, tokens) for tokens in (256, 4096))
    # FLUX: mu is 0.5 at 256 tokens and 1.15 at 4096; sigma' = e^mu / (e^mu + 1/sigma - 1).
    for mu, sigmas in ((0.5, small), (1.15, large)):
        shift = torch.tensor(mu).exp()
        plain = torch.tensor([1, 0.75, 0.5, 0.25])
        assert torch.allclose(sigmas[:-1], shift / (shift + 1 / plain - 1), atol=1e-6)
        assert sigmas[-1] == 0
    assert (large[1:-1] > small[1:-1]).all()


def test_a_straight_path_is_followed_exactly_from_any_point() -> None:
    x0, noise = torch.randn(2, 1, 5, 8)
    velocity = noise - x0
    sigmas = torch.tensor([1.0, 0.7, 0.2, 0.0])
    assert torch.allclose(integrate(lambda x, sigma: velocity, noise, sigmas), x0, atol=1e-6)
    x_t = euler_step(noise, velocity, sigmas[0], sigmas[1])
    assert torch.allclose(x_t, 0.3 * x0 + 0.7 * noise, atol=1e-6)
    assert torch.allclose(predict_x0(x_t, velocity, sigmas[1]), x0, atol=1e-6)


@pytest.mark.parametrize("scale", [0.0, 1.0, 3.0])
def test_guidance_goes_from_unconditional_through_conditional(scale: float) -> None:
    unconditional, conditional = torch.zeros(3), torch.ones(3)
    assert torch.equal(guide(unconditional, conditional, scale), torch.full((3,), scale))

"""What the reward asks of every token alike is not learned."""

from __future__ import annotations

import pytest
import torch

from onefill.rl.centring import centred
from onefill.rl.loop import take_step

from .conftest import weights_of


@pytest.fixture
def conditions(open_run):
    run = open_run()
    batch = run.next_batch({"fill": 2})
    return run.policy.encode(batch.images, batch.masks, batch.prompts)


def test_the_gradient_adds_up_to_nothing_over_all_painted_tokens(conditions):
    painted = conditions.mask.amax(2) > 0
    assert painted.any(1).all() and not painted.all()
    latents = torch.randn(*painted.shape, 16, requires_grad=True)
    asked = torch.randn_like(latents)
    seen = centred(latents, conditions)
    assert torch.equal(seen, latents)
    (gradient,) = torch.autograd.grad((seen * asked).sum(), latents)
    wanted = asked[painted]
    assert torch.allclose(gradient[painted], wanted - wanted.mean(0), atol=1e-6)
    assert torch.equal(gradient[~painted], asked[~painted])


def test_a_pattern_wanted_of_every_token_pulls_at_nothing(conditions):
    latents = torch.zeros(*conditions.mask.shape[:2], 16, requires_grad=True)
    seen = centred(latents, conditions)
    painted = conditions.mask.amax(2, keepdim=True)
    (gradient,) = torch.autograd.grad((seen * painted * torch.arange(16.0)).sum(), latents)
    assert gradient.abs().max() < 1e-5


def test_what_else_is_done_with_the_latents_keeps_its_gradient(conditions):
    latents = torch.zeros(*conditions.mask.shape[:2], 16, requires_grad=True)
    centred(latents, conditions)
    (gradient,) = torch.autograd.grad(latents.sum(), latents)
    assert torch.equal(gradient, torch.ones_like(latents))


def test_a_run_is_centred_if_it_says_so(open_run):
    found = []
    for name, is_centred in (("centred", True), ("plain", False)):
        run = open_run(name=name, reward={"centred": is_centred})
        take_step(run)
        found.append(weights_of(run))
    assert any(not torch.equal(found[0][name], found[1][name]) for name in found[0])

"""Training sees a scene of any shape exactly as an edit will show it to the policy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from onefill.pocket import embedded
from onefill.pocket.material.pool import Pool
from onefill.pocket.material.scenes import OBLONG, SQUARE, Shape
from onefill.pocket.policy import latent_pool
from onefill.pocket.policy.flow import Course, FlowBatch, FlowModel, draw_flow_batch, flow_loss
from onefill.pocket.policy.latent_pool import LatentPools, drawn_by, join, smoothness_weights
from onefill.policy.flux_fill import FluxFillPolicy
from onefill.policy.loading import load_policy

PROMPTS = ["a cat", "", "two red apples", "OPEN"]
KINDS = ["fill", "removal", "fill", "text"]


def _pool(shape: Shape) -> Pool:
    rng = np.random.default_rng(shape)
    targets = rng.integers(0, 256, (len(PROMPTS), *shape, 3), np.uint8)
    targets[1] //= 16  # the smoother one
    masks = np.zeros((len(PROMPTS), *shape), bool)
    masks[:, 8:24, 16:32] = True
    return Pool(targets, masks, PROMPTS, KINDS, [""] * len(PROMPTS), KINDS)


@pytest.fixture(scope="module")
def policy() -> FluxFillPolicy:
    return load_policy(embedded.resolve("policies", "pocket"))


@pytest.fixture
def pools(policy: FluxFillPolicy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LatentPools:
    monkeypatch.setattr(
        latent_pool, "draw_pool", lambda split, count, seed, cache, kind, shape: _pool(shape)
    )
    pipeline = policy.pipeline
    return LatentPools(pipeline.vae, (pipeline.tokenizer, pipeline.tokenizer_2), tmp_path)


@pytest.mark.parametrize("shape", [SQUARE, *OBLONG])
def test_a_pool_trains_what_an_edit_of_that_shape_asks_for(
    policy: FluxFillPolicy, pools: LatentPools, shape: Shape
) -> None:
    drawn, scenes = pools.draw("train", len(PROMPTS), 0, shape=shape), _pool(shape)
    images = torch.from_numpy(scenes.targets).permute(0, 3, 1, 2) / 255
    conditions = policy.encode(images, torch.from_numpy(scenes.masks[:, None]).float(), PROMPTS)
    torch.testing.assert_close(drawn.masked.float(), conditions.masked_latents, atol=4e-3, rtol=0)
    assert torch.equal(drawn.masks.float(), conditions.mask)

    pipeline = policy.pipeline
    model = FlowModel(pipeline.transformer, pipeline.text_encoder, pipeline.text_encoder_2)
    noise = torch.randn(drawn.clean.shape, generator=torch.Generator().manual_seed(0))
    sigma = torch.tensor(0.6)
    with torch.no_grad():
        velocity = model(noise, sigma.expand(4), drawn, (drawn.t5_ids, drawn.clip_ids))
        clean = policy.one_step_x0(noise, sigma, conditions, guidance=1.0)
    torch.testing.assert_close(noise - sigma * velocity, clean, atol=2e-2, rtol=0)


def test_the_loss_counts_what_the_mask_does_not_touch_for_a_tenth(pools: LatentPools) -> None:
    scenes = pools.draw("train", 4, 0, shape=OBLONG[0])
    batch = FlowBatch(
        scenes=scenes,
        sigma=torch.full((4,), 0.5),
        noise=torch.zeros_like(scenes.clean, dtype=torch.float32),
        dropped=torch.zeros(4, dtype=torch.bool),
        weights=torch.ones(4),
    )

    def loss(wrong: torch.Tensor) -> torch.Tensor:
        def model(noisy, sigma, scenes, ids):  # right but for 1 in the tokens that are wrong
            return wrong[..., None] - scenes.clean.float()

        return flow_loss(model, batch, (scenes.t5_ids[:1], scenes.clip_ids[:1]))

    inside = scenes.masks.amax(2).float()
    count, outside = inside.sum(1), (1 - inside).sum(1)
    torch.testing.assert_close(loss(inside), count / (count + 0.1 * outside))
    torch.testing.assert_close(loss(1 - inside), 0.1 * outside / (count + 0.1 * outside))


def test_a_batch_is_of_one_shape_and_shapes_come_by_their_shares(pools: LatentPools) -> None:
    alike = torch.ones(4)
    courses = [
        Course(pools.draw("train", 4, 0, shape=shape), share, alike, alike)
        for shape, share in ((SQUARE, 0.7), (OBLONG[4], 0.2), (OBLONG[5], 0.1))
    ]
    batches = [draw_flow_batch(courses, 3, np.random.default_rng([0, n])) for n in range(300)]
    tall = torch.stack([batch.scenes.image_ids.amax(0) for batch in batches])
    assert (tall[:, 1] == 7).float().mean() == pytest.approx(0.7, abs=0.07)
    assert (tall[:, 1] == 4).float().mean() == pytest.approx(0.2, abs=0.06)
    for batch in batches:
        assert batch.noisy.shape == batch.scenes.clean.shape == batch.noise.shape
        assert len(batch.scenes.kinds) == 3
    dropped = torch.cat([batch.dropped for batch in batches]).float().mean()
    assert dropped == pytest.approx(0.1, abs=0.03)


def test_kinds_are_drawn_by_their_shares_however_many_scenes_they_have(pools: LatentPools) -> None:
    pool = join(pools.draw("train", 4, 0), pools.draw("train", 4, 1))
    drawn = drawn_by({"fill": 0.5, "removal": 0.3, "text": 0.2}, pool)
    totals = {
        kind: float(sum(p for p, k in zip(drawn, pool.kinds, strict=True) if k == kind))
        for kind in set(pool.kinds)
    }
    assert totals == pytest.approx({"fill": 0.5, "removal": 0.3, "text": 0.2})


def test_removals_from_smooth_backgrounds_weigh_more(pools: LatentPools) -> None:
    pool = pools.draw("train", 4, 0, shape=OBLONG[2])
    rough = pool.clean.clone()
    rough[1] *= 40
    both = join(pool, replace(pool, clean=rough))
    weights = smoothness_weights(both)
    assert weights[1] > 1 > weights[5]
    assert torch.equal(weights[[0, 2, 3]], torch.ones(3))


def test_latents_are_computed_once(
    policy: FluxFillPolicy, pools: LatentPools, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = pools.draw("train", 4, 0)
    monkeypatch.setattr(policy.pipeline.vae, "encode", None)  # would fail if it were asked
    assert torch.equal(pools.draw("train", 4, 0).clean, first.clean)

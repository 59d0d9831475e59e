from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, FluxFillPipeline, FluxTransformer2DModel
from torch import Tensor

from onefill.errors import BadInput
from onefill.pocket.policy.architecture import write_random_policy
from onefill.policy.conditions import Conditions
from onefill.policy.flux_fill import FluxFillPolicy
from onefill.policy.loading import load_policy
from onefill.policy.packing import pack_latents, pack_mask
from onefill.policy.settings import PolicySettings

from .conftest import HEIGHT, PROMPTS, WIDTH, disturb, generators

Paint = Callable[..., Tensor]


def _conditions(policy: FluxFillPolicy, images: Tensor, masks: Tensor) -> Conditions:
    return policy.encode(images, masks, PROMPTS, negative="tree")


def _new_policy(folder: Path, **parts: torch.nn.Module) -> FluxFillPolicy:
    """The folder's policy with some components replaced."""
    kept = load_policy(str(folder)).pipeline.components
    pipeline = FluxFillPipeline(**{**kept, **parts})
    settings = PolicySettings(max_sequence_length=8, multiple=2 * pipeline.vae_scale_factor)
    return FluxFillPolicy(pipeline, settings)


def test_the_stock_pipeline_loads_the_folder_and_paints_the_same(
    folder: Path, policy: FluxFillPolicy, paint: Paint, paint_stock: Paint
) -> None:
    stock = paint_stock(FluxFillPipeline.from_pretrained(folder))
    ours = paint(policy)
    assert ours.shape == (2, 3, HEIGHT, WIDTH)
    assert stock.std() > 0.05
    assert (stock - ours).abs().max() <= 1e-6


def test_a_shifted_schedule_is_followed_as_the_stock_pipeline_does(
    folder: Path, paint: Paint, paint_stock: Paint
) -> None:
    scheduler_class = type(load_policy(str(folder)).pipeline.scheduler)
    scheduler = scheduler_class(use_dynamic_shifting=True, base_image_seq_len=4)
    policy = _new_policy(folder, scheduler=scheduler)
    stock = paint_stock(policy.pipeline)
    assert (stock - paint(policy)).abs().max() <= 1e-6
    assert (stock - paint(load_policy(str(folder)))).abs().max() > 1e-3


def test_a_kl_autoencoder_paints_the_same_where_its_posterior_is_sharp(
    folder: Path, paint: Paint, paint_stock: Paint
) -> None:
    torch.manual_seed(0)
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        block_out_channels=(8, 8, 8),
        norm_num_groups=4,
        latent_channels=4,
        scaling_factor=0.3611,
        shift_factor=0.1159,
        use_quant_conv=False,
        use_post_quant_conv=False,
    ).eval()
    with torch.no_grad():  # the stock pipeline samples; with no variance it takes the mode
        vae.encoder.conv_out.weight[4:] = 0
        vae.encoder.conv_out.bias[4:] = -30
    policy = _new_policy(folder, vae=vae)
    # Three factor-2 blocks minus one make f 4. The stock pipeline's first VAE call consumes
    # random numbers, so it is handed the noise.
    ours = paint(policy)
    shape = (2, 4, HEIGHT // 4, WIDTH // 4)
    noise = torch.cat([torch.randn((1, *shape[1:]), generator=g) for g in generators()])
    stock = paint_stock(policy.pipeline, latents=pack_latents(noise))
    assert (stock - ours).abs().max() <= 1e-4


def test_a_guidance_distilled_transformer_is_told_its_scale(
    folder: Path, paint: Paint, paint_stock: Paint
) -> None:
    plain = load_policy(str(folder)).pipeline.transformer
    torch.manual_seed(0)
    transformer = FluxTransformer2DModel.from_config(plain.config, guidance_embeds=True).eval()
    transformer.load_state_dict(plain.state_dict(), strict=False)
    policy = _new_policy(folder, transformer=transformer)
    ours = paint(policy)
    assert (paint_stock(policy.pipeline, guidance_scale=1.0) - ours).abs().max() <= 1e-6
    assert (paint_stock(policy.pipeline, guidance_scale=30.0) - ours).abs().max() > 1e-5


def test_guidance_in_one_call_equals_two_separate_calls(
    policy: FluxFillPolicy, images: Tensor, masks: Tensor
) -> None:
    conditions = _conditions(policy, images, masks)
    negative = policy.encode(images, masks, ["tree", "tree"])
    x, sigma = policy.noise(conditions, generators()), torch.tensor(0.6)
    with torch.no_grad():
        guided = policy.one_step_x0(x, sigma, conditions, guidance=3.0)
        with_prompt = policy.one_step_x0(x, sigma, conditions, guidance=1.0)
        without = policy.one_step_x0(x, sigma, negative, guidance=1.0)
    assert (with_prompt - without).abs().max() > 1e-3
    assert torch.allclose(guided, without + 3 * (with_prompt - without), atol=1e-5)


def test_the_partial_rollout_is_the_beginning_of_the_full_one(
    policy: FluxFillPolicy, images: Tensor, masks: Tensor
) -> None:
    conditions = _conditions(policy, images, masks)
    noise = policy.noise(conditions, generators())
    start, sigma_start = policy.partial(conditions, noise, steps=3, guidance=2.0, until=0)
    assert torch.equal(start, noise)
    assert sigma_start == 1
    x_t, sigma_t = policy.partial(conditions, noise, steps=3, guidance=2.0, until=2)
    assert sigma_t == pytest.approx(1 / 3)
    # The last Euler step goes straight to sigma 0: it is the one-step prediction.
    last = policy.one_step_x0(x_t, sigma_t, conditions, guidance=2.0)
    full = policy.sample(conditions, noise, steps=3, guidance=2.0)
    assert torch.allclose(last, full, atol=1e-5)
    with pytest.raises(ValueError, match="until"):
        policy.partial(conditions, noise, steps=3, guidance=2.0, until=3)
    begun = {"steps": 3, "guidance": 2.0, "start": images, "strength": 0.8}
    x_t, sigma_t = policy.partial(conditions, noise, until=2, **begun)
    last = policy.one_step_x0(x_t, sigma_t, conditions, guidance=2.0)
    assert torch.allclose(last, policy.sample(conditions, noise, **begun), atol=1e-5)
    with pytest.raises(ValueError, match="until is 0; it must be from 1 to 2"):
        policy.partial(conditions, noise, until=0, **begun)


@pytest.mark.parametrize("kind", ["lora", "full"])
def test_gradient_reaches_every_trainable_weight_and_no_frozen_one(
    policy: FluxFillPolicy, images: Tensor, masks: Tensor, kind: str
) -> None:
    if kind == "lora":
        policy.add_lora(rank=2, alpha=4, seed=0)
        disturb(policy.trainable_parameters())
    else:
        policy.train_full()
    conditions = _conditions(policy, images, masks)
    noise = policy.noise(conditions, generators())
    x_t, sigma_t = policy.partial(conditions, noise, steps=3, guidance=2.0, until=1)
    x0 = policy.one_step_x0(x_t, sigma_t, conditions, guidance=2.0)
    policy.decode(x0, conditions).square().mean().backward()

    trainable = policy.trainable_parameters()
    assert len(trainable) > 30
    for name, parameter in trainable.items():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name
    ours = {id(parameter) for parameter in trainable.values()}
    for module in policy._modules().values():
        for name, parameter in module.named_parameters():
            if id(parameter) not in ours:
                assert parameter.grad is None, name
                assert not parameter.requires_grad, name


def test_nothing_is_trained_unless_asked(policy: FluxFillPolicy) -> None:
    assert policy.trainable_parameters() == {}


def test_size_and_shape_are_checked(policy: FluxFillPolicy, masks: Tensor) -> None:
    with pytest.raises(BadInput, match=r"36x24.*divide by 8"):
        policy.encode(torch.rand(1, 3, 24, 36), torch.ones(1, 1, 24, 36), ["cat"])
    with pytest.raises(ValueError, match="do not go with"):
        policy.encode(torch.rand(1, 3, HEIGHT, WIDTH), masks, ["cat"])


def test_a_grey_mask_counts_from_half_up(policy: FluxFillPolicy, images: Tensor) -> None:
    grey = torch.full((2, 1, HEIGHT, WIDTH), 0.49)
    assert policy.encode(images, grey, PROMPTS).mask.sum() == 0
    assert policy.encode(images, grey + 0.01, PROMPTS).mask.min() == 1


def test_the_masked_part_of_the_picture_is_unseen(
    policy: FluxFillPolicy, images: Tensor, masks: Tensor
) -> None:
    changed = torch.where(masks > 0, torch.rand_like(images), images)
    before, after = (policy.encode(x, masks, PROMPTS) for x in (images, changed))
    assert torch.equal(before.masked_latents, after.masked_latents)


def test_each_edit_is_independent_of_its_batch(
    policy: FluxFillPolicy, images: Tensor, masks: Tensor, paint: Paint
) -> None:
    together = paint(policy, guidance=3.0)
    conditions = policy.encode(images, masks, PROMPTS)
    second = conditions.select([1])
    assert len(second) == 1
    noise = policy.noise(second, generators()[1:])
    alone = policy.decode(policy.sample(second, noise, steps=3, guidance=3.0), second)
    assert torch.allclose(alone[0], together[1], atol=1e-5)
    twice = conditions.select(torch.tensor([1, 1, 0]))
    assert len(twice) == 3
    assert torch.equal(twice.prompt_embeds[0], twice.prompt_embeds[1])
    assert len(conditions.select(0)) == 1
    with pytest.raises(ValueError, match="2 generators for 1"):
        policy.noise(second, generators())


def test_a_saved_pipeline_is_the_same_model(
    policy: FluxFillPolicy, paint: Paint, tmp_path: Path
) -> None:
    policy.save_pipeline(tmp_path)
    again = load_policy(str(tmp_path))
    assert again.fingerprint() == policy.fingerprint()
    assert again.settings == policy.settings
    assert again.settings.model_extra == {"facts": {"weights": "random, seed 0"}, "sources": []}
    assert torch.equal(paint(again), paint(policy))


def test_fingerprints_tell_models_apart(policy: FluxFillPolicy, tmp_path: Path) -> None:
    same = load_policy(str(write_random_policy(tmp_path / "same", seed=0)))
    other = load_policy(str(write_random_policy(tmp_path / "other", seed=1)))
    assert same.fingerprint() == policy.fingerprint() != other.fingerprint()
    policy.train_full()
    disturb(dict([policy.trainable_parameters().popitem()]))
    assert policy.fingerprint() != same.fingerprint()


def test_the_real_flux_fill_dimensions_fit_the_packing() -> None:
    with torch.device("meta"):
        transformer = FluxTransformer2DModel(
            patch_size=1,
            in_channels=384,
            out_channels=64,
            num_layers=19,
            num_single_layers=38,
            attention_head_dim=128,
            num_attention_heads=24,
            joint_attention_dim=4096,
            pooled_projection_dim=768,
            guidance_embeds=True,
        )
        size, factor, channels, text = 64, 8, 16, 5
        latents = pack_latents(torch.zeros(1, channels, size // factor, size // factor))
        mask = pack_mask(torch.zeros(1, 1, size, size), factor)
        hidden = torch.cat((latents, latents, mask), dim=2)
        assert hidden.shape == (1, 16, 384)
        out = transformer(
            hidden_states=hidden,
            timestep=torch.ones(1),
            guidance=torch.ones(1),
            pooled_projections=torch.zeros(1, 768),
            encoder_hidden_states=torch.zeros(1, text, 4096),
            txt_ids=torch.zeros(text, 3),
            img_ids=torch.zeros(16, 3),
            return_dict=False,
        )[0]
    assert out.shape == latents.shape
    assert sum(p.numel() for p in transformer.parameters()) > 11.5e9


def test_a_weak_start_comes_through_and_full_strength_ignores_it(policy: FluxFillPolicy) -> None:
    images, masks = torch.rand(1, 3, 32, 32), torch.ones(1, 1, 32, 32)
    conditions = policy.encode(images, masks, ["hat"])
    noise = policy.noise(conditions, torch.Generator().manual_seed(0))
    plain = policy.sample(conditions, noise, steps=8, guidance=1.0)
    given = [
        policy.sample(conditions, noise, steps=8, guidance=1.0, start=images, strength=strength)
        for strength in (1.0, 0.125)
    ]
    assert torch.equal(given[0], plain)
    clean = policy.encode(images, torch.zeros_like(masks), ["hat"]).masked_latents
    # One step of eight is left: the start is seven eighths of what comes out.
    assert (given[1] - clean).abs().mean() < 0.4 * (plain - clean).abs().mean()

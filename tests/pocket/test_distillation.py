"""The distilled adapter paints in one pass what guidance paints in two, in stock diffusers too."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import FluxFillPipeline

from onefill.cli.adapters import adapter_folder
from onefill.errors import BadInput
from onefill.pocket import embedded
from onefill.pocket.material.pool import Pool
from onefill.pocket.material.scenes import SQUARE, Shape
from onefill.pocket.policy import distillation, latent_pool
from onefill.pocket.training_plan import Length, Plan
from onefill.policy.choice import ModelChoice
from onefill.policy.loading import load_chosen, load_policy

WORDS = ["a cat", "two red apples", "OPEN", "remove", "a kimono", "lantern"]
KINDS = ["fill", "coloured", "text", "removal", "coloured", "fill"]


def _pool(
    split: str, count: int, seed: int, cache: Path, kind: str | None = None, shape: Shape = SQUARE
) -> Pool:
    rng, times = np.random.default_rng(seed), 4
    # Smooth, as a photograph is and noise is not.
    rough = rng.integers(0, 256, (len(WORDS) * times, 2, 2, 3), np.uint8)
    targets = rough.repeat(shape[0] // 2, 1).repeat(shape[1] // 2, 2)
    masks = np.zeros((len(targets), *shape), bool)
    masks[:, 8:40, 8:40] = True
    kinds = KINDS * times
    return Pool(targets, masks, WORDS * times, kinds, WORDS * times, kinds)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A folder with what a few steps have taught, and what was said meanwhile."""
    out, lines = tmp_path_factory.mktemp("distilled"), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(latent_pool, "draw_pool", _pool)
        patch.setattr(distillation, "BATCH", 6)
        patch.setattr(distillation, "HELD_OUT_SIZE", len(WORDS) * 4)
        plan = Plan(out / "cache", Length(steps=12), 0, lines.append)
        plan.cache.mkdir()
        policy = Path(embedded.resolve("policies", "pocket"))
        distillation.train_distilled(out / "adapter", policy, plan)
    return out / "adapter", lines


def test_a_few_steps_close_a_part_of_the_gap_to_guidance(trained: tuple[Path, list[str]]) -> None:
    left = float(trained[1][-1].split("held-out ")[1])
    assert 0.1 < left < 0.9


def test_an_edit_with_the_adapter_has_guidance_off_and_all_else_as_before(
    trained: tuple[Path, list[str]],
) -> None:
    model = embedded.resolve("policies", "pocket")
    plain = load_policy(model).settings
    settings = load_chosen(ModelChoice(model=model, adapter=trained[0])).settings
    assert plain.guidance_for("fill") > 1 < plain.guidance_for("text")
    assert settings.guidance_for("fill") == settings.guidance_for("text") == 1
    assert settings.steps == plain.steps
    assert settings.vocabulary == plain.vocabulary
    assert settings.size == plain.size
    facts = json.loads((trained[0] / "onefill.json").read_text())["facts"]
    assert facts["recipe"] == "onefill pocket build --stage distilled --steps 12 --seed 0"


def test_the_stock_pipeline_loads_the_adapter_and_paints_the_same(
    trained: tuple[Path, list[str]],
) -> None:
    model = embedded.resolve("policies", "pocket")
    policy = load_chosen(ModelChoice(model=model, adapter=trained[0]))
    images = torch.from_numpy(_pool("", 1, 3, Path()).targets[:1]).permute(0, 3, 1, 2) / 255
    masks = torch.zeros(1, 1, 64, 64)
    masks[..., 10:50, 10:50] = 1
    conditions = policy.encode(images, masks, ["a cat"])
    noise = policy.noise(conditions, torch.Generator().manual_seed(0))
    ours = policy.decode(policy.sample(conditions, noise, steps=4, guidance=1.0), conditions)

    stock = FluxFillPipeline.from_pretrained(model, torch_dtype=torch.float32)
    stock.set_progress_bar_config(disable=True)

    def paint() -> torch.Tensor:
        return stock(
            "a cat", image=images, mask_image=masks, height=64, width=64, num_inference_steps=4,
            max_sequence_length=12, generator=torch.Generator().manual_seed(0), output_type="pt",
        ).images  # fmt: skip

    plain = paint()
    stock.load_lora_weights(trained[0])
    assert (paint() - ours).abs().max() < 2e-3
    assert (paint() - plain).abs().max() > 1e-2


def test_the_policy_itself_stays_as_it_was(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(latent_pool, "draw_pool", _pool)
    monkeypatch.setattr(distillation, "BATCH", 4)
    policy = load_policy(embedded.resolve("policies", "pocket"))
    pipeline, before = policy.pipeline, policy.pipeline.transformer.state_dict()
    before = {name: value.clone() for name, value in before.items()}
    pools = latent_pool.LatentPools(
        pipeline.vae, (pipeline.tokenizer, pipeline.tokenizer_2), tmp_path
    )
    pool = pools.draw("train", 24, 0)
    course = [distillation.Course(pool, 1.0, torch.ones(24), torch.ones(24))]
    distillation.distil(policy, course, course, Plan(tmp_path, Length(steps=2), 0, print))
    after = pipeline.transformer.state_dict()
    for name, value in before.items():
        assert torch.equal(value, after[name if name in after else _based(name)])


def _based(name: str) -> str:
    """What peft calls a layer's own weight when an adapter is put on the layer."""
    stem, _, kind = name.rpartition(".")
    return f"{stem}.base_layer.{kind}"


def test_the_embedded_adapter_goes_by_its_name_and_needs_no_guidance() -> None:
    folder = adapter_folder(Path("pocket-distilled"))
    model = embedded.resolve("policies", "pocket")
    settings = load_chosen(ModelChoice(model=model, adapter=folder)).settings
    assert [settings.guidance_for(task) for task in ("fill", "text")] == [1, 1]


def test_a_mistyped_adapter_names_the_embedded_one() -> None:
    with pytest.raises(BadInput, match=r"--adapter pocket-distiled: .*pocket-distilled"):
        adapter_folder(Path("pocket-distiled"))

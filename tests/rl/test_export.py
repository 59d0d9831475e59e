"""What a run exports is read by the stock loaders, and paints what the run's own policy paints."""

from __future__ import annotations

import json

import pytest
import torch
from diffusers import FluxFillPipeline, FluxTransformer2DModel
from peft import PeftModel
from PIL import Image
from safetensors.torch import load_file

from onefill.policy.adapter import merged
from onefill.rl.lora_layouts import comfy_layout

from .conftest import shake, weights_of, written_weights


@pytest.fixture
def trained(open_run, random_policy, request):
    """A run with a checkpoint at step 3, and the state of the transformer that it hands out."""
    run = open_run(name="hats", model=str(random_policy), **getattr(request, "param", {}))
    shake(run)
    if run.average is not None:
        run.average.update()
    run.step = 3
    run.save()
    transformer = run.policy.pipeline.transformer
    is_lora = run.config.train == "lora"
    with run.settled():
        state = (merged(transformer) if is_lora else transformer).state_dict()
        return run, {name: tensor.clone() for name, tensor in state.items()}


def same(expected, found, tolerance=1e-6):
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, atol=tolerance, rtol=tolerance)


def fused(pipeline):
    pipeline.fuse_lora()
    pipeline.unload_lora_weights()
    return pipeline.transformer.state_dict()


def test_stock_diffusers_reads_the_adapter(trained, random_policy, cli, tmp_path):
    run, expected = trained
    result = cli("export", run.folder.path, "-o", tmp_path / "out")
    assert result.code == 0, result.stderr
    assert result.stdout.strip() == str(tmp_path / "out")
    pipeline = FluxFillPipeline.from_pretrained(random_policy)
    pipeline.load_lora_weights(tmp_path / "out")
    same(expected, fused(pipeline))
    run.write_results()
    ours = load_file(run.folder.path / "adapter" / "pytorch_lora_weights.safetensors")
    written = load_file(tmp_path / "out" / "pytorch_lora_weights.safetensors")
    assert ours.keys() == written.keys()
    assert all(torch.equal(ours[name], written[name]) for name in ours)


def test_stock_peft_reads_the_adapter(trained, random_policy, cli, tmp_path):
    run, expected = trained
    result = cli("export", run.folder.path, "--format", "peft", "-o", tmp_path / "out")
    assert result.code == 0, result.stderr
    transformer = FluxTransformer2DModel.from_pretrained(random_policy, subfolder="transformer")
    model = PeftModel.from_pretrained(transformer, tmp_path / "out")
    same(expected, model.merge_and_unload().state_dict())


@pytest.mark.parametrize("trained", [{}, {"train": "full"}], indirect=True)
@pytest.mark.parametrize("form", ["transformer", "pipeline"])
def test_stock_diffusers_reads_the_model(trained, form, cli, tmp_path):
    run, expected = trained
    result = cli("export", run.folder.path, "--to", form, "-o", tmp_path / "out")
    assert result.code == 0, result.stderr
    if form == "pipeline":
        found = FluxFillPipeline.from_pretrained(tmp_path / "out").transformer
    else:
        found = FluxTransformer2DModel.from_pretrained(tmp_path / "out")
    same(expected, found.state_dict())
    assert [path.name for path in tmp_path.glob(".*")] == []


# Without the fused layer of single blocks, which stock diffusers reads at FLUX's own width alone.
TARGETS = ["to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "ff.net.2", "blocks.0.proj_out"]


@pytest.mark.parametrize(
    "trained", [{"lora": {"rank": 2, "alpha": 3.0, "targets": TARGETS}}], indirect=True
)
def test_the_comfy_layout_is_read_by_stock_diffusers(trained, random_policy, cli, tmp_path):
    run, expected = trained
    file = tmp_path / "hats.safetensors"
    result = cli("export", run.folder.path, "--format", "comfy", "-o", file)
    assert result.code == 0, result.stderr
    pipeline = FluxFillPipeline.from_pretrained(random_policy)
    pipeline.load_lora_weights(tmp_path, weight_name=file.name)
    same(expected, fused(pipeline), tolerance=1e-5)


def draw(shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def test_fused_layers_change_what_the_parts_change():
    width, rank, alpha = 6, 2, 3.0
    parts = ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp")
    for missing in (None, "attn.to_k", "proj_mlp"):
        pairs, change = {}, []
        for part in parts:
            height = 4 * width if part == "proj_mlp" else width
            a, b = draw((rank, width)) + len(part), draw((height, rank))
            if part == missing:
                b = torch.zeros_like(b)
            else:
                pairs[f"single_transformer_blocks.7.{part}"] = (a, b)
            change.append(alpha / rank * b @ a)
        layout = comfy_layout(pairs, alpha)
        name = "lora_unet_single_blocks_7_linear1"
        assert layout.keys() == {
            f"{name}.{e}" for e in ("lora_down.weight", "lora_up.weight", "alpha")
        }
        down, up = layout[f"{name}.lora_down.weight"], layout[f"{name}.lora_up.weight"]
        found = layout[f"{name}.alpha"] / len(down) * up @ down
        torch.testing.assert_close(found, torch.cat(change))


def test_single_blocks_of_full_width_are_read_by_stock_diffusers():
    width, rank = 3072, 1
    pairs = {
        f"single_transformer_blocks.0.{part}": (draw((rank, width)), draw((height, rank)))
        for part, height in (
            *(("attn.to_q", width), ("attn.to_k", width), ("attn.to_v", width)),
            *(("proj_mlp", 4 * width), ("proj_out", width)),
        )
    }
    found = FluxFillPipeline.lora_state_dict(comfy_layout(pairs, 1.0))
    for layer, (a, b) in pairs.items():
        assert torch.equal(found[f"transformer.{layer}.lora_A.weight"], a)
        assert torch.equal(found[f"transformer.{layer}.lora_B.weight"], b)


def test_another_checkpoint_or_its_last_update(open_run, cli, tmp_path):
    run = open_run(name="hats")
    kept, means = {}, {}
    for step in (1, 2):
        shake(run)
        run.average.update()
        run.step = step
        run.save()
        kept[step] = weights_of(run)
        means[step] = {name: tensor.clone() for name, tensor in run.average.tensors().items()}
        run.metrics.append("win rate", step, {"win_rate": {"fill": {"a": 1 / step}}})
    for number, (flags, expected) in enumerate(
        (
            (["--checkpoint", "1"], means[1]),
            (["--checkpoint", "best"], means[1]),
            ([], means[2]),
            (["--last-update"], kept[2]),
            (["--last-update", "--checkpoint", "1"], kept[1]),
        )
    ):
        target = tmp_path / str(number)
        assert cli("export", run.folder.path, "-o", target, *flags).code == 0
        found = written_weights(target, expected)
        assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_bad_input_is_one_line_and_leaves_nothing(trained, cli, tmp_path, monkeypatch):
    run, _ = trained
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    path = run.folder.path
    for arguments, told in (
        (["gone"], "gone: no such run"),
        ([path, "-o", "there"], "is there already"),
        ([path, "--to", "pipeline", "--format", "comfy"], "goes with --to adapter"),
        ([path, "--checkpoint", "9"], "--checkpoint 9: there is none in"),
        ([path, "--checkpoint", "best"], "measured no win rate"),
        ([path, "--checkpoint", "soon"], "it has 3"),
    ):
        before = sorted(tmp_path.rglob("*"))
        result = cli("export", *arguments)
        assert result.code == 2
        assert told in result.stderr
        assert len(result.stderr.splitlines()) == 1
        assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("trained", [{"train": "full", "ema": False}], indirect=True)
def test_a_full_run_has_no_adapter(trained, cli, tmp_path):
    run, _ = trained
    assert "use --to transformer" in cli("export", run.folder.path).stderr
    state = run.folder.checkpoints / "step-000003" / "state.json"
    state.write_text(json.dumps({}))
    result = cli("export", run.folder.path, "--to", "transformer", "--checkpoint", "3")
    assert result.code == 2
    assert "state.json is damaged" in result.stderr


@pytest.fixture
def edit_with(cli, random_policy, pictures, tmp_path):
    """Edit with an adapter, or with another model; nothing that is refused may be written."""
    mask = tmp_path / "mask.png"
    Image.new("L", (48, 40)).save(mask)
    with Image.open(mask) as picture:
        picture.paste(255, (10, 10, 30, 30))
        picture.save(mask)

    def call(*given):
        out = tmp_path / "edited.png"
        model = () if "--model" in given else ("--model", random_policy)
        result = cli(
            *("edit", pictures / "0.png", "--mask", mask, "--prompt", "hat", "-o", out),
            *(*model, *given),
        )
        assert out.exists() == (result.code == 0)
        return result

    return call


@pytest.mark.parametrize("trained", [{}, {"train": "full"}], indirect=True)
def test_an_edit_with_an_unfinished_run_is_told_the_line_that_makes_it_usable(
    trained, cli, edit_with, tmp_path, monkeypatch
):
    run, _ = trained
    monkeypatch.chdir(tmp_path)
    refused = edit_with("--adapter", run.folder.path)
    assert refused.code == 2
    assert len(refused.stderr.splitlines()) == 1
    assert "this run has not finished" in refused.stderr
    _, command, rest = refused.stderr.split("`")
    assert cli(*command.split()[1:]).code == 0
    made = edit_with(*rest.strip().rpartition("for ")[2].split())
    assert made.code == 0, made.stderr


def test_an_edit_with_a_run_that_leaves_no_adapter_is_told_what_to_give(open_run, edit_with):
    new = open_run(name="new")
    refused = edit_with("--adapter", new.folder.path)
    assert refused.code == 2
    assert f"onefill train --resume {new.folder.path}" in refused.stderr

    whole = open_run(name="whole", train="full")
    whole.write_results()
    refused = edit_with("--adapter", whole.folder.path)
    assert refused.code == 2
    assert f"it is a model: --model {whole.folder.path / 'pipeline'}" in refused.stderr

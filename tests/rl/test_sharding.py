"""Weights that are cut among processes: no less exact, and what cannot be is refused."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from types import SimpleNamespace

import pytest
import torch
from diffusers import FluxTransformer2DModel
from safetensors.torch import load_file
from transformers import T5Config, T5EncoderModel

from onefill.errors import BadInput
from onefill.judge.sizes import build_on_meta, published_config
from onefill.rl.config_file import build_config
from onefill.rl.processes import Processes, Sharding, join_processes
from onefill.rl.sharding import check_sharding, judge_blocks, policy_blocks

from .test_processes import ENVIRONMENT, start_two

CUT = {"ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}


def test_a_cut_run_learns_what_a_whole_one_does_and_goes_on_whole(
    random_policy, random_judge, pictures, tmp_path, cli
):
    torch.set_num_threads(1)
    ask = [
        *("--model", random_policy, "--judge", random_judge, "--data", pictures),
        *("--tasks", "fill,removal", "--batch-size", "4", "--eval-scenes", "2"),
        *("--lora-rank", "2", "--device", "cpu"),
    ]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert cli("train", *ask, "--steps", 3, "--out", whole).code == 0
    begun = subprocess.run(
        [
            *(sys.executable, "-m", "onefill", "train", *map(str, ask)),
            *("--steps", "2", "--out", str(cut), "--processes", "2"),
        ],
        env={**ENVIRONMENT, **CUT},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert begun.returncode == 0, begun.stderr
    assert "Warning" not in begun.stderr
    assert cli("train", "--resume", cut, "--steps", 3).code == 0

    for kind in ("adapter", "adapter-last"):
        one, two = (
            load_file(folder / kind / "pytorch_lora_weights.safetensors") for folder in (whole, cut)
        )
        assert one.keys() == two.keys()
        for name, weight in one.items():
            torch.testing.assert_close(two[name], weight, atol=1e-5, rtol=1e-4)


HOLD = textwrap.dedent(
    """
    import sys, torch
    from onefill.judge.loading import load_judge
    from onefill.policy.loading import load_policy
    from onefill.rl.processes import join_processes
    from onefill.rl.sharding import judge_blocks, policy_blocks, shard

    def held(blocks):
        weights = [w for block in blocks for w in block.parameters()]
        whole = sum(w.numel() for w in weights if not w.requires_grad)
        here = sum(w.to_local().numel() for w in weights if not w.requires_grad)
        return here / whole

    with join_processes() as processes:
        policy, judge = load_policy(sys.argv[1]), load_judge(sys.argv[2])
        policy.add_lora(2, 2.0, seed=0)
        trained = {name: w.shape for name, w in policy.trainable_parameters().items()}
        shard(policy, [judge], processes, torch.device("cpu"))
        for blocks in (policy_blocks(policy.pipeline), judge_blocks(judge.model)):
            assert 0.45 < held(blocks) < 0.55
        assert {n: w.shape for n, w in policy.trainable_parameters().items()} == trained
        assert not any(hasattr(w, "to_local") for w in policy.trainable_parameters().values())
        if processes.is_first:
            raise RuntimeError("the first fails while the other computes")
        with processes.meeting():
            judge.logits(*torch.rand(2, 1, 3, 64, 64), ["Better?"])
    """
)


def test_each_process_holds_its_share_and_is_not_left_waiting(random_policy, random_judge):
    first, second = start_two(HOLD, str(random_policy), str(random_judge), env=CUT)
    assert first[1].splitlines()[-1].endswith("the first fails while the other computes")
    assert "another process of this run is gone" in second[1].splitlines()[-1]


@pytest.mark.parametrize(("published", "share"), [("Qwen2.5-VL-3B", 0.9), ("Qwen2.5-VL-7B", 0.86)])
def test_nearly_all_of_the_real_models_is_cut(published, share):
    t5_xxl = {"d_model": 4096, "d_ff": 10240, "d_kv": 64, "num_heads": 64, "num_layers": 24}
    with torch.device("meta"):
        flux = FluxTransformer2DModel(in_channels=384, out_channels=64, guidance_embeds=True)
        t5 = T5EncoderModel(T5Config(vocab_size=32128, feed_forward_proj="gated-gelu", **t5_xxl))
    judge = build_on_meta(published_config(published))
    pipeline = SimpleNamespace(transformer=flux, text_encoder_2=t5)
    assert _count(policy_blocks(pipeline)) > 0.98 * _count([flux, t5])
    assert _count(judge_blocks(judge)) > share * _count([judge])


def _count(modules):
    return sum(weight.numel() for module in modules for weight in module.parameters())


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"ACCELERATE_USE_DEEPSPEED": "true"}, "accelerate is set to DeepSpeed"),
        ({**CUT, "FSDP_VERSION": "1"}, "set fsdp_version: 2"),
        ({**CUT, "FSDP_OFFLOAD_PARAMS": "true"}, "set fsdp_offload_params: false"),
    ],
)
def test_what_accelerate_asks_for_in_vain_is_refused_in_one_line(cli, monkeypatch, told, said):
    for name, value in {"WORLD_SIZE": "2", **told}.items():
        monkeypatch.setenv(name, value)
    result = cli("train")
    assert result.code == 2 and said in result.stderr and len(result.stderr.splitlines()) == 1
    monkeypatch.setenv("RANK", "1")
    silent = cli("train")
    assert silent.code == 2 and silent.stderr == ""
    with pytest.raises(BadInput, match=said), join_processes():
        pass


@pytest.mark.parametrize(
    "flags", [{"train": "full"}, {"cache": {"folder": "kept"}}, {"tasks_per_step": 2}]
)
def test_what_some_processes_alone_might_do_is_refused(flags):
    config = build_config(None, flags)
    check_sharding(config, Processes(0, 2))
    with pytest.raises(BadInput, match="accelerate is set to FSDP"):
        check_sharding(config, Processes(0, 2, Sharding()))

"""Frozen weights cut into a share for each process (FSDP2), so that a model need not fit on a GPU.

Cut are the blocks of the policy's transformer, of its T5 and of the judges, none of which ever
changes. A block is put together from all processes while it computes, and let go again. What is
trained, an adapter, stays whole in every process: gradients, optimizer, moving averages and
checkpoints are those of any run, and a run may go on with its weights cut or whole.

A block computes in all processes or in none, so all of them must call it equally often, whatever
samples they have: prompts are read anew, judges read every question from its beginning, all
processes measure all held-out samples, and what some alone might do is refused.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING

import torch
from torch import nn

from onefill.errors import BadInput
from onefill.judge.model import Judge
from onefill.policy.flux_fill import FluxFillPolicy
from onefill.rl.config import RunConfig
from onefill.rl.processes import Processes

if TYPE_CHECKING:
    from diffusers import FluxFillPipeline
    from transformers import PreTrainedModel

_CUT = "and accelerate is set to FSDP, which cuts the weights"


def check_sharding(config: RunConfig, processes: Processes) -> None:
    """Refuse what cannot be done with weights that are cut.

    Raises:
        BadInput: the configuration asks for it.
    """
    if processes.sharding is None:
        return
    if config.train == "full":
        raise BadInput(f"train: full changes every weight, {_CUT}; leave --full out")
    if config.cache.folder is not None:
        raise BadInput(f"cache.folder: spares some processes work, {_CUT}; leave it out")
    if config.tasks_per_step > 1:
        raise BadInput(f"tasks_per_step: gives processes unlike work, {_CUT}; leave it out")


def shard(
    policy: FluxFillPolicy, judges: Sequence[Judge], processes: Processes, device: torch.device
) -> None:
    """Leave each process its share of the frozen weights, on the device.

    Args:
        policy: with its adapter; its weights may still be in main memory.
        judges: likewise.
        processes: who shares them; nothing is done where they were not told to.
        device: where this process computes.

    Raises:
        OnefillError: another process is gone.
    """
    sharding = processes.sharding
    if sharding is None:
        return
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device.type, (processes.count,))
    sharding.begun = True
    # Nothing here changes a block's output in place, which is what the warning is about.
    warnings.filterwarnings("ignore", message="FSDP2-wrapped module .* returned a view tensor")
    of_judges = (judge_blocks(judge.model) for judge in judges)
    for block in chain(policy_blocks(policy.pipeline), *of_judges):
        trained = {weight for weight in block.parameters() if weight.requires_grad}
        fully_shard(
            block,
            mesh=mesh,
            reshard_after_forward=sharding.reshard,
            ignored_params=trained,
        )
    policy.place(device)
    policy.prompts.reads_anew = True
    for judge in judges:
        judge.model.to(device)
        judge.reads_whole = True


def policy_blocks(pipeline: FluxFillPipeline) -> Iterator[nn.Module]:
    """What of a policy is cut: the blocks of both kinds, and those of T5."""
    yield from pipeline.transformer.transformer_blocks
    yield from pipeline.transformer.single_transformer_blocks
    yield from pipeline.text_encoder_2.encoder.block


def judge_blocks(judge: PreTrainedModel) -> Iterator[nn.Module]:
    """What of a judge's model is cut: the blocks of its vision tower and its language layers."""
    yield from judge.model.visual.blocks
    yield from judge.model.language_model.layers

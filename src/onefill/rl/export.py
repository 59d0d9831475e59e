"""What a run has trained, in the forms that others read: an adapter, a transformer, a pipeline."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from onefill.checkpoint import (
    Checkpoint,
    find_damage,
    list_checkpoints,
    read_checkpoint,
    read_last_checkpoint,
    step_of,
)
from onefill.errors import BadInput, OnefillError
from onefill.policy.adapter import lora_config
from onefill.policy.choice import ADAPTER_FILE
from onefill.policy.flux_fill import FluxFillPolicy
from onefill.policy.loading import load_policy
from onefill.rl.config import RunConfig
from onefill.rl.lora_layouts import comfy_layout, pairs_of, plain_layout
from onefill.rl.metrics import MetricsLog, best_step
from onefill.rl.optimizer_kinds import schedule_free_average
from onefill.rl.run_folder import RunFolder

_PEFT_FILE = "adapter_model.safetensors"


def trained_weights(
    folder: RunFolder, config: RunConfig, which: str, *, last_update: bool
) -> dict[str, Tensor]:
    """The weights of a checkpoint, by the policy's names.

    Args:
        folder: of the run.
        config: of the run.
        which: ``last``, ``best`` (win rate while it trained), or a step.
        last_update: those of the last update, where the run hands out their moving average.

    Raises:
        BadInput: there is no such checkpoint, or it is damaged.
    """
    checkpoint = _read(folder, which)
    if config.hands_out_average and not last_update:
        return dict(checkpoint.tensors["average"])
    weights = dict(checkpoint.tensors["weights"])
    if config.optimizer.kind == "schedule-free":
        moved = checkpoint.tensors["optimizer"]
        for name, weight in weights.items():
            if (z := moved.get(f"{name}/z")) is not None:
                weights[name] = schedule_free_average(weight, z, config.optimizer)
    return weights


def write_adapter(weights: dict[str, Tensor], config: RunConfig, layout: str, target: Path) -> None:
    """Write the adapter of a run.

    Args:
        weights: of ``trained_weights``.
        config: of the run.
        layout: ``diffusers`` or ``peft``, which are folders, or ``comfy``, which is a file.
        target: does not exist yet.

    Raises:
        BadInput: the run trained all weights, or the layout cannot hold what it adapts.
    """
    if config.train != "lora":
        raise BadInput("--to adapter: this run trained every weight; use --to transformer")
    pairs = pairs_of(weights)
    settings = lora_config(config.lora.rank, config.lora.alpha, config.lora.targets)
    if layout == "comfy":
        tensors = comfy_layout(pairs, config.lora.alpha)
        with _whole(target) as aside:
            save_file(tensors, aside, metadata={"format": "pt"})
        return
    with _whole(target) as aside:
        aside.mkdir()
        if layout == "peft":
            settings.save_pretrained(str(aside))
            tensors = plain_layout(pairs, "base_model.model.")
            save_file(tensors, aside / _PEFT_FILE, metadata={"format": "pt"})
        else:
            from diffusers import FluxFillPipeline

            FluxFillPipeline.save_lora_weights(
                aside,
                transformer_lora_layers=plain_layout(pairs),
                weight_name=ADAPTER_FILE,
                transformer_lora_adapter_metadata=settings.to_dict(),
            )


def write_model(
    weights: dict[str, Tensor],
    config: RunConfig,
    model: str,
    target: Path,
    *,
    whole: bool,
    offline: bool,
) -> None:
    """Write the trained model, an adapter worked into its weights.

    Args:
        weights: of ``trained_weights``.
        config: of the run.
        model: folder or hub id of the policy that the run began with.
        target: a folder that does not exist yet.
        whole: the whole pipeline, or its transformer alone.
        offline: never ask a model hub.

    Raises:
        BadInput: the model cannot be loaded, or the weights do not fit it.
    """
    policy = load_policy(model, dtype=config.dtype, offline=offline)
    _put_weights(policy, weights, config)
    with _whole(target) as aside:
        if whole:
            policy.save_pipeline(aside)
        else:
            policy.save_transformer(aside)


@torch.no_grad()
def _put_weights(policy: FluxFillPolicy, weights: dict[str, Tensor], config: RunConfig) -> None:
    if config.train == "lora":
        lora = config.lora
        policy.add_lora(lora.rank, lora.alpha, 0, lora.targets)
    else:
        policy.train_full()
    trained = policy.trainable_parameters()
    if {n: w.shape for n, w in weights.items()} != {n: w.shape for n, w in trained.items()}:
        raise BadInput("--model: the run's weights do not fit it; give the one the run began with")
    for name, parameter in trained.items():
        parameter.copy_(weights[name])


def _read(folder: RunFolder, which: str) -> Checkpoint:
    if which == "last":
        return read_last_checkpoint(folder.checkpoints)
    found = {step_of(path): path for path in list_checkpoints(folder.checkpoints)}
    if which == "best":
        step = best_step(MetricsLog(folder.metrics))
        if step is None:
            raise BadInput(
                "--checkpoint best: this run measured no win rate on its way (evaluation.every); "
                "use last"
            )
    else:
        step = int(which) if which.isdecimal() else -1
    if step not in found:
        there = ", ".join(map(str, found)) or "none"
        raise BadInput(f"--checkpoint {which}: there is none in {folder.path}; it has {there}")
    damage = find_damage(found[step])
    if damage is not None:
        raise BadInput(f"{found[step]}: {damage}; choose another --checkpoint")
    return read_checkpoint(found[step])


@contextmanager
def _whole(target: Path) -> Iterator[Path]:
    """A place to write to; what is written there becomes ``target``, whole or not at all."""
    aside = target.with_name(f".{target.name}.partial")
    _remove(aside)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield aside
        aside.rename(target)
    except OSError as error:
        raise OnefillError(f"{target}: cannot be written ({error}); choose another -o") from error
    finally:
        _remove(aside)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)

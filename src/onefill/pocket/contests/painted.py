"""Contests between what the policy itself paints and the truth.

Damage that was thought up stands in for a policy's faults, and is not what a policy does: asked
about the start model's pictures beside the true ones, a judge that knows damage alone tosses a
coin. So scenes are also painted by the policy, wholly from noise, and in part from the true
picture noised (Meng et al. 2022, SDEdit): the less of it is painted, the better. The judge and the
second judge learn from these, each from scenes of its own. Policies that came out of
``onefill train`` paint too where some are given, so that what they have learned in
order to please an earlier judge loses like everything else that is painted.

All pictures of a contest have passed through the VAE, the true one as well. Its softness is not
the policy's fault, and would give away at once which picture is true.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from onefill.data.sample import make_sample
from onefill.pocket import embedded
from onefill.pocket.contests.cache import RENDERINGS, TASKS, Contests, join, load_chunks
from onefill.pocket.contests.damage_canvas import Canvas
from onefill.pocket.contests.pairs import (
    ALIGNMENT,
    COVERED,
    DIMENSIONS,
    GRID,
    LABELS,
    NOTHING,
    TOUCHED,
    UNCLEAR,
    WEAK_PAINTING,
    cell_means,
    spoilt_cells,
)
from onefill.pocket.material.pictures import load_pictures
from onefill.pocket.material.scenes import Scene, draw_scene
from onefill.pocket.material.sources import Split
from onefill.pocket.material.vocabulary import EXTEND_PROMPT
from onefill.pocket.scoring.held_out import as_tensor
from onefill.pocket.scoring.perceptual import Perceptual, decibels_apart, load_perceptual
from onefill.pocket.training_plan import CPU
from onefill.policy.conditions import Conditions
from onefill.policy.flux_fill import FluxFillPolicy
from onefill.policy.loading import load_policy
from onefill.policy.sampler import Sampling
from onefill.rl.batch import Batch, make_batch
from onefill.tasks.registry import load_tasks

_CHUNK, _TOGETHER = 240, 24
_TASK_SHARES = {"fill": 0.3, "extend": 0.4, "removal": 0.3}
"""No text: words that the policy writes can often be read better than those of the true picture."""

_PER_DECIBEL, _MOST_NEARER = 0.15, 0.45
"""How much less a painting is damaged than one that is further from the truth, and at most."""

_PARTLY = (0.35, 0.6)
"""Noise levels that the true picture is painted over from."""

_FEWEST, _MOST_STEPS = 6, 12
_GUIDANCE = (0.7, 1.3)
"""Times the policy's own. As in the paper (section 3.1), candidates differ in both."""


def load_painted(
    split: Split,
    count: int,
    seed: int,
    cache: Path,
    log: Callable[[str], None],
    adapters: Sequence[Path] = (),
    device: torch.device = CPU,
) -> Contests:
    """``count`` contests, painted where they are not yet in the cache.

    Args:
        split: of the scenes' sources.
        count: how many.
        seed: of scenes, noise and samplers.
        cache: fetched pictures and painted contests.
        log: told one line a chunk.
        adapters: folders of adapters of the embedded policy that paint beside it.
        device: where they compute.

    Raises:
        BadInput: the package that LPIPS comes with is not installed.
        OnefillError: pictures could not be fetched, or an adapter does not fit.
    """
    policy = load_policy(embedded.resolve("policies", "pocket"), device=str(device))
    who = hashlib.sha256(f"{_TASK_SHARES} {policy.fingerprint()}".encode())
    for adapter in adapters:
        policy.load_adapter(adapter)
        who.update(policy.fingerprint().encode())
    looks = load_perceptual(device)
    pictures = lru_cache(partial(load_pictures, split, cache))

    def draw(rng: np.random.Generator, number: int) -> Contests:
        groups = []
        for _ in range(_CHUNK // _TOGETHER):
            task = str(rng.choice(list(_TASK_SHARES), p=list(_TASK_SHARES.values())))
            scenes = [draw_scene(pictures(), rng, task) for _ in range(_TOGETHER)]
            other = adapters[int(rng.integers(len(adapters)))] if adapters else None
            groups.append(paint_contests(policy, scenes, other, rng, looks))
        log(f"painted contests {split}: {(number + 1) * _CHUNK}")
        return join(groups)

    folder = cache / f"painted-{split}-{seed}-{who.hexdigest()[:12]}"
    return load_chunks(folder, count, _CHUNK, seed, draw)


@torch.no_grad()
def paint_contests(
    policy: FluxFillPolicy,
    scenes: Sequence[Scene],
    other: Path | None,
    rng: np.random.Generator,
    looks: Perceptual,
) -> Contests:
    """Contests of scenes: the true picture, one painted in part, two painted wholly.

    Args:
        policy: the embedded one.
        scenes: of one task.
        other: an adapter that paints the last pictures; None leaves them to the policy itself.
        rng: of noise, samplers and whether an edit's finishing is given.
        looks: says which of two painted wholly is nearer to the true picture.
    """
    batch = _batch(scenes).to(policy.device)
    truths = as_tensor(np.stack([scene.target for scene in scenes])).to(policy.device)
    conditions = policy.encode(batch.images, batch.masks, batch.prompts)
    partly = float(rng.uniform(*_PARTLY))
    with policy.adapter_off():
        painted = [
            through_vae(policy, truths),
            _painted(policy, batch, conditions, truths, partly, rng),
            _painted(policy, batch, conditions, None, None, rng),
        ]
    if other is not None:
        policy.load_adapter(other)
    with policy.adapter_off() if other is None else nullcontext():
        painted.append(_painted(policy, batch, conditions, None, None, rng))
    own = Sampling().settle(policy, batch.task.name)
    strengths = np.tile(np.array([0, partly, 1, 1], np.float32), (len(scenes), 1))
    if batch.task.name != "fill":
        # A thing can be painted well in many ways; of a background one is known to be right.
        apart = [decibels_apart(looks, whole, painted[0]) for whole in painted[2:]]
        further = (apart[1] - apart[0]).cpu().numpy()
        for place, gained in ((2, further), (3, -further)):
            strengths[:, place] -= np.clip(_PER_DECIBEL * gained, 0, _MOST_NEARER)
    # A run judges what was painted, an edit hands out what was brought in line: both are shown.
    finished = rng.random() < 0.5
    shown = [
        batch.finish(whole, detail=own.detail, pieces=False) if finished else batch.paste(whole)
        for whole in painted
    ]
    levels = (torch.stack(shown, 1) * 255 + 0.5).to(torch.uint8)
    pictures = levels.permute(0, 1, 3, 4, 2).cpu().numpy()
    return _annotated(pictures, scenes, strengths)


def _batch(scenes: Sequence[Scene]) -> Batch:
    samples = []
    for scene in scenes:
        removal = scene.task == "removal"
        words = None if removal or scene.prompt == EXTEND_PROMPT else scene.prompt
        picture = scene.with_object if removal else scene.target
        samples.append(make_sample(picture, scene.mask, words, scene.task))
    return make_batch(load_tasks().get(scenes[0].task), samples, "cpu")


def _painted(
    policy: FluxFillPolicy,
    batch: Batch,
    conditions: Conditions,
    truths: Tensor | None,
    strength: float | None,
    rng: np.random.Generator,
) -> Tensor:
    """Whole pictures, over ``truths`` if any, with steps and guidance of their own."""
    own = Sampling(strength=strength).settle(policy, batch.task.name)
    start = truths
    if start is None and own.strength < 1:
        start = batch.surroundings
    steps = int(rng.integers(min(_FEWEST, own.steps), min(_MOST_STEPS, own.steps) + 1))
    noise = policy.noise(conditions, torch.Generator().manual_seed(int(rng.integers(2**62))))
    latents = policy.sample(
        conditions,
        noise,
        steps=steps,
        guidance=own.guidance * float(rng.uniform(*_GUIDANCE)),
        start=start,
        strength=own.strength,
    )
    return policy.decode(latents, conditions)


@torch.no_grad()
def through_vae(policy: FluxFillPolicy, pictures: Tensor) -> Tensor:
    """Pictures (B, 3, H, W) in [0, 1] as the policy would decode them if it painted just those."""
    nothing = torch.zeros_like(pictures[:, :1])
    seen = policy.encode(pictures, nothing, [""] * len(pictures))
    return policy.decode(seen.masked_latents, seen)


def _annotated(
    pictures: NDArray[np.uint8], scenes: Sequence[Scene], strengths: NDArray[np.float32]
) -> Contests:
    """Pictures (N, 4, SIZE, SIZE, 3), painted as far as ``strengths`` (N, 4) say, as contests."""
    count, removal = len(scenes), scenes[0].task == "removal"
    shares = np.array([WEAK_PAINTING[dimension] for dimension in DIMENSIONS], np.float32)
    levels = strengths[..., None] * shares
    harm = np.zeros((count, RENDERINGS, len(DIMENSIONS), GRID, GRID), np.float16)
    covered = np.empty((count, RENDERINGS, GRID, GRID), bool)
    words = np.array([LABELS.index(scene.word) for scene in scenes])
    seen = np.full(count, NOTHING) if removal else words
    shown = np.where(strengths > 0.5, UNCLEAR, seen[:, None])
    for row, scene in enumerate(scenes):
        matte = Canvas.of_levels(scene.target, scene.background, scene.mask).matte[..., 0]
        covered[row] = cell_means(matte) > COVERED
        for place in range(1, RENDERINGS):
            change = np.abs(pictures[row, place].astype(np.float32) - pictures[row, 0]).max(-1)
            where = spoilt_cells(change / 255 > TOUCHED)
            harm[row, place] = levels[row, place, :, None, None] * where
    # Words are lost in painting only in part, and where cannot be seen without them.
    harm[:, :, DIMENSIONS.index(ALIGNMENT)] = 0
    return Contests(
        pictures=pictures,
        levels=levels,
        shown=shown.astype(np.int64),
        words=words.astype(np.int64),
        tasks=np.full(count, TASKS.index(scenes[0].task), np.int64),
        harm=harm,
        covered=covered,
    )

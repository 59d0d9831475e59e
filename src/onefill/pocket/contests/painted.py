"""Contests of what a policy paints: the embedded policy's own results beside the true picture.

Damage made on purpose is not how a policy fails, and a judge that knows only the one leads the
other by tricks. Here every contest is one scene: the true picture as the policy's VAE shows it,
two results of the policy, and a worse one. Nobody labels them; what is known is known by
construction:

- restored backgrounds (removal, extend): there is one truth, and the result that is nearer to it
  is the better one, where the difference is plain;
- things and words: a result painted for another prompt shows something else than was asked for;
- a result of a few steps without guidance is worse than one of many with it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from onefill.pocket.contests.cache import RENDERINGS, TASKS, Contests, join
from onefill.pocket.contests.pairs import (
    AESTHETICS,
    ALIGNMENT,
    CONSISTENCY,
    DIMENSIONS,
    GRID,
    LABELS,
    NOTHING,
    REMOVAL,
    STRUCTURE,
    UNCLEAR,
)
from onefill.pocket.material import vocabulary
from onefill.pocket.material.pictures import load_pictures
from onefill.pocket.material.scenes import SIZE, Scene, draw_scene
from onefill.pocket.material.sources import Split
from onefill.pocket.material.things import draw_wish
from onefill.pocket.scoring.held_out import HeldOut, as_tensor, paint_whole
from onefill.policy.flux_fill import FluxFillPolicy
from onefill.policy.sampler import Sampling
from onefill.tasks.registry import load_tasks
from onefill.tasks.types import Mask

_CHUNK = 200
_SHARES = {"fill": 0.5, "extend": 0.18, "removal": 0.24, "text": 0.08}

_FULL, _WEAK = Sampling(steps=8), Sampling(steps=2, guidance=1.0)

_PAINTED, _WORSE, _UNLIKE = 0.45, 0.9, 1.0
"""Damage of a result beside the truth, of a weak one, and of one that shows something else."""

_PLAINLY = 1.6
"""How many times as far from the truth as another result one is that counts as fully damaged."""

_LEAST_APART = 2.0  # grey levels that nobody sees, added to every distance

Picture = NDArray[np.uint8]


def load_painted(
    policy: FluxFillPolicy,
    split: Split,
    count: int,
    seed: int,
    cache: Path,
    log: Callable[[str], None],
) -> Contests:
    """``count`` contests, painted where they are not yet in the cache.

    Args:
        policy: who paints; results of another are kept apart.
        split: of the scenes.
        count: rounded up to whole chunks while they are painted.
        seed: of scenes and noise.
        cache: fetched pictures and what was painted.
        log: told one line now and then.
    """
    folder = cache / f"painted-{split}-{seed}-{policy.fingerprint()[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    pictures = None
    chunks = []
    for number in range(-(-count // _CHUNK)):
        path = folder / f"{number:04d}.npz"
        if not path.exists():
            pictures = pictures or load_pictures(split, cache)
            rng = np.random.default_rng((seed, number))
            parts = []
            for task, some in zip(TASKS, rng.multinomial(_CHUNK, _shares()), strict=True):
                scenes = [draw_scene(pictures, rng, task) for _ in range(some)]
                if scenes:
                    parts.append(_paint(policy, task, scenes, rng))
            staged = path.with_name(f"{number:04d}.part.npz")
            np.savez(staged, allow_pickle=False, **vars(join(parts)))
            staged.rename(path)
            log(f"contests painted of {split}: {(number + 1) * _CHUNK}")
        with np.load(path) as stored:
            chunks.append(Contests(**{name: stored[name] for name in stored.files}))
    return join(chunks).select(slice(count))


def _shares() -> list[float]:
    return [_SHARES[task] for task in TASKS]


def _paint(
    policy: FluxFillPolicy, task: str, scenes: list[Scene], rng: np.random.Generator
) -> Contests:
    """The contests of some scenes of one task, the truth first."""
    seed = int(rng.integers(2**31))
    asked = [scene.prompt if task in ("fill", "text") else None for scene in scenes]
    unlike = [_unlike(task, scene, rng) for scene in scenes]
    shown = [
        _seen_through(policy, scenes),
        _results(policy, task, scenes, asked, seed, _FULL),
        _results(policy, task, scenes, asked, seed + 1, _WEAK),
        # The same noise with another prompt: what differs is what the prompt is answered with.
        _results(policy, task, scenes, [p for _, p in unlike], seed, _FULL)
        if asked[0] is not None
        else _results(policy, task, scenes, asked, seed + 2, _FULL),
    ]
    pictures = np.stack(shown, 1)
    levels = np.stack(
        [_levels(task, p, s.mask) for p, s in zip(pictures, scenes, strict=True)]
    ).astype(np.float32)
    names = [
        [LABELS.index(s.word), LABELS.index(s.word), UNCLEAR, LABELS.index(word)]
        if task in ("fill", "text")
        else [NOTHING if task == "removal" else UNCLEAR] + [UNCLEAR] * 3
        for s, (word, _) in zip(scenes, unlike, strict=True)
    ]
    touched = np.stack([_cells(scene.mask) for scene in scenes])
    harm = levels[..., None, None] * touched[:, None, None]
    harm[:, :, DIMENSIONS.index(ALIGNMENT)] = 0
    things = np.stack([_thing(task, scene) for scene in scenes])
    return Contests(
        pictures=pictures,
        levels=levels,
        shown=np.array(names, np.int64),
        words=np.array([LABELS.index(scene.word) for scene in scenes], np.int64),
        tasks=np.full(len(scenes), TASKS.index(task), np.int64),
        harm=harm.astype(np.float16),
        covered=np.repeat(things[:, None], RENDERINGS, 1),
    )


def _unlike(task: str, scene: Scene, rng: np.random.Generator) -> tuple[str, str]:
    """Another word than the scene's, and how it is asked for."""
    words = vocabulary.TEXT_WORDS if task == "text" else vocabulary.WORDS
    other = str(rng.choice([word for word in words if word != scene.word]))
    return other, other if task == "text" else draw_wish(rng, other).phrase(rng)


def _results(
    policy: FluxFillPolicy,
    task: str,
    scenes: list[Scene],
    prompts: list[str | None] | list[str],
    seed: int,
    sampling: Sampling,
) -> Picture:
    """What the policy paints, uint8 (N, SIZE, SIZE, 3), each scene's own pixels outside."""
    given = np.stack([s.with_object if task == "removal" else s.target for s in scenes])
    held = HeldOut(
        load_tasks().get(task),
        given,
        np.stack([s.mask for s in scenes]),
        np.stack([s.target for s in scenes]),
        [{"image": str(n), "prompt": prompt} for n, prompt in enumerate(prompts)],
    )
    whole = held.batch.paste(paint_whole(policy, held, seed, sampling))
    return (whole * 255 + 0.5).to(torch.uint8).permute(0, 2, 3, 1).numpy()


@torch.no_grad()
def _seen_through(policy: FluxFillPolicy, scenes: list[Scene]) -> Picture:
    """The truths, their masked parts as the VAE shows them: its softness is no fault."""
    truths = np.stack([scene.target for scene in scenes])
    masks = np.stack([scene.mask for scene in scenes])[..., None]
    vae = policy.pipeline.vae
    decoded = vae.decode(vae.encode(as_tensor(truths) * 2 - 1).latents).sample
    levels = (decoded.clamp(-1, 1) * 127.5 + 128).to(torch.uint8).permute(0, 2, 3, 1).numpy()
    return np.where(masks, levels, truths)


def _levels(task: str, pictures: Picture, mask: Mask) -> NDArray[np.float64]:
    """Damage (4, 5) of the pictures of one contest."""
    levels = np.zeros((RENDERINGS, len(DIMENSIONS)))
    column = {name: place for place, name in enumerate(DIMENSIONS)}
    if task in ("fill", "text"):
        for name in (CONSISTENCY, AESTHETICS, STRUCTURE):
            levels[:, column[name]] = (0, _PAINTED, _WORSE, _PAINTED)
        levels[:, column[ALIGNMENT]] = (0, 0, _PAINTED, _UNLIKE)
        return levels
    far = np.array([distance(picture, pictures[0], mask) for picture in pictures[1:]])
    behind = np.log(far / far.min()) / np.log(_PLAINLY)
    damage = (0, *(_PAINTED + (1 - _PAINTED) * np.clip(behind, 0, 1)))
    for name in (REMOVAL,) if task == "removal" else (CONSISTENCY, STRUCTURE, AESTHETICS):
        levels[:, column[name]] = damage
    return levels


def distance(picture: Picture, truth: Picture, mask: Mask) -> float:
    """How far a restored background is from the true one, in grey levels and at least 2.

    The root of the mean squared error of the colours inside the mask and of how much they vary
    around each pixel, added up: by the first alone a blur would be the best guess.
    """
    shown, true = picture.astype(np.float32), truth.astype(np.float32)
    errors = (shown - true, _variation(shown) - _variation(true))
    return _LEAST_APART + float(sum(np.sqrt(np.square(e[mask]).mean()) for e in errors))


def _variation(picture: NDArray[np.float32]) -> NDArray[np.float32]:
    """The standard deviation (H, W, 3) of the colours in the square of 5 round each pixel."""
    planes = torch.from_numpy(picture).permute(2, 0, 1)[None]

    def mean(values: torch.Tensor) -> torch.Tensor:
        padded = torch.nn.functional.pad(values, (2, 2, 2, 2), mode="reflect")
        return torch.nn.functional.avg_pool2d(padded, 5, 1)

    spread = (mean(planes.square()) - mean(planes).square()).clamp(min=0).sqrt()
    return spread[0].permute(1, 2, 0).numpy()


def _cells(mask: Mask) -> NDArray[np.float64]:
    """How much of each cell of the grid the mask spoils, (GRID, GRID); a quarter is enough."""
    side = SIZE // GRID
    return np.minimum(1, 4 * mask.reshape(GRID, side, GRID, side).mean((1, 3)))


def _thing(task: str, scene: Scene) -> NDArray[np.bool_]:
    """Cells (GRID, GRID) where the thing or the words were put; a result may put them near by."""
    if task == "removal":
        return np.zeros((GRID, GRID), bool)
    change = np.abs(scene.with_object.astype(np.int16) - scene.background).max(-1) > 20
    return _cells(change) > 0.9

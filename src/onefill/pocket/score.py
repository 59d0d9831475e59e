"""Figures of an embedded policy on the held-out scenes.

Every figure the README states about the embedded policy is printed by ``onefill pocket score``,
which calls this module.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from torch import Tensor

from onefill.judge.accuracy import wilson
from onefill.pocket.classifier import load_classifier, views_of
from onefill.pocket.vocabulary import REMOVAL_PROMPT, WORDS
from onefill.policy.flux_fill import FluxFillPolicy
from onefill.policy.surroundings import fill_smoothly, match_colours

_BATCH = 25


@dataclass(frozen=True)
class HeldOut:
    """The held-out scenes of one task.

    Attributes:
        pictures: uint8 (N, H, W, 3), what a user would hand in.
        masks: bool (N, H, W), True where the model paints.
        rows: N rows of ``metadata.jsonl``.
    """

    pictures: NDArray[np.uint8]
    masks: NDArray[np.bool_]
    rows: list[dict[str, Any]]


def read_held_out(folder: Path, task: str) -> HeldOut:
    """The scenes of a task that has masks (every built-in task but extend)."""
    lines = (folder / "metadata.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [row for row in map(json.loads, lines) if row["task"] == task]
    return HeldOut(
        np.stack([_pixels(folder / row["image"]) for row in rows]),
        np.stack([np.asarray(Image.open(folder / row["mask"]).convert("L")) > 127 for row in rows]),
        rows,
    )


def _pixels(path: Path) -> NDArray[np.uint8]:
    return np.asarray(Image.open(path).convert("RGB"))


def _as_tensor(pictures: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255


def paint(
    policy: FluxFillPolicy,
    scenes: HeldOut,
    prompts: list[str],
    seed: int,
    *,
    steps: int,
    strength: float = 1.0,
    matched: bool = True,
) -> NDArray[np.uint8]:
    """Paint every scene once, as ``onefill edit`` does: uint8 (N, H, W, 3).

    Args:
        policy: who paints.
        scenes: N pictures and masks.
        prompts: N texts.
        seed: of the noise.
        steps: Euler steps.
        strength: noise level to begin from, as in ``PolicySettings``.
        matched: bring the colours in line with the surroundings, as ``onefill edit`` does.
    """
    painted = []
    for first in range(0, len(prompts), _BATCH):
        part = slice(first, first + _BATCH)
        images = _as_tensor(scenes.pictures[part])
        masks = torch.from_numpy(scenes.masks[part]).float()[:, None]
        conditions = policy.encode(images, masks, prompts[part])
        noise = policy.noise(conditions, torch.Generator().manual_seed(seed + first))
        known, covers = images.numpy(), scenes.masks[part]
        start = None
        if strength < 1:
            smooth = [fill_smoothly(*case) for case in zip(known, covers, strict=True)]
            start = torch.from_numpy(np.stack(smooth))
        latents = policy.sample(
            conditions,
            noise,
            steps=steps,
            guidance=policy.settings.guidance,
            start=start,
            strength=strength,
        )
        with torch.no_grad():
            result = policy.decode(latents, conditions).cpu()
        if matched:
            cases = zip(result.numpy(), known, covers, strict=True)
            result = torch.from_numpy(np.stack([match_colours(*case) for case in cases]))
        stitched = torch.where(masks > 0, result, images)
        painted.append((stitched * 255 + 0.5).to(torch.uint8).permute(0, 2, 3, 1).numpy())
    return np.concatenate(painted)


def score_policy(
    policy: FluxFillPolicy, scenes: Path, classifier: Path, seed: int = 0
) -> dict[str, dict[str, float]]:
    """The score table of a policy on the embedded held-out scenes.

    Returns:
        ``vae``: PSNR in dB of reconstructed pictures. ``fill``: share of objects that the
        classifier names, and its 95 % interval.
        ``removal``: PSNR in dB inside the mask of an edit, of what the model alone paints from
        noise, of the membrane that an edit begins from, and of the mean colour of the
        surroundings; the gain of the edit over that. ``speed``: seconds of one edit.
    """
    steps = policy.settings.steps
    fills, removals = read_held_out(scenes, "fill"), read_held_out(scenes, "removal")
    return {
        "vae": {"psnr": _vae_psnr(policy, fills)},
        "fill": _name_fills(policy, fills, classifier, seed, steps),
        "removal": _compare_removals(policy, removals, scenes, seed),
        "speed": {"seconds": _time_edit(policy, fills, steps), "steps": float(steps)},
    }


def _vae_psnr(policy: FluxFillPolicy, fills: HeldOut) -> float:
    pictures = _as_tensor(fills.pictures)
    untouched = torch.zeros(len(pictures), 1, *pictures.shape[-2:])
    values = []
    for part, mask in zip(pictures.split(_BATCH), untouched.split(_BATCH), strict=True):
        conditions = policy.encode(part, mask, [WORDS[0]] * len(part))
        with torch.no_grad():
            rebuilt = policy.decode(conditions.masked_latents, conditions).cpu()
        error = (rebuilt - part).square().mean((1, 2, 3))
        values.append(-10 * torch.log10(error))
    return float(torch.cat(values).mean())


def _name_fills(
    policy: FluxFillPolicy, fills: HeldOut, classifier: Path, seed: int, steps: int
) -> dict[str, float]:
    model = load_classifier(classifier)
    prompts = [row["prompt"] for row in fills.rows]
    painted = paint(policy, fills, prompts, seed, steps=steps)
    labels = torch.tensor([WORDS.index(row["word"]) for row in fills.rows])
    with torch.no_grad():
        right = (model(views_of(painted, fills.masks)).argmax(1) == labels).float()
    low, high = wilson(float(right.sum()), len(right))
    return {"named": float(right.mean()), "low": low, "high": high, "count": float(len(right))}


def _compare_removals(
    policy: FluxFillPolicy, removals: HeldOut, scenes: Path, seed: int
) -> dict[str, float]:
    steps = policy.settings.steps_for("removal")
    prompts = [REMOVAL_PROMPT] * len(removals.rows)
    strength = policy.settings.strength_for("removal")
    edits = paint(policy, removals, prompts, seed, steps=steps, strength=strength)
    alone = paint(policy, removals, prompts, seed, steps=policy.settings.steps, matched=False)
    edit, model, membrane, mean = [], [], [], []
    for picture, mask, edited, painted, row in zip(
        removals.pictures, removals.masks, edits, alone, removals.rows, strict=True
    ):
        truth = _pixels(scenes / row["truth"]).astype(np.float64)[mask]
        smooth = fill_smoothly(picture.transpose(2, 0, 1).astype(np.float32) / 255, mask)
        edit.append(psnr(edited[mask], truth))
        model.append(psnr(painted[mask], truth))
        membrane.append(psnr(255 * smooth.transpose(1, 2, 0)[mask], truth))
        mean.append(psnr(surrounding_colour(picture, mask), truth))
    gains = np.array(edit) - np.array(mean)
    return {
        "psnr": float(np.mean(edit)),
        "model_alone_psnr": float(np.mean(model)),
        "membrane_psnr": float(np.mean(membrane)),
        "mean_colour_psnr": float(np.mean(mean)),
        "gain": float(gains.mean()),
        "gain_error": float(gains.std(ddof=1) / math.sqrt(len(gains))),
    }


def surrounding_colour(picture: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Mean colour (3,) of the pixels within four of the mask but outside it."""
    grown = Image.fromarray(np.where(mask, 255, 0).astype(np.uint8)).filter(
        ImageFilter.MaxFilter(9)
    )
    ring = (np.asarray(grown) > 127) & ~mask
    colour: NDArray[np.float64] = picture[ring if ring.any() else ~mask].astype(np.float64).mean(0)
    return colour


def psnr(result: NDArray[Any], truth: NDArray[Any]) -> float:
    """PSNR in dB of grey levels in [0, 255], at most 68."""
    error = np.square(result.astype(np.float64) - truth).mean()
    return float(10 * np.log10(255**2 / max(error, 1e-2)))


def _time_edit(policy: FluxFillPolicy, fills: HeldOut, steps: int) -> float:
    """Median seconds of one edit, from encoding to pixels, of three."""
    one = HeldOut(fills.pictures[:1], fills.masks[:1], fills.rows[:1])
    times = []
    for _ in range(3):
        started = time.perf_counter()
        paint(policy, one, [fills.rows[0]["prompt"]], 0, steps=steps)
        times.append(time.perf_counter() - started)
    return sorted(times)[1]

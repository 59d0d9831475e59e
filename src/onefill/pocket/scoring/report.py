"""The whole score table of a policy on the embedded held-out scenes: ``onefill pocket score``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from onefill.pocket.scoring.background import score_extend, score_removal
from onefill.pocket.scoring.classifier import load_classifier
from onefill.pocket.scoring.fill import score_fill, score_unseen
from onefill.pocket.scoring.held_out import read_held_out
from onefill.pocket.scoring.perceptual import find_weights, load_perceptual
from onefill.pocket.scoring.speed import load_timed, score_speed
from onefill.pocket.scoring.table import Figure, Unmeasured, rows_of
from onefill.pocket.scoring.text import score_text
from onefill.pocket.scoring.vae import score_vae


def score_policy(
    model: str,
    held_out: Path,
    unseen: Path,
    classifier: Path,
    seed: int,
    log: Callable[[str], None],
) -> dict[str, Any]:
    """Measure everything that can be measured here.

    Args:
        model: a diffusers folder, or the id of a model on the hub.
        held_out: scenes of every task, as ``export_scenes`` writes them.
        unseen: fills in colours never trained, likewise.
        classifier: weights of what names fills.
        seed: of the noise.
        log: told what comes next.

    Returns:
        ``rows``: the table, see ``score_table.rows_of``. ``removal`` and ``extend``: the means of
        the edit and of every way it is measured against.

    Raises:
        BadInput: there is no such model, or it cannot read the scenes' prompts.
    """
    log("loading the policy")
    policy, found = load_timed(model)
    figures: dict[str, Figure | Unmeasured] = dict(found)
    judged_by = load_classifier(classifier)
    perceptual = load_perceptual() if find_weights() is not None else None
    fills, others = read_held_out(held_out, "fill"), read_held_out(unseen, "fill")
    figures |= score_speed(policy, fills)
    log("VAE")
    figures |= score_vae(policy, fills, perceptual)
    log(f"{len(fills)} fills")
    figures |= score_fill(policy, fills, judged_by, seed)
    log(f"{len(others)} fills in colours never trained")
    figures |= score_unseen(policy, others, judged_by, seed)
    removals = read_held_out(held_out, "removal")
    log(f"{len(removals)} removals")
    found, removal_means = score_removal(policy, removals, perceptual, seed)
    figures |= found
    extensions = read_held_out(held_out, "extend")
    log(f"{len(extensions)} extensions")
    found, extend_means = score_extend(policy, extensions, perceptual, seed)
    figures |= found
    texts = read_held_out(held_out, "text")
    log(f"{len(texts)} texts")
    figures |= score_text(policy, texts, seed)
    return {"rows": rows_of(figures), "removal": removal_means, "extend": extend_means}

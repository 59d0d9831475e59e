"""The recipe of the embedded models, stage by stage: ``onefill pocket build``.

scenes -> vae -> policy, and classifier and judges beside them. A training that was stopped goes
on from there; every stage writes its result whole or not at all.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderTiny

from onefill.pocket.material import vocabulary
from onefill.pocket.material.export import export_scenes
from onefill.pocket.material.scenes import OBLONG, SIZE
from onefill.pocket.material.sources import source_list
from onefill.pocket.policy import training as flow_training
from onefill.pocket.policy.architecture import assemble
from onefill.pocket.policy.distillation import train_distilled
from onefill.pocket.policy.latent_pool import TOKENS
from onefill.pocket.policy.training import TrainedPolicy, train_flow
from onefill.pocket.policy.vae import train_vae
from onefill.pocket.scoring.classifier import train_classifier
from onefill.pocket.training_plan import Plan
from onefill.pocket.warm_start import facts_before

STAGES = ("scenes", "vae", "policy", "distilled", "classifier", "judge", "second-judge")
MINUTES = {
    "scenes": 2.0,
    "vae": 11.0,
    "policy": 433.0,
    "distilled": 14.0,
    "classifier": 9.0,
    "judge": 555.0,
    "second-judge": 105.0,
}
"""Wall time in minutes of each stage for the shipped models, on one CPU core, all goes together;
58 of the judge's on two."""

REMOVAL_STRENGTH, REMOVAL_STEPS = 0.9, 8
"""Noise level at which a removal begins from its surroundings, at 1.0 it paints from noise; and
Euler steps from noise. On training scenes fewer steps come nearer to what was there by PSNR and
further from how it looks by LPIPS: a sample invents detail, its mean does not."""

TEXT_GUIDANCE = 7.0
"""Written words come out clearer for it; a thing would lose its place in the picture."""

CONTEXT = {"fill": 0.15, "text": 0.2}
"""What an edit shows round a mask, in mean sides of it. Scenes have things and words that fill most
of the picture, and there they are painted best; chosen on photographs outside training."""

DETAIL = ["removal", "extend"]
"""Tasks that show more of the surroundings, and so have their fine detail."""

PIECES = ["removal"]
"""Tasks that show nothing but the surroundings, and so are laid with pieces of them."""


def build(
    stage: str,
    out: Path,
    plan: Plan,
    begin: Path | None = None,
    against: Sequence[Path] = (),
) -> None:
    """Run one stage.

    Args:
        stage: a name out of ``STAGES``.
        out: receives ``scenes/`` and ``weights/``: policy, adapter, judges and classifier.
        plan: of the stage.
        begin: folder of a policy or judge that the stage of that name begins from, or where
            weights of a second judge lie; None for random weights.
        against: adapters of the embedded policy that paint beside it what the judge is to see
            through.
    """
    weights = out / "weights"
    if stage == "scenes":
        export_scenes(out / "scenes", plan.cache, plan.seed, plan.log)
    elif stage == "vae":
        train_vae(plan.cache / "vae", plan)
    elif stage == "policy":
        trained = train_flow(plan.cache / "vae", plan, begin)
        save_policy(weights / "policy", trained, plan, begin)
    elif stage == "distilled":
        train_distilled(weights / "distilled", weights / "policy", plan)
    elif stage == "classifier":
        train_classifier(weights / "classifier.safetensors", plan)
    elif stage == "second-judge":
        from onefill.pocket.judge.second import train_second_judge

        file = "second_judge.safetensors"
        train_second_judge(weights / file, plan, begin / file if begin is not None else None)
    else:
        from onefill.pocket.judge.training import build as build_judge

        build_judge(weights / "judge", plan, begin, against)


def save_policy(out: Path, trained: TrainedPolicy, plan: Plan, begin: Path | None = None) -> None:
    """Write the policy folder from a training and the VAE in the cache, in half precision."""
    vae = AutoencoderTiny.from_pretrained(plan.cache / "vae")
    vae.register_to_config(_name_or_path="")  # where it lay while it was made is nobody's concern
    for tokenizer in (trained.clip_tokenizer, trained.t5_tokenizer):
        # How prompts were last padded and cut is the caller's, not the tokenizer's.
        tokenizer.backend_tokenizer.no_padding()
        tokenizer.backend_tokenizer.no_truncation()
    pipeline = assemble(
        clip_tokenizer=trained.clip_tokenizer,
        t5_tokenizer=trained.t5_tokenizer,
        clip=trained.model.clip.to(torch.float16),
        t5=trained.model.t5.to(torch.float16),
        transformer=trained.model.transformer.to(torch.float16),
        vae=vae.to(torch.float16),
    )
    staged = out.with_name(out.name + ".part")
    shutil.rmtree(staged, ignore_errors=True)
    pipeline.save_pretrained(staged)
    card = policy_card(plan, trained.samples)
    if begin is not None:
        card["facts"] |= facts_before(begin / "onefill.json")
    text = json.dumps(card, ensure_ascii=False, indent=1) + "\n"
    (staged / "onefill.json").write_text(text, encoding="utf-8")
    shutil.rmtree(out, ignore_errors=True)
    staged.rename(out)


def policy_card(plan: Plan, samples: int) -> dict[str, Any]:
    """What ``onefill.json`` says: how to run the policy, what it knows and how it was made."""
    return {
        "size": SIZE,
        "steps": 16,
        "guidance": 3.0,
        "negative_prompt": "",
        "max_sequence_length": TOKENS,
        "vocabulary": list(vocabulary.WORDS),
        "other_names": {c.word: c.also for c in vocabulary.CONCEPTS if c.also},
        "colours": {c.word: [*c.colours, c.unseen] for c in vocabulary.CONCEPTS if c.unseen},
        "sizes": list(vocabulary.SIZES),
        "counts": list(vocabulary.COUNTS),
        "text_words": list(vocabulary.TEXT_WORDS),
        "task_steps": {"removal": REMOVAL_STEPS},
        "task_guidance": {"text": TEXT_GUIDANCE},
        "strength": {"removal": REMOVAL_STRENGTH},
        "context": CONTEXT,
        "detail": DETAIL,
        "pieces": PIECES,
        "facts": {
            "recipe": plan.command("policy"),
            "samples": samples,
            "scenes": flow_training.POOL_SIZE
            + sum(flow_training.MORE.values())
            + flow_training.OBLONG_SIZE * len(OBLONG),
            "weights": "float16 on disk, moving average of the training",
            "held out": f"drawings of {vocabulary.HELD_OUT_SET}, six photographs, one font",
        },
        "sources": source_list(),
    }

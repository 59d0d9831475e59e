"""A judge of the embedded one's architecture that has learnt nothing yet."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from onefill.judge.model import Judge
from onefill.judge.processor import StillProcessor
from onefill.pocket.judge.architecture import (
    TowerSize,
    build_image_processor,
    build_judge_model,
    build_judge_tokenizer,
    judge_corpus,
)
from onefill.pocket.judge.training import TEXT, VISION


def new_judge(
    queries: Iterable[str], seed: int, *, vision: TowerSize = VISION, text: TowerSize = TEXT
) -> Judge:
    """A Qwen2.5-VL of random weights and a tokenizer to which every word of its queries is one.

    Args:
        queries: what it will be asked, ``build_query`` of every question of its training.
        seed: of the weights; torch's global generator is left as it was.
        vision: size of its vision tower.
        text: size of its language model.
    """
    tokenizer = build_judge_tokenizer([*judge_corpus((), ()), *sorted(set(queries))])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        # Wide enough for so narrow a model to start to learn, as for the embedded judge.
        model = build_judge_model(tokenizer, vision=vision, text=text, initializer_range=0.07)
    return Judge(model, StillProcessor(build_image_processor(), tokenizer))

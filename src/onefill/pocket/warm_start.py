"""Beginning a training from weights that were saved before, under a vocabulary that has grown.

Every layer is taken over. Embeddings are rows by token, and the numbers of tokens change with the
words: rows go by the token's text, and a token that is new keeps its fresh initial row.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import FluxTransformer2DModel
from torch import Tensor, nn
from transformers import (
    CLIPTextModel,
    CLIPTokenizer,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Tokenizer,
    T5EncoderModel,
    T5Tokenizer,
)

from onefill.errors import OnefillError
from onefill.pocket.policy.flow import FlowModel

_END = 0.4


def begin_policy(
    model: FlowModel, clip_tokenizer: CLIPTokenizer, t5_tokenizer: T5Tokenizer, folder: Path
) -> None:
    """Give an untrained policy the weights of a saved one.

    Raises:
        OnefillError: the folder's parts have other shapes, or it is no policy.
    """
    try:
        transformer = FluxTransformer2DModel.from_pretrained(folder / "transformer")
        clip = CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32)
        t5 = T5EncoderModel.from_pretrained(folder / "text_encoder_2", dtype=torch.float32)
        clip_before = CLIPTokenizer.from_pretrained(folder / "tokenizer")
        t5_before = T5Tokenizer.from_pretrained(folder / "tokenizer_2")
    except OSError as error:
        raise OnefillError(f"--begin {folder}: holds no policy ({error})") from error
    _take_over(model.transformer, transformer.float().state_dict(), {}, {}, folder)
    _take_over(model.clip, clip.state_dict(), clip_before.get_vocab(),
               clip_tokenizer.get_vocab(), folder)  # fmt: skip
    _take_over(model.t5, t5.state_dict(), t5_before.get_vocab(), t5_tokenizer.get_vocab(), folder)


def begin_judge(model: Any, tokenizer: Qwen2Tokenizer, folder: Path) -> bool:
    """Give an untrained judge the weights of a saved one.

    Returns:
        Whether that one knew every word.

    Raises:
        OnefillError: the folder's parts have other shapes, or it is no judge.
    """
    try:
        before = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
        words_before = Qwen2Tokenizer.from_pretrained(folder).get_vocab()
    except OSError as error:
        raise OnefillError(f"--begin {folder}: holds no judge ({error})") from error
    words = tokenizer.get_vocab()
    _take_over(model, before.state_dict(), words_before, words, folder)
    return words.keys() <= words_before.keys()


@torch.no_grad()
def meet_on_the_way(model: nn.Module, earlier: Sequence[nn.Module]) -> None:
    """Take every weight back to the mean of its end, which counts 0.4, and of earlier points.

    What all of them know is kept and what one has learned askew counts less (Wortsman et al. 2022,
    "Robust fine-tuning of zero-shot models", section 3).
    """
    points = [list(point.parameters()) for point in earlier]
    means = [sum(weights[1:], weights[0]) / len(weights) for weights in zip(*points, strict=True)]
    torch._foreach_lerp_(list(model.parameters()), means, 1 - _END)


def facts_before(card: Path) -> dict[str, Any]:
    """What the card of the model that a training began from says of how it was made."""
    facts: dict[str, Any] = json.loads(card.read_text(encoding="utf-8")).get("facts", {})
    return {"begun from": {k: facts[k] for k in ("recipe", "samples", "begun from") if k in facts}}


@torch.no_grad()
def _take_over(
    module: nn.Module,
    before: Mapping[str, Tensor],
    tokens_before: Mapping[str, int],
    tokens: Mapping[str, int],
    folder: Path,
) -> None:
    shared = [token for token in tokens if token in tokens_before]
    to = torch.tensor([tokens[token] for token in shared], dtype=torch.long)
    source = torch.tensor([tokens_before[token] for token in shared], dtype=torch.long)
    for name, value in module.state_dict().items():
        had = before.get(name)
        if had is not None and had.shape == value.shape and len(value) != len(tokens):
            value.copy_(had)
        elif had is not None and shared and had.shape[1:] == value.shape[1:]:
            value[to] = had[source]
        else:
            raise OnefillError(f"--begin {folder}: {name} has another shape than in this recipe")

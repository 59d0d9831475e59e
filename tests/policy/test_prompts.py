from __future__ import annotations

import pytest
import torch
from torch import Tensor

from onefill.errors import BadInput
from onefill.policy import prompts
from onefill.policy.flux_fill import FluxFillPolicy
from onefill.policy.prompts import PromptReader
from onefill.policy.settings import PolicySettings


def _encode(policy: FluxFillPolicy, *texts: str) -> tuple[Tensor, Tensor]:
    images, masks = torch.zeros(len(texts), 3, 8, 8), torch.ones(len(texts), 1, 8, 8)
    conditions = policy.encode(images, masks, texts)
    return conditions.prompt_embeds, conditions.pooled


def test_embeddings_are_the_stock_pipelines(policy: FluxFillPolicy) -> None:
    texts = ["a cat", "straw hat", "a cat"]
    embeds, pooled = _encode(policy, *texts)
    stock_embeds, stock_pooled, _ = policy.pipeline.encode_prompt(
        prompt=texts, prompt_2=texts, max_sequence_length=8
    )
    assert torch.allclose(embeds, stock_embeds, atol=1e-6)
    assert torch.allclose(pooled, stock_pooled, atol=1e-6)
    assert not torch.allclose(embeds[0], embeds[1])


def test_a_prompt_is_encoded_once(policy: FluxFillPolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    encode = policy.pipeline.encode_prompt

    def count(**options: list[str]) -> object:
        asked.extend(options["prompt"])
        return encode(**options)

    monkeypatch.setattr(policy.pipeline, "encode_prompt", count)
    _encode(policy, "a cat", "a cat", "red ball")
    _encode(policy, "red ball", "a cat")
    assert sorted(asked) == ["", "a cat", "red ball"]


def test_the_cache_forgets_the_oldest_prompt_first(
    policy: FluxFillPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = PromptReader(policy.pipeline, policy.settings)
    embeds, pooled = reader.encode(["cat"])
    monkeypatch.setattr(prompts, "_CACHE_BYTES", 2 * (embeds.nbytes + pooled.nbytes))
    reader.encode(["hat"])
    reader.encode(["cat"])
    reader.encode(["ball"])
    assert list(reader._cache) == ["cat", "ball"]


def test_a_long_prompt_is_refused_and_not_cut(policy: FluxFillPolicy) -> None:
    assert policy.settings.max_prompt_tokens == 7
    _encode(policy, "a cat a cat a cat a")
    with pytest.raises(BadInput, match=r"--prompt: 8 tokens.*at most 7"):
        _encode(policy, "a cat a cat a cat a cat")


def test_capitals_do_not_hide_a_known_word(policy: FluxFillPolicy) -> None:
    embeds, pooled = _encode(policy, "Straw HAT", "straw hat")
    assert torch.equal(embeds[0], embeds[1])
    assert torch.equal(pooled[0], pooled[1])


def test_unknown_words_come_with_the_nearest_known_one(policy: FluxFillPolicy) -> None:
    assert policy.unknown_words("a Red hat 澳门") == []
    assert policy.unknown_words("a straw bat bat") == [("bat", "hat")]
    _encode(policy, "zebra ☃ 东京")


def test_a_model_of_open_vocabulary_knows_every_word_as_typed(policy: FluxFillPolicy) -> None:
    reader = PromptReader(policy.pipeline, PolicySettings(max_sequence_length=8))
    assert reader.unknown_words("zebra") == []
    embeds, _ = reader.encode(["HAT", "hat"])
    assert not torch.equal(embeds[0], embeds[1])

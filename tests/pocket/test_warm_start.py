"""A training that begins from saved weights knows what they knew."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from onefill.errors import OnefillError
from onefill.pocket.judge.architecture import (
    TowerSize,
    build_image_processor,
    build_judge_model,
    build_judge_tokenizer,
)
from onefill.pocket.policy.architecture import (
    build_text_encoders,
    build_tokenizers,
    build_transformer,
)
from onefill.pocket.policy.flow import FlowModel
from onefill.pocket.warm_start import begin_judge, begin_policy, meet_on_the_way

SMALL = TowerSize(layers=1, width=16, heads=2, feed_forward=32)


def _policy(words: list[str], seed: int, heads: int = 2):
    torch.manual_seed(seed)
    clip_tokenizer, t5_tokenizer = build_tokenizers(words)
    clip, t5 = build_text_encoders(clip_tokenizer, t5_tokenizer)
    transformer = build_transformer(layers=1, single_layers=1, heads=heads)
    torch.nn.init.normal_(transformer.proj_out.weight)
    return FlowModel(transformer, clip, t5), clip_tokenizer, t5_tokenizer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("policy")
    model, clip_tokenizer, t5_tokenizer = _policy(["cat", "straw hat"], seed=0)
    model.transformer.save_pretrained(where / "transformer")
    model.clip.half().save_pretrained(where / "text_encoder")
    model.t5.half().save_pretrained(where / "text_encoder_2")
    clip_tokenizer.save_pretrained(where / "tokenizer")
    t5_tokenizer.save_pretrained(where / "tokenizer_2")
    return where


def test_known_words_are_read_as_before_though_others_came_before_them(folder: Path) -> None:
    old, *old_tokenizers = _policy(["cat", "straw hat"], seed=0)
    new, *tokenizers = _policy(["banana", "cat", "blue", "straw hat"], seed=1)
    begin_policy(new, *tokenizers, folder)
    with torch.no_grad():
        for prompt in ("straw hat", "cat", ""):
            before, after = (
                (
                    model.t5(t5(prompt, return_tensors="pt").input_ids).last_hidden_state,
                    model.clip(clip(prompt, return_tensors="pt").input_ids).pooler_output,
                )
                for model, clip, t5 in ((old, *old_tokenizers), (new, *tokenizers))
            )
            for first, second in zip(before, after, strict=True):
                assert torch.allclose(first, second, atol=2e-2)
        unread = new.t5.shared.weight[tokenizers[1].convert_tokens_to_ids("▁banana")]
        fresh = _policy(["banana", "cat", "blue", "straw hat"], seed=1)[0].t5.shared.weight
        assert torch.equal(unread, fresh[tokenizers[1].convert_tokens_to_ids("▁banana")])
    states = old.transformer.state_dict(), new.transformer.state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_a_policy_of_another_shape_is_named(folder: Path, tmp_path: Path) -> None:
    wider, *tokenizers = _policy(["cat"], seed=1, heads=4)
    with pytest.raises(OnefillError, match=r"--begin .* another shape"):
        begin_policy(wider, *tokenizers, folder)
    with pytest.raises(OnefillError, match=r"--begin .* holds no policy"):
        begin_policy(wider, *tokenizers, tmp_path)


def test_a_judge_goes_on_with_more_words(tmp_path: Path) -> None:
    models = []
    for seed, corpus in enumerate((["Prompt: cat."], ["Prompt: cat.", "Prompt: blue umbrella."])):
        torch.manual_seed(seed)
        tokenizer = build_judge_tokenizer([*corpus, "Yes", "No"])
        model = build_judge_model(tokenizer, vision=SMALL, text=SMALL, initializer_range=0.1)
        models.append((model, tokenizer))
    (old, old_tokenizer), (new, tokenizer) = models
    old.save_pretrained(tmp_path)
    old_tokenizer.save_pretrained(tmp_path)
    build_image_processor().save_pretrained(tmp_path)
    assert not begin_judge(new, tokenizer, tmp_path)
    assert begin_judge(copy.deepcopy(old), old_tokenizer, tmp_path)
    with torch.no_grad():
        before, after = (
            model.model.language_model(input_ids=torch.tensor([tokens.encode(" Prompt: cat.")]))
            for model, tokens in ((old, old_tokenizer), (new, tokenizer))
        )
    assert torch.allclose(before.last_hidden_state, after.last_hidden_state, atol=1e-5)
    with pytest.raises(OnefillError, match=r"--begin .* holds no judge"):
        begin_judge(new, tokenizer, tmp_path / "absent")


def test_a_training_ends_between_the_points_of_its_way() -> None:
    (start, *_), (middle, *_), (model, *_) = (_policy(["cat"], seed=seed) for seed in range(3))
    wanted = [
        0.3 * first + 0.3 * second + 0.4 * third
        for first, second, third in zip(
            start.parameters(), middle.parameters(), model.parameters(), strict=True
        )
    ]
    kept = [weight.clone() for weight in start.parameters()]
    meet_on_the_way(model, [start, middle])
    for weight, mean in zip(model.parameters(), wanted, strict=True):
        torch.testing.assert_close(weight, mean)
    assert all(map(torch.equal, start.parameters(), kept))

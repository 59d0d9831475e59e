from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import CLIPTokenizer, T5TokenizerFast

from onefill.pocket.policy.architecture import (
    build_tokenizers,
    build_transformer,
    build_vae,
    write_random_policy,
    zero_initialised,
)

WORDS = ["straw hat", "banana", "bandana", "澳门", "high-definition, perfect", "cat"]


def test_every_vocabulary_word_is_one_token() -> None:
    clip, t5 = build_tokenizers(WORDS)
    for word in ["straw", "hat", "banana", "bandana", "澳门", "perfect", "cat"]:
        assert len(clip(word).input_ids) == 3, word  # start, word, end
        assert len(t5(word).input_ids) == 2, word
    assert len(t5("high-definition, perfect").input_ids) == 3
    ids = {tuple(tokenizer(w).input_ids) for tokenizer in (clip, t5) for w in WORDS}
    assert len(ids) == 2 * len(WORDS)


def test_unknown_text_is_spelt_by_clip_and_one_unknown_for_t5() -> None:
    clip, t5 = build_tokenizers(WORDS)
    unknown = t5.unk_token_id
    assert t5("zebra 东京 🎈☃").input_ids == [unknown, unknown, unknown, t5.eos_token_id]
    assert t5("cats").input_ids == [*t5("cat").input_ids[:-1], unknown, t5.eos_token_id]
    # CLIP pools at the first end token: an unknown one in the middle would cut the prompt.
    for text in ("zebra", "东京 🎈☃", "Ünknown\nText!", ""):
        assert clip(text).input_ids.index(clip.eos_token_id) == len(clip(text).input_ids) - 1


def test_characters_are_known_inside_other_words() -> None:
    _, t5 = build_tokenizers(WORDS, characters="东京")
    assert t5.unk_token_id not in t5("京东").input_ids
    assert t5("京东").input_ids != t5("东京").input_ids


def test_tokenizers_come_back_equal_from_disk(tmp_path: Path) -> None:
    clip, t5 = build_tokenizers(WORDS, characters="东")
    clip.save_pretrained(tmp_path / "clip")
    t5.save_pretrained(tmp_path / "t5")
    clip_again = CLIPTokenizer.from_pretrained(tmp_path / "clip")
    t5_again = T5TokenizerFast.from_pretrained(tmp_path / "t5")
    for text in (*WORDS, "zebra", "东京 🎈", "", "Cat, cat!"):
        for before, after in ((clip, clip_again), (t5, t5_again)):
            options = {"padding": "max_length", "max_length": 16, "truncation": True}
            assert before(text, **options).input_ids == after(text, **options).input_ids
    assert clip_again.model_max_length == clip.model_max_length


def test_the_same_words_make_the_same_tokenizers() -> None:
    assert all(
        first.get_vocab() == second.get_vocab()
        for first, second in zip(build_tokenizers(WORDS), build_tokenizers(WORDS), strict=True)
    )


def test_an_untrained_transformer_predicts_zero_and_learns_everywhere_at_once() -> None:
    transformer = build_transformer(
        layers=1, single_layers=1, heads=2, head_dim=16, joint=8, pooled=8
    )
    velocity = transformer(
        hidden_states=torch.randn(1, 6, 128),
        timestep=torch.ones(1),
        pooled_projections=torch.randn(1, 8),
        encoder_hidden_states=torch.randn(1, 3, 8),
        txt_ids=torch.zeros(3, 3),
        img_ids=torch.zeros(6, 3),
        return_dict=False,
    )[0]
    assert velocity.shape == (1, 6, 32)
    assert velocity.abs().max() == 0
    assert len(zero_initialised(transformer)) == 2 + 1 + 2


def test_an_untrained_vae_starts_near_grey_and_unsaturated() -> None:
    torch.manual_seed(0)
    vae = build_vae(width=8, blocks=1)
    images = torch.rand(2, 3, 16, 24) * 2 - 1
    latents = vae.encode(images).latents
    assert latents.shape == (2, 8, 4, 6)
    assert latents.std() > 0.1
    assert vae.decode(latents).sample.abs().max() < 1


@pytest.mark.parametrize("factor", [2, 8])
def test_a_vae_of_another_factor_fits_a_transformer_of_it(factor: int) -> None:
    vae = build_vae(width=8, blocks=1, factor=factor)
    assert vae.encode(torch.zeros(1, 3, 16, 16)).latents.shape[-1] == 16 // factor
    transformer = build_transformer(vae_factor=factor, layers=1, single_layers=1, heads=1)
    assert transformer.config.in_channels == 64 + 4 * factor**2


def test_random_policies_of_one_seed_are_equal_files(tmp_path: Path) -> None:
    def weights(name: str, seed: int) -> list[bytes]:
        folder = write_random_policy(tmp_path / name, seed=seed)
        return [file.read_bytes() for file in sorted(folder.rglob("*.safetensors"))]

    first = weights("first", 0)
    assert len(first) == 4
    assert first == weights("again", 0)
    assert all(a != b for a, b in zip(first, weights("other", 1), strict=True))

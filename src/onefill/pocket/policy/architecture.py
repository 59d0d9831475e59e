"""The embedded policy before training: the parts of a tiny FLUX-Fill, with initial weights.

Every part is the stock class that FLUX.1-Fill-dev is made of (the VAE is diffusers'
AutoencoderTiny), only smaller, so a folder saved from here is loaded and run by the stock
``FluxFillPipeline``.
"""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import torch
from diffusers import (
    AutoencoderTiny,
    FlowMatchEulerDiscreteScheduler,
    FluxFillPipeline,
    FluxTransformer2DModel,
)
from diffusers.models.autoencoders.vae import AutoencoderTinyBlock
from tokenizers import pre_tokenizers
from torch import nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

CLIP_POSITIONS = 16
"""Longest CLIP sequence of an embedded policy; the T5 limit is the one a user meets."""

_SIGNS = "-'\".,!?&:"
_RANDOM_VOCABULARY = [
    *("a", "an", "the", "red", "blue", "straw", "hat", "cat", "tree", "ball", "remove"),
    *("high-definition,", "perfect", "composition", "澳门", "open"),
]


def _byte_pair_merges(words: Counter[tuple[str, ...]]) -> list[tuple[str, str]]:
    """Byte-pair merges, most frequent pair first, until every word is one symbol.

    Ties go to the alphabetically first pair, so the same words always give the same tokenizer.
    """
    merges: list[tuple[str, str]] = []
    while True:
        pairs: Counter[tuple[str, str]] = Counter()
        for symbols, count in words.items():
            for pair in pairwise(symbols):
                pairs[pair] += count
        if not pairs:
            return merges
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        words = Counter({_merge(symbols, best): count for symbols, count in words.items()})


def _merge(symbols: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    merged: list[str] = []
    for symbol in symbols:
        if merged and (merged[-1], symbol) == pair:
            merged[-1] += symbol
        else:
            merged.append(symbol)
    return tuple(merged)


def _build_clip_tokenizer(words: list[str]) -> CLIPTokenizer:
    # All 256 bytes are symbols, so unknown text is spelt out; CLIP's unknown token is its
    # end token, which would silently cut the pooled embedding there.
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    symbols = alphabet + [letter + "</w>" for letter in alphabet]
    special = ["<|startoftext|>", "<|endoftext|>"]
    bare = CLIPTokenizer(
        vocab={symbol: index for index, symbol in enumerate(symbols + special)}, merges=[]
    ).backend_tokenizer
    pieces: Counter[tuple[str, ...]] = Counter()
    for word in words:
        for piece, _ in bare.pre_tokenizer.pre_tokenize_str(bare.normalizer.normalize_str(word)):
            pieces[(*piece[:-1], piece[-1] + "</w>")] += 1
    merges = _byte_pair_merges(pieces)
    symbols += list(dict.fromkeys(left + right for left, right in merges))
    vocabulary = {symbol: index for index, symbol in enumerate(symbols + special)}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=CLIP_POSITIONS)


def _build_t5_tokenizer(words: list[str], characters: str) -> T5Tokenizer:
    # Unigram picks the split with the largest sum of scores: a whole word beats its characters.
    # Without letters, an unknown word is one <unk>, and not a row of tokens that fills the prompt.
    single = "▁" + _SIGNS + characters if characters else _SIGNS
    pieces = [(piece, 0.0) for piece in ("<pad>", "</s>", "<unk>")]
    pieces += [("▁" + word, -2.0) for word in words]
    pieces += [(character, -10.0) for character in dict.fromkeys(single)]
    return T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=512)


def build_tokenizers(
    vocabulary_words: list[str], characters: str = ""
) -> tuple[CLIPTokenizer, T5Tokenizer]:
    """Tokenizers that know a closed vocabulary, built without any file.

    Every whitespace-separated word is one T5 token and one CLIP token (one for each run of
    letters, digit or run of signs). Another word is spelt in bytes by CLIP, and is one ``<unk>``
    to T5 unless it begins with a known one (``cats``). CLIP lower-cases; T5 tells cases apart.

    Args:
        vocabulary_words: words or phrases; order decides the ids, repetitions are ignored.
        characters: further single characters that T5 should know, as parts of words to paint.
    """
    words = list(dict.fromkeys(word for phrase in vocabulary_words for word in phrase.split()))
    return _build_clip_tokenizer(words), _build_t5_tokenizer(words, characters)


def build_text_encoders(
    clip_tokenizer: CLIPTokenizer, t5_tokenizer: T5Tokenizer, width: int = 128, layers: int = 1
) -> tuple[CLIPTextModel, T5EncoderModel]:
    """Untrained encoders whose pooled (CLIP) and token (T5) embeddings have ``width`` channels."""
    heads = max(1, width // 32)
    clip = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(clip_tokenizer),
            hidden_size=width,
            intermediate_size=2 * width,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            max_position_embeddings=clip_tokenizer.model_max_length,
            projection_dim=width,
            bos_token_id=clip_tokenizer.bos_token_id,
            eos_token_id=clip_tokenizer.eos_token_id,
            pad_token_id=clip_tokenizer.pad_token_id,
            # The stock 0.02 tells words apart too faintly for training from scratch.
            initializer_factor=10.0,
        )
    )
    t5 = T5EncoderModel(
        T5Config(
            vocab_size=len(t5_tokenizer),
            d_model=width,
            d_kv=width // heads,
            d_ff=2 * width,
            num_layers=layers,
            num_heads=heads,
            dropout_rate=0.0,
            feed_forward_proj="gated-gelu",
            pad_token_id=t5_tokenizer.pad_token_id,
            eos_token_id=t5_tokenizer.eos_token_id,
        )
    )
    return clip.eval(), t5.eval()


def build_transformer(
    *,
    latent_channels: int = 8,
    vae_factor: int = 4,
    layers: int = 2,
    single_layers: int = 4,
    heads: int = 6,
    head_dim: int = 32,
    joint: int = 128,
    pooled: int = 128,
) -> FluxTransformer2DModel:
    """An untrained FLUX transformer in the Fill channel layout, initialised to predict zero.

    Input channels are 4c packed latents, 4c packed masked-image latents and 4f² packed mask;
    output channels 4c. adaLN gates start at zero (Peebles & Xie 2023, section 3.2), which
    diffusers leaves out and training from scratch needs.
    """
    side = 2 * round(head_dim * 3 / 16)  # height and width; the rest, never rotated, is content
    transformer = FluxTransformer2DModel(
        patch_size=1,
        in_channels=8 * latent_channels + 4 * vae_factor**2,
        out_channels=4 * latent_channels,
        num_layers=layers,
        num_single_layers=single_layers,
        attention_head_dim=head_dim,
        num_attention_heads=heads,
        joint_attention_dim=joint,
        pooled_projection_dim=pooled,
        guidance_embeds=False,
        axes_dims_rope=(head_dim - 2 * side, side, side),
    )
    for layer in zero_initialised(transformer):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    return transformer


def zero_initialised(transformer: FluxTransformer2DModel) -> list[nn.Linear]:
    """The layers that adaLN-zero starts at zero: every modulation and the output projection."""
    double = [
        norm.linear
        for block in transformer.transformer_blocks
        for norm in (block.norm1, block.norm1_context)
    ]
    single = [block.norm.linear for block in transformer.single_transformer_blocks]
    return [*double, *single, transformer.norm_out.linear, transformer.proj_out]


def build_vae(
    *, latent_channels: int = 8, width: int = 32, blocks: int = 2, factor: int = 4
) -> AutoencoderTiny:
    """An untrained AutoencoderTiny; ``factor`` (a power of two) is pixels per latent side.

    Residual blocks start as the identity and every other convolution with Kaiming's variance;
    the decoder starts near mid-grey, so that no pixel begins saturated.
    """
    halvings = factor.bit_length() - 1
    vae = AutoencoderTiny(
        encoder_block_out_channels=(width,) * (halvings + 1),
        decoder_block_out_channels=(width,) * (halvings + 1),
        num_encoder_blocks=(1, *(blocks,) * halvings),
        num_decoder_blocks=(*(blocks,) * halvings, 1),
        latent_channels=latent_channels,
    )
    for module in vae.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    for module in vae.modules():
        if isinstance(module, AutoencoderTinyBlock):
            nn.init.zeros_(module.conv[4].weight)
            nn.init.zeros_(module.conv[4].bias)
    with torch.no_grad():
        vae.encoder.layers[-1].weight.mul_(0.5)
        vae.decoder.layers[-1].weight.mul_(0.1)
        vae.decoder.layers[-1].bias.fill_(0.5)
    return vae


def assemble(
    *,
    clip_tokenizer: CLIPTokenizer,
    t5_tokenizer: T5Tokenizer,
    clip: CLIPTextModel,
    t5: T5EncoderModel,
    transformer: FluxTransformer2DModel,
    vae: AutoencoderTiny,
) -> FluxFillPipeline:
    """The stock pipeline around the given parts, with an unshifted flow-matching schedule."""
    return FluxFillPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(shift=1.0, use_dynamic_shifting=False),
        vae=vae,
        text_encoder=clip,
        tokenizer=clip_tokenizer,
        text_encoder_2=t5,
        tokenizer_2=t5_tokenizer,
        transformer=transformer,
    )


def write_random_policy(folder: Path | str, *, seed: int, small: bool = True) -> Path:
    """Save a policy with random weights: it paints noise, but every code path runs on it.

    Args:
        folder: made if missing; receives the diffusers layout and ``onefill.json``.
        seed: the same seed writes the same weights.
        small: the smallest working sizes (32 px, about 0.1 M weights) in place of the embedded
            policy's own (64 px, about 5 M).
    """
    folder = Path(folder)
    clip_tokenizer, t5_tokenizer = build_tokenizers(_RANDOM_VOCABULARY)
    width = 16 if small else 128
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        clip, t5 = build_text_encoders(clip_tokenizer, t5_tokenizer, width=width)
        if small:
            vae = build_vae(latent_channels=4, width=8, blocks=1)
            transformer = build_transformer(
                latent_channels=4,
                layers=1,
                single_layers=1,
                heads=2,
                head_dim=16,
                joint=width,
                pooled=width,
            )
        else:
            vae, transformer = build_vae(), build_transformer()
        # A zero output would hide every mistake: no image would depend on any weight.
        for layer in zero_initialised(transformer):
            nn.init.normal_(layer.weight, std=0.5 * layer.in_features**-0.5)
            nn.init.normal_(layer.bias, std=0.1)
    pipeline = assemble(
        clip_tokenizer=clip_tokenizer,
        t5_tokenizer=t5_tokenizer,
        clip=clip,
        t5=t5,
        transformer=transformer,
        vae=vae,
    )
    pipeline.save_pretrained(folder)
    settings = {
        "size": 32 if small else 64,
        "steps": 4 if small else 16,
        "guidance": 3.0,
        "negative_prompt": "",
        "max_sequence_length": 8,
        "vocabulary": _RANDOM_VOCABULARY,
        "text_words": ["澳门", "open"],
        "facts": {"weights": f"random, seed {seed}"},
        "sources": [],
    }
    text = json.dumps(settings, ensure_ascii=False, indent=1) + "\n"
    (folder / "onefill.json").write_text(text, encoding="utf-8")
    return folder

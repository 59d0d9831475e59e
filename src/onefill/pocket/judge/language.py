"""Second stage of the judge's training: teach it to read the question, look, and compare.

The forward pass here equals the stock one (a test proves it) and is made for training: the text
before the first picture is read once for all pairs that share it, and the last layer is computed
only where the answer stands.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import apply_rotary_pos_emb

from onefill.judge.query import ANSWERS, build_messages


class Reader(nn.Module):
    """The judge's language model, reading pairs whose pictures the vision tower has seen.

    Args:
        model: a ``Qwen2_5_VLForConditionalGeneration``; its weights are used, not copied.
        tokenizer: with its chat template.
        tokens: merged tokens per picture, a square number.
    """

    suffix: Tensor
    positions: Tensor
    ends: Tensor

    def __init__(self, model: Any, tokenizer: Any, tokens: int) -> None:
        super().__init__()
        self.model = model
        self.tokenizer = tokenizer
        self.tokens = tokens
        self.answers = [tokenizer.encode(answer)[0] for answer in ANSWERS]
        self._prefixes: dict[str, list[int]] = {}
        suffix, positions = self._suffix()
        self.register_buffer("suffix", suffix, persistent=False)
        self.register_buffer("positions", positions, persistent=False)
        ends = torch.nonzero(suffix == model.config.vision_end_token_id)[:, 0]
        self.register_buffer("ends", ends, persistent=False)

    def _split(self, query: str) -> tuple[list[int], list[int]]:
        """Token ids up to the first picture, and from it on, every picture in full length."""
        text = self.tokenizer.apply_chat_template(
            build_messages(query), tokenize=False, add_generation_prompt=True
        )
        image = self.model.config.image_token_id
        ids: list[int] = []
        for token in self.tokenizer.encode(text):
            ids += [token] * (self.tokens if token == image else 1)
        start = ids.index(image)
        return ids[:start], ids[start:]

    def _suffix(self) -> tuple[Tensor, Tensor]:
        """Ids (S,) of all that follows the prefix, and positions (3, S) counted from its end."""
        prefix, rest = self._split("anything")
        ids = torch.tensor([prefix + rest])
        side = 2 * round(self.tokens**0.5)
        positions, _ = self.model.model.get_rope_index(
            ids,
            (ids == self.model.config.image_token_id).int(),
            torch.tensor([[1, side, side]] * 2),
            attention_mask=torch.ones_like(ids),
        )
        return torch.tensor(rest), positions[:, 0, len(prefix) :] - len(prefix)

    def forward(self, queries: list[str], features: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Answer a batch.

        Args:
            queries: B query texts.
            features: (B, 2, tokens, width), merged vision tokens of first and second picture.

        Returns:
            logit(Yes) - logit(No) (B,), and for every layer but the last the hidden states
            (B, 2, width) at the end of each picture.
        """
        text, device = self.model.model.language_model, features.device
        kinds = list(dict.fromkeys(queries))
        which = torch.tensor([kinds.index(query) for query in queries], device=device)
        for query in kinds:
            if query not in self._prefixes:
                self._prefixes[query] = self._split(query)[0]
        counts = [len(self._prefixes[query]) for query in kinds]
        lengths, longest = torch.tensor(counts, device=device), max(counts)
        ids = torch.zeros(len(kinds), longest, dtype=torch.long)
        for row, query in enumerate(kinds):
            ids[row, : counts[row]] = torch.tensor(self._prefixes[query])
        before = text.embed_tokens(ids.to(device))
        after = text.embed_tokens(self.suffix).repeat(len(queries), 1, 1)
        after[:, self.suffix == self.model.config.image_token_id] = features.flatten(1, 2).to(
            after.dtype
        )

        place = torch.arange(longest, device=device)
        real = place < lengths[:, None]
        before_mask = (place <= place[:, None]) & real[:, None]
        within = torch.ones(
            len(self.suffix), len(self.suffix), dtype=torch.bool, device=device
        ).tril()
        after_mask = torch.cat(
            [
                real[which][:, None].expand(-1, len(self.suffix), -1),
                within.expand(len(queries), -1, -1),
            ],
            -1,
        )
        before_turn = text.rotary_emb(before, place.expand(3, 1, -1))
        after_turn = text.rotary_emb(after, self.positions[:, None] + lengths[which][None, :, None])

        ends = []
        for layer in text.layers[:-1]:
            keys, values = _keys_values(layer, before, before_turn)
            own_keys, own_values = _keys_values(layer, after, after_turn)
            all_keys = torch.cat([keys[which], own_keys], 2)
            all_values = torch.cat([values[which], own_values], 2)
            before = _layer(layer, before, before_turn, keys, values, before_mask)
            after = _layer(layer, after, after_turn, all_keys, all_values, after_mask)
            ends.append(after[:, self.ends])
        layer = text.layers[-1]
        keys, values = _keys_values(layer, before, before_turn)
        own_keys, own_values = _keys_values(layer, after, after_turn)
        last_turn = (after_turn[0][:, -1:], after_turn[1][:, -1:])
        last = _layer(
            layer,
            after[:, -1:],
            last_turn,
            torch.cat([keys[which], own_keys], 2),
            torch.cat([values[which], own_values], 2),
            after_mask[:, -1:],
        )
        yes, no = (self.model.lm_head.weight[answer] for answer in self.answers)
        return text.norm(last[:, 0]) @ (yes - no), ends


Turn = tuple[Tensor, Tensor]


def _heads(attention: Any, projected: Tensor) -> Tensor:
    return projected.view(*projected.shape[:2], -1, attention.head_dim).transpose(1, 2)


def _keys_values(layer: Any, hidden: Tensor, turn: Turn) -> tuple[Tensor, Tensor]:
    attention, normal = layer.self_attn, layer.input_layernorm(hidden)
    keys = _heads(attention, attention.k_proj(normal))
    _, keys = apply_rotary_pos_emb(keys, keys, *turn)
    return keys, _heads(attention, attention.v_proj(normal))


def _layer(
    layer: Any, hidden: Tensor, turn: Turn, keys: Tensor, values: Tensor, mask: Tensor
) -> Tensor:
    """One decoder layer of ``hidden`` (B, T, width) over given keys and values, mask (B, T, K)."""
    attention = layer.self_attn
    query = _heads(attention, attention.q_proj(layer.input_layernorm(hidden)))
    query, _ = apply_rotary_pos_emb(query, query, *turn)
    mixed = functional.scaled_dot_product_attention(query, keys, values, mask[:, None])
    hidden = hidden + attention.o_proj(mixed.transpose(1, 2).reshape(hidden.shape))
    result: Tensor = hidden + layer.mlp(layer.post_attention_layernorm(hidden))
    return result

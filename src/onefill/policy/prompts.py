"""Prompts as a model reads them: embeddings, limits, and the words it does not know."""

from __future__ import annotations

from collections import OrderedDict
from difflib import get_close_matches

import torch
from diffusers import FluxFillPipeline
from torch import Tensor

from onefill.errors import BadInput
from onefill.policy.settings import PolicySettings

_CACHE_BYTES = 256 * 2**20


class PromptReader:
    """Encodes prompts with a pipeline's frozen text encoders, each distinct prompt once.

    Attributes:
        reads_anew: do not remember prompts from one call to the next; then the encoders are called
            equally often whatever is asked.
    """

    def __init__(self, pipeline: FluxFillPipeline, settings: PolicySettings) -> None:
        self._pipeline = pipeline
        self._settings = settings
        self.reads_anew = False
        self._cache: OrderedDict[str, tuple[Tensor, Tensor]] = OrderedDict()

    def encode(self, prompts: list[str]) -> tuple[Tensor, Tensor]:
        """Embeddings of ``prompts``: T5's [B, T, D] and CLIP's pooled [B, P].

        Raises:
            BadInput: a prompt has more tokens than the model reads.
        """
        prompts = [self._fold_case(prompt) for prompt in prompts]
        if self.reads_anew:
            self._cache.clear()
        missing = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self._cache]
        if missing:
            self._read(missing)
        rows = [self._cache[prompt] for prompt in prompts]
        for prompt in prompts:
            self._cache.move_to_end(prompt)
        self._forget()
        return torch.stack([embeds for embeds, _ in rows]), torch.stack([p for _, p in rows])

    def unknown_words(self, prompt: str) -> list[tuple[str, str]]:
        """Words outside a closed vocabulary, each with the known word spelt most like it."""
        known = self._known_words()
        if not known:
            return []
        words = self._fold_case(prompt).split()
        return [
            (word, get_close_matches(word, known, n=1, cutoff=0.0)[0])
            for word in dict.fromkeys(words)
            if not self._is_word(word)
        ]

    def _read(self, prompts: list[str]) -> None:
        for prompt in prompts:
            self._check_length(prompt)
        with torch.no_grad():
            embeds, pooled, _ = self._pipeline.encode_prompt(
                prompt=prompts,
                prompt_2=prompts,
                max_sequence_length=self._settings.max_sequence_length,
            )
        # Cloned rows: a slice would keep the whole batch alive after its neighbours are dropped.
        for row, prompt in enumerate(prompts):
            self._cache[prompt] = (embeds[row].clone(), pooled[row].clone())

    def _check_length(self, prompt: str) -> None:
        count = len(self._pipeline.tokenizer_2(prompt).input_ids) - 1
        limit = self._settings.max_prompt_tokens
        if count > limit:
            raise BadInput(
                f"--prompt: {count} tokens, and this model reads at most {limit}; "
                f"shorten '{prompt[:40]}{'…' if len(prompt) > 40 else ''}'"
            )

    def _forget(self) -> None:
        used = sum(e.nbytes + p.nbytes for e, p in self._cache.values())
        while used > _CACHE_BYTES and len(self._cache) > 1:
            _, (embeds, pooled) = self._cache.popitem(last=False)
            used -= embeds.nbytes + pooled.nbytes

    def _fold_case(self, prompt: str) -> str:
        # CLIP lower-cases by itself and a real T5 knows capitals; the T5 of a closed vocabulary
        # knows each word in one spelling only.
        if not self._known_words():
            return prompt
        return " ".join(
            word.lower() if not self._is_word(word) and self._is_word(word.lower()) else word
            for word in prompt.split()
        )

    def _is_word(self, word: str) -> bool:
        tokenizer = self._pipeline.tokenizer_2
        return tokenizer.convert_tokens_to_ids("▁" + word) != tokenizer.unk_token_id

    def _known_words(self) -> list[str]:
        phrases = (*self._settings.vocabulary, *self._settings.text_words)
        return list(dict.fromkeys(word for phrase in phrases for word in phrase.split()))

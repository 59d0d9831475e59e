"""A Qwen2.5-VL or Qwen3-VL asked one question about two images, answered by one token.

The answer is the logit of "Yes" minus the logit of "No" at the first answer position, so that
its sigmoid is the probability of "Yes" among the two answers (the paper's P("Yes"), read as the
two-way probability). It takes one prefill; only the last position meets the output head, and
only the head's two rows for the answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from transformers import (
    DynamicCache,
    Qwen2_5_VLForConditionalGeneration,
    Qwen3VLForConditionalGeneration,
)

from onefill.errors import BadInput, OnefillError
from onefill.judge.card import JudgeCard
from onefill.judge.preprocess import ImageRecipe, cut_patches, resize_images, resize_picture
from onefill.judge.processor import StillProcessor
from onefill.judge.query import ANSWERS, build_messages
from onefill.judge.vision import Grid, VisionLayouts


@dataclass(frozen=True)
class ImageFeatures:
    """What the vision tower made of a batch of images of one size.

    Attributes:
        tokens: (B, tokens of an image, width of the language model).
        grid: rows and columns of patches of each image.
        deepstack: what Qwen3-VL adds behind its first language layers, one tensor of the shape
            of ``tokens`` for each; empty for Qwen2.5-VL.
    """

    tokens: Tensor
    grid: Grid
    deepstack: tuple[Tensor, ...] = ()

    def __len__(self) -> int:
        return self.tokens.shape[0]

    def select(self, indices: Sequence[int]) -> ImageFeatures:
        """The features of these images, in this order; one may come several times."""
        chosen = list(indices)
        return ImageFeatures(
            self.tokens[chosen], self.grid, tuple(level[chosen] for level in self.deepstack)
        )

    def tile(self, times: int) -> ImageFeatures:
        """The whole batch ``times`` times over, for asking as many questions of every pair."""
        return self.select(list(range(len(self))) * times)

    @classmethod
    def join(cls, parts: Sequence[ImageFeatures]) -> ImageFeatures:
        """The images of several batches as one.

        Raises:
            ValueError: their grids differ.
        """
        grids = {part.grid for part in parts}
        if len(grids) != 1:
            raise ValueError(f"features of {len(grids)} grids in one batch; group them by grid")
        levels = zip(*(part.deepstack for part in parts), strict=True)
        return cls(
            torch.cat([part.tokens for part in parts]),
            grids.pop(),
            tuple(torch.cat(level) for level in levels),
        )


class Judge:
    """A vision-language model and its processor, as a judge of two images.

    Attributes:
        model: the stock model; its parameters are those that training a judge updates.
        processor: its tokenizer, chat template and image processor.
        recipe: what the image processor does, differentiably.
        calibration: "task/dimension" to temperature; one that is missing counts as 1.
        sees: what it was trained to be shown beside the two results: "source", "mask", or none.
        reads_whole: read every question from its beginning, though several begin alike; then its
            layers are called equally often whatever is asked.
    """

    def __init__(
        self,
        model: Qwen2_5_VLForConditionalGeneration | Qwen3VLForConditionalGeneration,
        processor: StillProcessor,
        card: JudgeCard | None = None,
    ) -> None:
        """Wrap a model.

        Raises:
            BadInput: its tokenizer has no single token for an answer, its chat template has no
                place for two images, or its image processor is of another kind.
        """
        self.model = model
        self.processor = processor
        self.recipe = ImageRecipe.of(processor.image_processor)
        self.calibration = dict(card.temperatures) if card else {}
        self.sees = card.sees if card else ()
        self.reads_whole = False
        self._answers = [_answer_token(processor, answer) for answer in ANSWERS]
        self._text_around_images = lru_cache(maxsize=4096)(self._tokenise)
        _, self._between, self._after = self._text_around_images("")
        self._positions = lru_cache(maxsize=256)(self._positions_from_first_image)
        self._layouts = VisionLayouts(model.model.visual)

    @property
    def device(self) -> torch.device:
        """Where images are brought: of a model spread over devices, where the first weights are."""
        weights = (weight.device for weight in self.model.parameters())
        return next((device for device in weights if device.type != "meta"), self.model.device)

    def encode_images(self, images: Tensor) -> ImageFeatures:
        """Look at a batch of images once, for any number of questions; differentiable.

        Args:
            images: (B, 3, H, W) in [0, 1], of any size.

        Raises:
            OnefillError: a value is no number; rounding would make a white pixel of infinity.
        """
        if not torch.isfinite(images).all():
            raise OnefillError("judge: an image holds values that are no numbers (NaN or infinity)")
        return self.encode_levels(resize_images(images.to(self.device), self.recipe))

    def encode_picture(self, picture: Image.Image) -> ImageFeatures:
        """Look at one picture, resized by Pillow exactly as the official processor does."""
        return self.encode_pictures([picture])

    def encode_pictures(self, pictures: Sequence[Image.Image]) -> ImageFeatures:
        """Look at pictures of one size together; see ``encode_picture``.

        Raises:
            ValueError: they would be looked at in different sizes.
        """
        sizes = {self.recipe.target_size(p.height, p.width) for p in pictures}
        if len(sizes) != 1:
            raise ValueError(f"pictures of {len(sizes)} sizes in one batch; group them by size")
        levels = torch.cat([resize_picture(picture, self.recipe) for picture in pictures])
        return self.encode_levels(levels.to(self.device))

    def encode_levels(self, levels: Tensor) -> ImageFeatures:
        """Look at images that have been resized already.

        Args:
            levels: (B, 3, H, W), what ``resize_images`` or ``resize_picture`` returns.
        """
        patches, grid = cut_patches(levels, self.recipe)
        images = levels.shape[0]
        seen = self.model.model.visual(
            patches,
            grid_thw=torch.tensor([[1, *grid]] * images),
            **self._layouts.tables(images, grid, self.device),
        )
        by_image = (images, -1, seen.pooler_output.shape[-1])
        deepstack = getattr(seen, "deepstack_features", None) or ()
        return ImageFeatures(
            seen.pooler_output.view(by_image),
            grid,
            tuple(level.view(by_image) for level in deepstack),
        )

    def logits_from_features(
        self, first: ImageFeatures, second: ImageFeatures, queries: Sequence[str]
    ) -> Tensor:
        """One answer for each row of ``first`` and ``second``.

        Args:
            first: features of B images shown as image 1.
            second: features of B images shown as image 2.
            queries: B texts of ``onefill.judge.query.build_query``.

        Returns:
            (B,) logit("Yes") - logit("No"), float32, with gradient.

        Raises:
            BadInput: a query is longer than the judge can read.
            OnefillError: an answer is no number.
        """
        return self._answer(self._read(first, second, queries).last_hidden_state[:, -1])

    def logits_and_ends(
        self, first: ImageFeatures, second: ImageFeatures, queries: Sequence[str]
    ) -> tuple[Tensor, Tensor]:
        """``logits_from_features``, and what the language model makes of each image on its way.

        Returns:
            The logits (B,), and the hidden states (layers - 1, B, 2, width) behind every layer
            but the last, where image 1 and image 2 have just been read.
        """
        read = self._read(first, second, queries, output_hidden_states=True)
        end = -len(self._after)
        ends = (end - second.tokens.shape[1] - len(self._between), end)
        states = torch.stack([state[:, ends] for state in read.hidden_states[1:-1]])
        return self._answer(read.last_hidden_state[:, -1]), states

    def _answer(self, hidden: Tensor) -> Tensor:
        """logit("Yes") - logit("No") (B,) of the last hidden states (B, width)."""
        head = self.model.lm_head
        if head.weight.is_meta:  # kept on the disk or in main memory: its hook brings it
            yes, no = head(hidden)[:, self._answers].float().unbind(dim=1)
            logits = yes - no
        else:
            yes, no = head.weight[self._answers].to(hidden.device).float()
            logits = hidden.float() @ (yes - no)
        if not torch.isfinite(logits).all():
            raise OnefillError(
                "judge: an answer is no number (NaN or infinity); its weights are damaged, or "
                "overflow in this dtype: try --dtype float32"
            )
        return logits

    def _read(
        self, first: ImageFeatures, second: ImageFeatures, queries: Sequence[str], **wanted: bool
    ) -> Any:
        """The language model's output over image 1 and all that follows, perhaps with the query.

        All that stands before image 1 is the query. Rows that ask the same share it: the language
        model is causal, so it reads each distinct query once, and the rows go on from there.

        Args:
            first: features of B images shown as image 1.
            second: and as image 2.
            queries: B texts.
            wanted: what else the language model is to return, as it calls it.
        """
        if not len(first) == len(second) == len(queries):
            raise ValueError(f"{len(first)} and {len(second)} images, {len(queries)} queries")
        texts = [self._text_around_images(query)[0] for query in queries]
        distinct = list(dict.fromkeys(texts))
        asks = torch.tensor([distinct.index(text) for text in texts], device=self.device)
        longest = max(len(text) for text in distinct)
        lengths = torch.tensor([len(text) for text in distinct], device=self.device)
        pads = longest - lengths
        # Padding stands on the left, so that every row goes on at the same place.
        pad_token = self.processor.tokenizer.pad_token_id
        ids = torch.tensor(
            [[pad_token] * (longest - len(text)) + [*text] for text in distinct], device=self.device
        )
        embed = self.model.get_input_embeddings()
        text_embeddings = embed(ids)
        places = torch.arange(longest, device=self.device)
        text_positions = (places - pads[:, None]).clamp(min=0).expand(3, -1, -1)
        text_attended = places >= pads[:, None]

        embeddings = self._embed_rest(first, second, embed)
        rest = embeddings.shape[1]
        self._check_length(longest + rest)
        positions = self._positions(first.grid, second.grid)[:, None] + lengths[asks, None]
        attended = None
        if len(set(map(len, distinct))) > 1:
            attended = torch.cat(
                [text_attended[asks], text_attended.new_ones(len(texts), rest)], dim=1
            )
        language_model = self.model.model.language_model
        before, cache = 0, None
        # Checkpointing computes a layer's keys anew in the backward pass, and keeps none.
        reads_whole = self.reads_whole or language_model.gradient_checkpointing
        if len(distinct) < len(texts) and not reads_whole:
            cache = DynamicCache(config=self.model.config.text_config)
            language_model(
                inputs_embeds=text_embeddings,
                attention_mask=None if attended is None else text_attended,
                position_ids=text_positions,
                past_key_values=cache,
                use_cache=True,
            )
            cache.reorder_cache(asks)
        else:
            before = longest
            embeddings = torch.cat([text_embeddings[asks], embeddings], dim=1)
            positions = torch.cat([text_positions[:, asks], positions], dim=2)
        return language_model(
            inputs_embeds=embeddings,
            attention_mask=attended,
            position_ids=positions,
            past_key_values=cache,
            use_cache=cache is not None,
            **self._deepstack(first, second, before),
            **wanted,
        )

    def _embed_rest(self, first: ImageFeatures, second: ImageFeatures, embed: nn.Module) -> Tensor:
        """Image 1 and all that follows (B, length, width)."""
        between, after = (
            embed(torch.tensor([text], device=self.device)).expand(len(first), -1, -1)
            for text in (self._between, self._after)
        )
        seen = (features.tokens.to(between) for features in (first, second))
        return torch.cat([next(seen), between, next(seen), after], dim=1)

    def _deepstack(
        self, first: ImageFeatures, second: ImageFeatures, before: int
    ) -> dict[str, Any]:
        """Arguments by which Qwen3-VL's language model is given the images' further features.

        Args:
            first: features of image 1.
            second: features of image 2.
            before: tokens of a row that stand before image 1.
        """
        if not first.deepstack:
            return {}
        sizes = (before, first.tokens.shape[1], len(self._between), second.tokens.shape[1])
        is_image = [False] * sizes[0] + [True] * sizes[1] + [False] * sizes[2] + [True] * sizes[3]
        is_image += [False] * len(self._after)
        levels = zip(first.deepstack, second.deepstack, strict=True)
        return {
            "visual_pos_masks": torch.tensor([is_image] * len(first), device=self.device),
            "deepstack_visual_embeds": [torch.cat(both, dim=1).flatten(0, 1) for both in levels],
        }

    def logits(self, first: Tensor, second: Tensor, queries: Sequence[str]) -> Tensor:
        """Ask about pairs of images.

        Args:
            first: (B, 3, H, W) in [0, 1], shown as image 1.
            second: (B, 3, H', W') in [0, 1], shown as image 2.
            queries: B texts of ``onefill.judge.query.build_query``.

        Returns:
            (B,) logit("Yes") - logit("No"), with gradient to both images.
        """
        return self.logits_from_features(
            self.encode_images(first), self.encode_images(second), queries
        )

    def prob_first_better(self, first: Tensor, second: Tensor, queries: Sequence[str]) -> Tensor:
        """P("Yes" | first, second, query), the paper's reward; see ``logits`` for the shapes.

        Neither calibrated nor averaged over the two orders: training asks as in the paper, the
        policy's image first.
        """
        return torch.sigmoid(self.logits(first, second, queries))

    def _tokenise(self, query: str) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
        """Token ids of the conversation before, between and after the two images."""
        text = self.processor.apply_chat_template(
            build_messages(query), tokenize=False, add_generation_prompt=True
        )
        ids = tuple(self.processor.tokenizer(text)["input_ids"])
        image_token = self.model.config.image_token_id
        places = [index for index, token in enumerate(ids) if token == image_token]
        if len(places) != len(build_messages("")[0]["content"]) // 2:
            raise BadInput(
                f"chat template: it has {len(places)} places for the two images of a question; "
                "choose a --judge of the Qwen-VL family with its own chat template"
            )
        first, second = places
        return ids[:first], ids[first + 1 : second], ids[second + 1 :]

    def _positions_from_first_image(self, first: Grid, second: Grid) -> Tensor:
        """Rotary positions (3, length) over time, height and width, counted from image 1 on."""
        merged = self.recipe.merge_size**2
        kinds = [1] * (first[0] * first[1] // merged) + [0] * len(self._between)
        kinds += [1] * (second[0] * second[1] // merged) + [0] * len(self._after)
        positions, _ = self.model.model.get_rope_index(
            torch.zeros(1, len(kinds), dtype=torch.long),
            mm_token_type_ids=torch.tensor([kinds]),
            image_grid_thw=torch.tensor([[1, *first], [1, *second]]),
        )
        return positions[:, 0].to(self.device)

    def _check_length(self, length: int) -> None:
        limit = self.model.config.text_config.max_position_embeddings
        if length > limit:
            raise BadInput(
                f"--prompt: the question is {length} tokens long and the judge reads {limit}; "
                "shorten the prompt"
            )


def _answer_token(processor: StillProcessor, answer: str) -> int:
    ids = processor.tokenizer.encode(answer, add_special_tokens=False)
    if len(ids) != 1:
        raise BadInput(
            f"tokenizer: {answer!r} is {len(ids)} tokens, and a judge must answer with one; "
            "choose a --judge of the Qwen2.5-VL family with its own tokenizer"
        )
    return int(ids[0])

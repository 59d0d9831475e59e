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

import torch
from PIL import Image
from torch import Tensor
from transformers import Qwen2_5_VLForConditionalGeneration, Qwen3VLForConditionalGeneration

from onefill.errors import BadInput, OnefillError
from onefill.judge.card import JudgeCard
from onefill.judge.preprocess import ImageRecipe, cut_patches, resize_images, resize_picture
from onefill.judge.processor import StillProcessor
from onefill.judge.query import ANSWERS, build_messages
from onefill.judge.vision import Grid, VisionLayouts

_ROWS_ON_CPU = 8
"""Questions that pass the language model together on a CPU: what they need at once fits its cache,
and rows of one length stand together and need no padding. A fifth to a third of the time less."""


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
        self._answers = [_answer_token(processor, answer) for answer in ANSWERS]
        self._text_around_images = lru_cache(maxsize=4096)(self._tokenise)
        self._tokens_between = len(self._text_around_images("")[1])
        self._positions = lru_cache(maxsize=256)(self._positions_of_layout)
        self._layouts = VisionLayouts(model.model.visual)

    @property
    def device(self) -> torch.device:
        """Where the model is, and images are brought."""
        return self.model.device

    def encode_images(self, images: Tensor) -> ImageFeatures:
        """Look at a batch of images once, for any number of questions; differentiable.

        Args:
            images: (B, 3, H, W) in [0, 1], of any size.
        """
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

        Raises:
            OnefillError: a value is not finite.
        """
        if not torch.isfinite(levels).all():
            raise OnefillError("judge: an image holds values that are no numbers (NaN or infinity)")
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
        if not len(first) == len(second) == len(queries):
            raise ValueError(f"{len(first)} and {len(second)} images, {len(queries)} queries")
        image_token = self.model.config.image_token_id
        sizes = (first.tokens.shape[1], second.tokens.shape[1])
        rows: list[list[int]] = []
        for query in queries:
            before, between, after = self._text_around_images(query)
            images = ([image_token] * size for size in sizes)
            rows.append([*before, *next(images), *between, *next(images), *after])
        self._check_length(max(len(row) for row in rows))
        at_once = _ROWS_ON_CPU if self.device.type == "cpu" else len(rows)
        order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
        answers = []
        for start in range(0, len(rows), at_once):
            some = order[start : start + at_once]
            answers.append(
                self._answer(first.select(some), second.select(some), [rows[i] for i in some])
            )
        places = torch.tensor(order, device=answers[0].device).argsort()
        logits = torch.cat(answers)[places]
        if not torch.isfinite(logits).all():
            raise OnefillError(
                "judge: an answer is no number (NaN or infinity); its weights are damaged, or "
                "overflow in this dtype: try --dtype float32"
            )
        return logits

    def _answer(
        self, first: ImageFeatures, second: ImageFeatures, rows: Sequence[list[int]]
    ) -> Tensor:
        """Answers (B,) to B rows of token ids with places for the two images' tokens."""
        longest = max(len(row) for row in rows)
        # Padding stands on the left: the answer is read at the last position of every row.
        pads = [longest - len(row) for row in rows]
        pad_token = self.processor.tokenizer.pad_token_id
        ids = torch.tensor(
            [[pad_token] * pad + row for pad, row in zip(pads, rows, strict=True)],
            device=self.device,
        )
        is_image = ids == self.model.config.image_token_id
        positions = ids.new_zeros(3, *ids.shape)
        for index, (pad, row) in enumerate(zip(pads, rows, strict=True)):
            place = row.index(self.model.config.image_token_id)
            positions[:, index, pad:] = self._positions(len(row), place, first.grid, second.grid)
        attended = None
        if any(pads):
            attended = torch.arange(longest, device=self.device) >= ids.new_tensor(pads)[:, None]
        embeddings = self.model.get_input_embeddings()(ids)
        seen = torch.cat([first.tokens, second.tokens], dim=1).to(embeddings)
        embeddings = embeddings.masked_scatter(is_image.unsqueeze(-1), seen)
        deepstack = {}
        if first.deepstack:
            levels = zip(first.deepstack, second.deepstack, strict=True)
            deepstack = {
                "visual_pos_masks": is_image,
                "deepstack_visual_embeds": [
                    torch.cat(both, dim=1).flatten(0, 1) for both in levels
                ],
            }
        hidden = self.model.model.language_model(
            inputs_embeds=embeddings,
            attention_mask=attended,
            position_ids=positions,
            use_cache=False,
            **deepstack,
        ).last_hidden_state[:, -1]
        head = self.model.lm_head
        if head.weight.is_meta:  # kept on the disk or in main memory: its hook brings it
            yes, no = head(hidden)[:, self._answers].float().unbind(dim=1)
            return yes - no
        yes, no = head.weight[self._answers].float()
        return hidden.float() @ (yes - no).to(hidden.device)

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

    def _tokenise(self, query: str) -> tuple[list[int], list[int], list[int]]:
        """Token ids of the conversation before, between and after the two images."""
        text = self.processor.apply_chat_template(
            build_messages(query), tokenize=False, add_generation_prompt=True
        )
        ids = self.processor.tokenizer(text)["input_ids"]
        image_token = self.model.config.image_token_id
        places = [index for index, token in enumerate(ids) if token == image_token]
        if len(places) != len(build_messages("")[0]["content"]) // 2:
            raise BadInput(
                f"chat template: it has {len(places)} places for the two images of a question; "
                "choose a --judge of the Qwen2.5-VL family with its own chat template"
            )
        first, second = places
        return ids[:first], ids[first + 1 : second], ids[second + 1 :]

    def _positions_of_layout(self, length: int, place: int, first: Grid, second: Grid) -> Tensor:
        """Rotary positions (3, length) over time, height and width of one kind of row.

        Args:
            length: tokens of the row.
            place: index of the first token of image 1.
            first: rows and columns of patches of image 1.
            second: and of image 2.
        """
        merged = self.recipe.merge_size**2
        ends = [place + first[0] * first[1] // merged]
        ends.append(ends[0] + self._tokens_between + second[0] * second[1] // merged)
        kinds = torch.zeros(1, length, dtype=torch.int)
        kinds[0, place : ends[0]] = kinds[0, ends[0] + self._tokens_between : ends[1]] = 1
        positions, _ = self.model.model.get_rope_index(
            torch.zeros(1, length, dtype=torch.long),
            mm_token_type_ids=kinds,
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

"""A Qwen2.5-VL asked one question about two images, answered by one token.

The answer is the logit of "Yes" minus the logit of "No" at the first answer position, so that
its sigmoid is the probability of "Yes" among the two answers (the paper's P("Yes"), read as the
two-way probability). It takes one prefill; only the last position meets the output head, and
only the head's two rows for the answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import linear
from transformers import Qwen2_5_VLForConditionalGeneration

from onefill.errors import BadInput
from onefill.judge.card import JudgeCard
from onefill.judge.preprocess import ImageRecipe, cut_patches, resize_images, resize_picture
from onefill.judge.processor import StillProcessor
from onefill.judge.query import ANSWERS, build_messages

Grid = tuple[int, int]
"""Rows and columns of patches."""


@dataclass(frozen=True)
class ImageFeatures:
    """What the vision tower made of a batch of images of one size.

    Attributes:
        tokens: (B, tokens of an image, width of the language model).
        grid: rows and columns of patches of each image.
    """

    tokens: Tensor
    grid: Grid

    def __len__(self) -> int:
        return self.tokens.shape[0]

    def select(self, indices: Sequence[int]) -> ImageFeatures:
        """The features of these images, in this order; one may come several times."""
        return ImageFeatures(self.tokens[list(indices)], self.grid)

    def tile(self, times: int) -> ImageFeatures:
        """The whole batch ``times`` times over, for asking as many questions of every pair."""
        return ImageFeatures(self.tokens.repeat(times, 1, 1), self.grid)

    @classmethod
    def join(cls, parts: Sequence[ImageFeatures]) -> ImageFeatures:
        """The images of several batches as one.

        Raises:
            ValueError: their grids differ.
        """
        grids = {part.grid for part in parts}
        if len(grids) != 1:
            raise ValueError(f"features of {len(grids)} grids in one batch; group them by grid")
        return cls(torch.cat([part.tokens for part in parts]), grids.pop())


class PatchProjection(nn.Conv3d):
    """A Conv3d whose kernel covers its whole input, computed as the matrix product it is.

    The patch embedding of Qwen2.5-VL is one; same parameters, same values, a quarter of the
    vision tower's time less with gradient.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(N, in, t, p, p) to (N, out, 1, 1, 1)."""
        flat = linear(input.flatten(1), self.weight.flatten(1), self.bias)
        return flat.view(*flat.shape, 1, 1, 1)

    @classmethod
    def in_place_of(cls, conv: nn.Conv3d) -> PatchProjection:
        """The same convolution, sharing its parameters."""
        kernel = cast(tuple[int, int, int], conv.kernel_size)
        projection = cls(conv.in_channels, conv.out_channels, kernel, kernel, device="meta")
        projection.weight, projection.bias = conv.weight, conv.bias
        return projection


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
        model: Qwen2_5_VLForConditionalGeneration,
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
        self._text_around_images("")
        self._positions: dict[tuple[int, ...], Tensor] = {}
        embedding = model.model.visual.patch_embed
        embedding.proj = PatchProjection.in_place_of(embedding.proj)

    @property
    def device(self) -> torch.device:
        """Where the model is, and images are brought."""
        return self.model.device

    def encode_images(self, images: Tensor) -> ImageFeatures:
        """Look at a batch of images once, for any number of questions; differentiable.

        Args:
            images: (B, 3, H, W) in [0, 1], of any size.
        """
        return self._encode_levels(resize_images(images.to(self.device), self.recipe))

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
        return self._encode_levels(levels.to(self.device))

    def _encode_levels(self, levels: Tensor) -> ImageFeatures:
        patches, grid = cut_patches(levels, self.recipe)
        images = levels.shape[0]
        grids = torch.tensor([[1, *grid]], device=self.device).expand(images, 3)
        tokens = self.model.model.visual(patches, grid_thw=grids).pooler_output
        return ImageFeatures(tokens.view(images, -1, tokens.shape[-1]), grid)

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
        longest = max(len(row) for row in rows)
        self._check_length(longest)
        # Padding stands on the left: the answer is read at the last position of every row.
        pads = [longest - len(row) for row in rows]
        pad_token = self.processor.tokenizer.pad_token_id
        ids = torch.tensor(
            [[pad_token] * pad + row for pad, row in zip(pads, rows, strict=True)],
            device=self.device,
        )
        positions = ids.new_zeros(3, *ids.shape)
        for index, (pad, row) in enumerate(zip(pads, rows, strict=True)):
            positions[:, index, pad:] = self._positions_of(row, first.grid, second.grid)
        attended = None
        if any(pads):
            attended = torch.arange(longest, device=self.device) >= ids.new_tensor(pads)[:, None]
        embeddings = self.model.get_input_embeddings()(ids)
        seen = torch.cat([first.tokens, second.tokens], dim=1).to(embeddings.dtype)
        embeddings = embeddings.masked_scatter((ids == image_token).unsqueeze(-1), seen)
        hidden = self.model.model.language_model(
            inputs_embeds=embeddings,
            attention_mask=attended,
            position_ids=positions,
            use_cache=False,
        ).last_hidden_state[:, -1]
        yes, no = self.model.lm_head.weight[self._answers].float()
        return hidden.float() @ (yes - no)

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

    def _positions_of(self, row: list[int], first: Grid, second: Grid) -> Tensor:
        """Rotary positions (3, length) over time, height and width; one layout is made once."""
        image_token = self.model.config.image_token_id
        layout = (len(row), row.index(image_token), *first, *second)
        if layout not in self._positions:
            ids = torch.tensor([row], device=self.device)
            grids = ids.new_tensor([[1, *first], [1, *second]])
            positions, _ = self.model.model.get_rope_index(
                ids, mm_token_type_ids=(ids == image_token).int(), image_grid_thw=grids
            )
            self._positions[layout] = positions[:, 0]
        return self._positions[layout]

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

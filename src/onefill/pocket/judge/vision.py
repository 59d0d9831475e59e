"""First stage of the judge's training: teach its eyes.

A language model of this size cannot teach a vision tower: through it the answer stays at chance
for many thousands of pairs. So the tower learns first, from heads that are thrown away: a linear
score per dimension and the name of what is shown, both read off the mean of the picture's
tokens, the very tokens that the language model will read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import apply_rotary_pos_emb_vision

from onefill.judge.preprocess import ImageRecipe, cut_patches
from onefill.pocket.contests.cache import TASKS, Contests
from onefill.pocket.contests.pairs import ALIGNMENT, DIMENSIONS, GAP, GRID, LABELS, NOTHING, UNCLEAR

VISION_WEIGHTS = {"damage": 0.3, "names": 0.3, "things": 0.3}
"""Of the vision losses; those of comparisons and of where the damage is weigh 1."""

_BACKGROUND = 0.3
"""Weight of a cell that shows nothing, beside one of a cell that shows the thing."""


class Tower(nn.Module):
    """The judge's vision tower with a quicker, equal forward pass for pictures of one size.

    The stock one loops over the pictures of a batch; here they attend side by side.
    """

    def __init__(self, visual: Any, recipe: ImageRecipe, side: int) -> None:
        super().__init__()
        self.visual = visual
        self.recipe = recipe
        grid = side // recipe.patch_size
        with torch.no_grad():
            merged = torch.arange(grid // 2)
            rows = (merged[:, None, None, None] * 2 + torch.arange(2)[None, None, :, None]).expand(
                grid // 2, grid // 2, 2, 2
            )
            columns = rows.permute(1, 0, 3, 2)
            positions = torch.stack([rows.reshape(-1), columns.reshape(-1)], -1)
            cosine, sine = visual.rotary_pos_emb(torch.zeros(1), positions)
        self.register_buffer("cosine", cosine, persistent=False)
        self.register_buffer("sine", sine, persistent=False)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        device: torch.device = self.visual.patch_embed.proj.weight.device
        return device

    def forward(self, levels: Tensor) -> Tensor:
        """Grey levels (B, 3, side, side) to merged tokens (B, tokens, width of the text model)."""
        count = len(levels)
        patches, _ = cut_patches(levels, self.recipe)
        kernel = self.visual.patch_embed.proj.weight
        width = kernel.shape[0]
        # A still picture repeats along time: the kernel's slices can be added up beforehand.
        stills = patches.view(len(patches), 3, kernel.shape[2], -1)[:, :, 0].reshape(
            len(patches), -1
        )
        hidden = functional.linear(stills, kernel.sum(2).reshape(width, -1)).view(count, -1, width)
        for block in self.visual.blocks:
            hidden = hidden + self._attend(block.attn, block.norm1(hidden))
            hidden = hidden + block.mlp(block.norm2(hidden))
        merged: Tensor = self.visual.merger(hidden)
        return merged.view(count, -1, merged.shape[-1])

    def _attend(self, attention: Any, hidden: Tensor) -> Tensor:
        count, tokens, width = hidden.shape
        split = attention.qkv(hidden).view(count, tokens, 3, attention.num_heads, -1)
        query, key, value = split.unbind(2)
        query, key = apply_rotary_pos_emb_vision(query, key, self.cosine, self.sine)
        mixed = functional.scaled_dot_product_attention(
            query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)
        )
        return attention.proj(mixed.transpose(1, 2).reshape(count, tokens, width))


class VisionHeads(nn.Module):
    """Heads on the mean of a picture's tokens: damage in each dimension, and what is shown."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.score = nn.Linear(width, len(DIMENSIONS))
        self.label = nn.Linear(width, len(LABELS))

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (B, N, width) to quality scores (B, 5) and label logits (B, 34)."""
        mean = functional.rms_norm(tokens, tokens.shape[-1:]).mean(1)
        return self.score(mean), self.label(mean)


class CellHead(nn.Module):
    """A head on every token: where the damage is, and where the thing.

    This is what teaches sight. It says for every cell what the other heads say once a picture,
    and brought a tower in four minutes to where it was after thirteen without.

    Args:
        width: of a token.
        tokens: of a picture, a square number that is at most ``GRID`` squared.
    """

    def __init__(self, width: int, tokens: int) -> None:
        super().__init__()
        self.side = GRID // round(tokens**0.5)
        self.read = nn.Linear(width, self.side**2 * (len(DIMENSIONS) + len(LABELS)))

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (B, N, width) to damage (B, G, G, 5) and labels (B, G, G, 34), as logits."""
        read = self.read(functional.rms_norm(tokens, tokens.shape[-1:]))
        across = GRID // self.side
        split = read.view(len(tokens), across, across, self.side, self.side, -1)
        grid = split.transpose(2, 3).reshape(len(tokens), GRID, GRID, -1)
        return grid[..., : len(DIMENSIONS)], grid[..., len(DIMENSIONS) :]


def contest_batch(
    contests: Contests, chosen: NDArray[np.intp], rng: np.random.Generator
) -> dict[str, Tensor]:
    """Contests as tensors, some mirrored: levels (B, 4, 3, 64, 64) and their annotations."""
    pictures, harm = contests.pictures[chosen], contests.harm[chosen]
    covered = contests.covered[chosen]
    # Mirrored letters are other letters.
    flip = (rng.random(len(chosen)) < 0.5) & (contests.tasks[chosen] != TASKS.index("text"))
    pictures[flip] = pictures[flip, :, :, ::-1]
    harm[flip], covered[flip] = harm[flip, ..., ::-1], covered[flip, ..., ::-1]
    return {
        "pictures": torch.from_numpy(pictures).permute(0, 1, 4, 2, 3).float(),
        "levels": torch.from_numpy(contests.levels[chosen]),
        "shown": torch.from_numpy(contests.shown[chosen]),
        "words": torch.from_numpy(contests.words[chosen]),
        "harm": torch.from_numpy(harm).float(),
        "covered": torch.from_numpy(covered),
    }


def vary(pictures: Tensor, rng: np.random.Generator) -> Tensor:
    """Contests (B, 4, 3, H, W) under other light, the same for all of a contest, with grain.

    There are few photographs; in other light they are a little less few.
    """
    count = len(pictures)
    gain = torch.from_numpy(rng.uniform(0.85, 1.15, (count, 1, 3, 1, 1))).float()
    lift = torch.from_numpy(rng.uniform(-15, 15, (count, 1, 1, 1, 1))).float()
    grain = torch.from_numpy(rng.uniform(0, 4, (count, 1, 1, 1, 1))).float()
    noise = torch.from_numpy(rng.standard_normal(pictures.shape, np.float32))
    return (pictures * gain + lift + noise * grain).clamp(0, 255)


def quality(scores: Tensor, labels: Tensor, words: Tensor) -> Tensor:
    """Scores (B, V, 5), labels (B, V, L) and words (B,) to quality (B, V, 5), higher is better.

    Quality in text alignment is how much more the picture shows the word than anything else.
    """
    known = functional.log_softmax(labels, -1)
    asked = words[:, None, None].expand(-1, labels.shape[1], 1)
    said = known.gather(-1, asked)[..., 0]
    column = DIMENSIONS.index(ALIGNMENT)
    columns = list(scores.unbind(-1))
    columns[column] = columns[column] + said
    return torch.stack(columns, -1)


def vision_loss(
    tokens: Tensor, heads: VisionHeads, cells: CellHead, batch: dict[str, Tensor]
) -> dict[str, Tensor]:
    """The losses of a batch of contests: comparisons, absolute damage, names; and by cell.

    Args:
        tokens: (B, 4, N, width).
        heads: of whole pictures.
        cells: of single tokens.
        batch: from ``contest_batch``.
    """
    scores, labels = heads(tokens.flatten(0, 1))
    count = tokens.shape[:2]
    scores, labels = scores.view(*count, -1), labels.view(*count, -1)
    compared = quality(scores, labels, batch["words"])
    levels = batch["levels"]
    first, second = torch.triu_indices(count[1], count[1], 1)
    gap = levels[:, second] - levels[:, first]
    margin = compared[:, first] - compared[:, second]
    clear = gap.abs() >= GAP - 1e-4
    target = (gap > 0).float()
    shown = batch["shown"]
    return {
        "pairs": functional.binary_cross_entropy_with_logits(margin[clear], target[clear]),
        "damage": functional.binary_cross_entropy_with_logits(scores, 1 - levels),
        "names": functional.cross_entropy(
            labels.flatten(0, 1), shown.flatten(), ignore_index=UNCLEAR
        ),
        **_cell_losses(tokens, cells, batch),
    }


def _cell_losses(tokens: Tensor, cells: CellHead, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Where the damage is, and what each cell shows; a cell of background counts for less."""
    damage, labels = cells(tokens.flatten(0, 1))
    harm = batch["harm"].flatten(0, 1).permute(0, 2, 3, 1)
    covered = batch["covered"].flatten(0, 1)
    shown = batch["shown"].flatten()[:, None, None].expand_as(covered)
    target = torch.where(covered, shown, NOTHING).flatten()
    losses = functional.cross_entropy(
        labels.flatten(0, 2), target, ignore_index=UNCLEAR, reduction="none"
    )
    weight = torch.where(covered.flatten(), 1.0, _BACKGROUND) * (target != UNCLEAR)
    return {
        "where": functional.binary_cross_entropy_with_logits(damage, harm),
        "things": (losses * weight).sum() / weight.sum().clamp(min=1),
    }


@torch.no_grad()
def vision_accuracy(
    tower: Callable[[Tensor], Tensor], heads: VisionHeads, contests: Contests, size: int = 64
) -> dict[str, float]:
    """Share of clear comparisons that the heads decide rightly, per task/dimension."""
    right: dict[str, list[float]] = {}
    rng = np.random.default_rng(0)
    for start in range(0, len(contests), size):
        chosen = np.arange(start, min(start + size, len(contests)))
        drawn = contest_batch(contests, chosen, rng)
        batch = {name: value.to(heads.score.weight.device) for name, value in drawn.items()}
        tokens = tower(batch["pictures"].flatten(0, 1))
        scores, labels = heads(tokens)
        shape = batch["levels"].shape[:2]
        compared = quality(scores.view(*shape, -1), labels.view(*shape, -1), batch["words"])
        first, second = torch.triu_indices(shape[1], shape[1], 1)
        gap = batch["levels"][:, second] - batch["levels"][:, first]
        agreed = ((compared[:, first] > compared[:, second]) == (gap > 0)).float()
        clear = gap.abs() >= GAP - 1e-4
        for row, task in enumerate(contests.tasks[chosen]):
            for column, dimension in enumerate(DIMENSIONS):
                seen = agreed[row, :, column][clear[row, :, column]]
                right.setdefault(f"{TASKS[task]}/{dimension}", []).extend(seen.tolist())
        named = (labels.argmax(-1) == batch["shown"].flatten())[batch["shown"].flatten() >= 0]
        right.setdefault("names", []).extend(named.float().tolist())
    return {cell: float(np.mean(values)) for cell, values in sorted(right.items()) if values}

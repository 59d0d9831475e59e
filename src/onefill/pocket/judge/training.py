"""Stage "judge": a Qwen2.5-VL judge from nothing, in four parts.

1. See: the vision tower learns from heads of its own.
2. Read: the language model learns to find in the tower's tokens what a question asks for.
3. Judge: everything learns together, by the answer's loss (paper, Eq. 3) on every pair in both
   orders; what is said of the two is pulled together.
4. Withstand: the same, on pictures that are moved against the judge as well, by one step and
   by many.

The heads are thrown away, and a judge that began from another's weights ends between where it
began, where part 4 began, and where that ended.
What is saved is the stock model, its processor and a card with the accuracy and the temperature of
every task and dimension.
"""

from __future__ import annotations

import copy
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderTiny
from numpy.typing import NDArray
from torch import Tensor, nn

from onefill.judge.preprocess import ImageRecipe
from onefill.pocket import embedded
from onefill.pocket.contests.cache import Contests, join, load_contests
from onefill.pocket.contests.painted import load_painted
from onefill.pocket.judge.architecture import (
    TowerSize,
    build_image_processor,
    build_judge_model,
    build_judge_tokenizer,
    judge_corpus,
)
from onefill.pocket.judge.chains import STEPS, Chains
from onefill.pocket.judge.hardening import in_both_lights
from onefill.pocket.judge.language import Reader
from onefill.pocket.judge.reading import (
    PairBatch,
    PairSource,
    ReadingHeads,
    cell_names,
    reading_loss,
    teacher_scores,
)
from onefill.pocket.judge.vision import (
    VISION_WEIGHTS,
    CellHead,
    Tower,
    VisionHeads,
    contest_batch,
    vary,
    vision_accuracy,
    vision_loss,
)
from onefill.pocket.material import vocabulary
from onefill.pocket.material.scenes import SIZE
from onefill.pocket.material.sources import HELD_OUT, TRAIN
from onefill.pocket.optimizers import optimizers_for
from onefill.pocket.scoring.perceptual import load_perceptual
from onefill.pocket.training_plan import Plan
from onefill.pocket.training_stage import Losses, run_stage
from onefill.tasks.registry import load_tasks
from onefill.tasks.types import Task

VISION = TowerSize(layers=4, width=128, heads=4, feed_forward=336)
TEXT = TowerSize(layers=4, width=128, heads=4, feed_forward=336)
TOKENS = 16
"""Merged tokens of a 64-pixel picture: patches of 8 pixels, two by two."""

WEIGHTS = {**VISION_WEIGHTS, "ends": 0.5, "taught": 0.3, "orders": 0.3}
"""Of the losses of parts 3 and 4; the answer's weighs 1."""

CONTESTS, HELD_OUT_CONTESTS, REMEMBERED = 20_000, 300, 6_000

_SHOWN, _ASKED, _READ = 12, 24, 32
"""Contests of a batch, and pairs in both orders: of contests, and of remembered ones in part 2."""

PAINTED, _SHOWN_AGAIN = 4_800, 3
"""Contests that policies paint, and how often each is shown for once of the others: they are slow
to make, and what a run is judged on is like them."""

PARTS = {"see": 92.5, "read": 18.5, "together": 133.5, "harden": 310.5}
"""Minutes of each part of a judge from nothing; other times are divided likewise."""

PARTS_BEGUN = {"see": 5.0, "read": 1.0, "together": 30.0, "harden": 20.0}
"""The same of one that begins from another's weights: the heads are new, and it withstands what it
did, but has other damage to learn."""


@dataclass
class Student:
    """The model in training and the heads that help it.

    Attributes:
        model: the stock Qwen2.5-VL; tower and reader use its weights.
        tokenizer: its tokenizer.
        tower, reader: its two halves with quick forward passes.
        vision_heads, cell_head, reading_heads: thrown away after training.
        tasks: what it is asked about, by name.
    """

    model: Any
    tokenizer: Any
    tower: Tower
    reader: Reader
    vision_heads: VisionHeads
    cell_head: CellHead
    reading_heads: ReadingHeads
    tasks: dict[str, Task]

    def modules(self) -> dict[str, nn.Module]:
        """What a state on disk holds; the output head is the text model's embedding."""
        return {
            "visual": self.model.model.visual,
            "text": self.model.model.language_model,
            "vision_heads": self.vision_heads,
            "cell_head": self.cell_head,
            "reading_heads": self.reading_heads,
        }

    def to(self, device: torch.device) -> None:
        """Everything, the quick halves' own buffers as well, to where it is trained."""
        for part in (*self.modules().values(), self.model, self.tower, self.reader):
            part.to(device)

    def read(self, queries: list[str], tokens: Tensor, plan: Plan) -> tuple[Tensor, list[Tensor]]:
        """What the reader makes of pairs, see ``Reader.forward``, in float32."""
        with plan.quick():
            answer, ends = self.reader(queries, tokens)
        return answer.float(), [end.float() for end in ends]


def new_student(seed: int, vision: TowerSize = VISION, text: TowerSize = TEXT) -> Student:
    """A judge of the built-in tasks with random weights."""
    torch.manual_seed(seed)
    known = {
        name: load_tasks().get(name)
        for name in dict.fromkeys(c.split("/")[0] for c in cell_names())
    }
    tokenizer = build_judge_tokenizer(judge_corpus(known.values(), vocabulary.prompt_pieces()))
    # 0.07 is about 1 / sqrt(width): at the usual 0.02 so narrow a model hardly starts to learn.
    model = build_judge_model(tokenizer, vision=vision, text=text, initializer_range=0.07)
    return Student(
        model=model,
        tokenizer=tokenizer,
        tower=Tower(model.model.visual, ImageRecipe.of(build_image_processor()), SIZE),
        reader=Reader(model, tokenizer, TOKENS),
        vision_heads=VisionHeads(text.width),
        cell_head=CellHead(text.width, TOKENS),
        reading_heads=ReadingHeads(text.width, text.layers - 1),
        tasks=known,
    )


def build(out: Path, plan: Plan, begin: Path | None = None, against: Sequence[Path] = ()) -> None:
    """Train, or go on training, and write the judge's folder.

    Args:
        out: the folder; replaced only when all is done.
        plan: length, seed, device; drawing and measuring are not counted. States of the four parts
            are kept in its cache.
        begin: folder of a judge whose weights it begins from; None for random ones. If that one
            knows all words, its language model stays as it is.
        against: adapters of policies that have learned from an earlier judge; the judge sees what
            they and the embedded policy paint beside the truth, see ``load_painted``.

    Raises:
        BadInput: the package that LPIPS comes with is not installed.
        OnefillError: pictures could not be fetched.
    """
    load_perceptual(plan.device)  # what is missing is said before an hour of training, not after
    from onefill.pocket.judge.card import save_measured
    from onefill.pocket.warm_start import begin_judge, facts_before, meet_on_the_way

    cache, log, seed = plan.cache, plan.log, plan.seed
    contests = load_contests(TRAIN, CONTESTS, seed, cache, log)
    painted = load_painted(TRAIN, PAINTED, seed, cache, log, against, plan.device)
    contests = join([contests, *[painted] * _SHOWN_AGAIN])
    held_out = load_contests(HELD_OUT, HELD_OUT_CONTESTS, seed, cache, log)
    student = new_student(seed)
    if begin is not None and begin_judge(student.model, student.tokenizer, begin):
        # Nothing new to read: sight alone goes on, and the language model keeps what it can.
        student.model.model.language_model.requires_grad_(False)
    student.to(plan.device)
    parts = PARTS if begin is None else PARTS_BEGUN
    points = []
    for part in (see, read, together, harden):
        if begin is not None and part in (see, harden):
            points.append(copy.deepcopy(student.model).cpu())
        share = parts[part.__name__] / sum(parts.values())
        part(student, contests, held_out, plan.part(share))
    student.model.cpu()
    if begin is not None:
        meet_on_the_way(student.model, points)
    staged = out.with_name(out.name + ".part")
    shutil.rmtree(staged, ignore_errors=True)
    before = {} if begin is None else facts_before(begin / "onefill_judge.json")
    save_measured(student.model, student.tokenizer, staged, plan, before)
    shutil.rmtree(out, ignore_errors=True)
    staged.rename(out)


def see(student: Student, contests: Contests, held_out: Contests, plan: Plan) -> None:
    """Part 1: the vision tower and its heads."""
    visual = student.model.model.visual

    def draw(rng: np.random.Generator) -> dict[str, Tensor]:
        return _varied(contests, rng.integers(len(contests), size=_SHOWN * plan.batches), rng)

    def losses_of(batch: dict[str, Tensor], _: object) -> Losses:
        return _vision_loss(student, _tokens(student, batch["pictures"], plan), batch)

    run_stage(
        "judge sees", "judge-state/see", student.modules(),
        optimizers_for([visual, student.vision_heads, student.cell_head], 0.012, 2e-3),
        draw, losses_of, partial(vision_accuracy, student.tower, student.vision_heads, held_out),
        plan, weights=VISION_WEIGHTS,
    )  # fmt: skip


def read(student: Student, contests: Contests, held_out: Contests, plan: Plan) -> None:
    """Part 2: the language model, on remembered tokens of a part of the contests."""
    remembered = contests.select(slice(REMEMBERED))
    memory = remember(student.tower, remembered)
    source = PairSource(remembered, student.tasks)

    def draw(rng: np.random.Generator) -> tuple[Tensor, PairBatch]:
        pairs = source.draw(_READ * plan.batches, rng)
        return memory[pairs.contests, pairs.places].float(), pairs

    def losses_of(drawn: tuple[Tensor, PairBatch], _: object) -> Losses:
        return _reading_losses(student, *drawn, plan)

    run_stage(
        "judge reads", "judge-state/read", student.modules(),
        optimizers_for([student.model.model.language_model, student.reading_heads], 0.01, 2e-3),
        draw, losses_of, partial(answer_accuracy, student, held_out), plan,
        weights={"orders": WEIGHTS["orders"]},
    )  # fmt: skip


def together(student: Student, contests: Contests, held_out: Contests, plan: Plan) -> None:
    """Part 3: everything, on fresh contests; the heads keep teaching beside the answer."""

    def losses_of(drawn: _Drawn, _: object) -> Losses:
        batch, pairs = drawn
        return _all_losses(student, batch, pairs, plan, batch["pictures"])

    run_stage(
        "judge judges", "judge-state/together", student.modules(),
        optimizers_for(student.modules().values(), 0.01, 1.5e-3),
        partial(_contests_and_pairs, student, contests, plan.batches), losses_of,
        partial(answer_accuracy, student, held_out), plan, weights=WEIGHTS,
    )  # fmt: skip


def harden(student: Student, contests: Contests, held_out: Contests, plan: Plan) -> None:
    """Part 4: the same on pictures that are moved against the judge as well."""
    vae = AutoencoderTiny.from_pretrained(Path(embedded.resolve("policies", "pocket")) / "vae")
    vae.eval().requires_grad_(False).to(plan.device)
    # What a painting should have been is one truth of several: its chains would have no label.
    drawn = contests.select(slice(CONTESTS))
    looks = load_perceptual(plan.device)
    chains = {
        kind: Chains(drawn, student.tasks, kind, vae, looks, plan.seed)
        for kind in reversed([*STEPS])
    }
    turns = cycle(chains.values())

    def answers(queries: list[str], first: Tensor, second: Tensor) -> Tensor:
        tokens = _tokens(student, torch.stack([first, second], 1), plan)
        return student.read(queries, tokens, plan)[0]

    def losses_of(drawn: _Drawn, rng: np.random.Generator) -> Losses:
        batch, pairs = drawn
        losses = partial(_all_losses, student, batch, pairs, plan)
        moved = in_both_lights(batch["pictures"], losses, WEIGHTS, rng)
        return {**moved, "led": next(turns).loss(answers, rng)}

    def measure() -> dict[str, float]:
        parted = {f"{kind} parted": c.parted for kind, c in chains.items()}
        return {**answer_accuracy(student, held_out), **parted}

    run_stage(
        "judge withstands", "judge-state/harden", student.modules(),
        optimizers_for(student.modules().values(), 0.007, 1e-3),
        partial(_contests_and_pairs, student, contests, plan.batches), losses_of, measure, plan,
        weights=WEIGHTS,
    )  # fmt: skip


_Drawn = tuple[dict[str, Tensor], PairBatch]


def _contests_and_pairs(
    student: Student, contests: Contests, times: int, rng: np.random.Generator
) -> _Drawn:
    chosen = rng.integers(len(contests), size=_SHOWN * times)
    pairs = PairSource(contests.select(chosen), student.tasks).draw(_ASKED * times, rng)
    return _varied(contests, chosen, rng), pairs


def _all_losses(
    student: Student, batch: dict[str, Tensor], pairs: PairBatch, plan: Plan, pictures: Tensor
) -> Losses:
    tokens = _tokens(student, pictures, plan)
    losses = _vision_loss(student, tokens, batch)
    shown = tokens[pairs.contests, pairs.places]
    return {**losses, **_reading_losses(student, shown, pairs, plan)}


def _reading_losses(student: Student, tokens: Tensor, pairs: PairBatch, plan: Plan) -> Losses:
    """Of the language model, on the tokens (B, 2, N, width) of pairs."""
    pairs, tokens = pairs.in_both_orders(), torch.cat([tokens, tokens.flip(1)])
    with torch.no_grad():
        teacher = teacher_scores(student.vision_heads, tokens, pairs)
    answer, ends = student.read(pairs.queries, tokens, plan)
    return reading_loss(answer, ends, student.reading_heads, pairs, teacher)


def _varied(
    contests: Contests, chosen: NDArray[np.intp], rng: np.random.Generator
) -> dict[str, Tensor]:
    batch = contest_batch(contests, chosen, rng)
    return {**batch, "pictures": vary(batch["pictures"], rng)}


def _vision_loss(student: Student, tokens: Tensor, batch: dict[str, Tensor]) -> Losses:
    return vision_loss(tokens, student.vision_heads, student.cell_head, batch)


def _tokens(student: Student, pictures: Tensor, plan: Plan) -> Tensor:
    """Tokens (B, V, N, width) of pictures (B, V, 3, side, side)."""
    with plan.quick():
        tokens: Tensor = student.tower(pictures.flatten(0, 1))
    return tokens.float().view(*pictures.shape[:2], *tokens.shape[1:])


@torch.no_grad()
def remember(tower: Tower, contests: Contests, size: int = 16) -> Tensor:
    """The tokens of every picture, half precision: (N, 4, tokens, width)."""
    kept = []
    for start in range(0, len(contests), size):
        pictures = torch.from_numpy(contests.pictures[start : start + size])
        levels = pictures.flatten(0, 1).permute(0, 3, 1, 2).to(tower.device).float()
        tokens = tower(levels)
        kept.append(tokens.half().cpu().view(*pictures.shape[:2], *tokens.shape[1:]))
    return torch.cat(kept)


@torch.no_grad()
def answer_accuracy(student: Student, contests: Contests, count: int = 600) -> dict[str, float]:
    """Share of right answers, one order each, per cell, on always the same pairs of contests."""
    source = PairSource(contests, student.tasks)
    pairs = source.draw(count, np.random.default_rng(0))
    memory = remember(student.tower, contests)
    right: dict[str, list[float]] = {cell: [] for cell in cell_names()}
    for start in range(0, count, 60):
        part = _slice(pairs, slice(start, start + 60))
        tokens = memory[part.contests, part.places].to(student.tower.device).float()
        answer, _ = student.reader(part.queries, tokens)
        agreed = ((answer > 0).float().cpu() == part.first_better).float()
        for cell, value in zip(part.cells, agreed.tolist(), strict=True):
            right[cell].append(value)
    return {cell: float(np.mean(values)) for cell, values in right.items() if values}


def _slice(pairs: PairBatch, part: slice) -> PairBatch:
    return PairBatch(**{f.name: getattr(pairs, f.name)[part] for f in fields(PairBatch)})

"""Asks a judge about many pairs: every picture is looked at once, questions go in batches.

Pairs are taken in windows. The pictures of a window are looked at together with those of their
size; what the vision tower made of a picture is kept until the last pair that needs it. All
dimensions and both orders of a window are then asked in batches of one layout of sizes.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from onefill.errors import BadInput
from onefill.images import read_image, read_mask
from onefill.judge.model import ImageFeatures, Judge
from onefill.judge.pair import PreferencePair
from onefill.judge.preprocess import resize_picture
from onefill.judge.presentation import present
from onefill.judge.query import build_query
from onefill.judge.verdict import Verdict, verdicts_from_logits
from onefill.tasks.registry import TaskRegistry

OnBad = Callable[[PreferencePair, BadInput], None]
"""Called with a pair that cannot be asked about and the reason, which names its line."""

_ENOUGH = 16
_KEPT_BYTES = 1 << 29  # of features; beyond it the oldest are made again when they are needed


@dataclass(frozen=True)
class PairLogits:
    """The raw answers on one dimension of a pair, neither symmetrised nor calibrated.

    Attributes:
        pair: the pair.
        dim: name of the dimension.
        forward: logit("Yes") - logit("No") with the first picture shown first.
        backward: the same with the second picture shown first.
    """

    pair: PreferencePair
    dim: str
    forward: float
    backward: float


def ask_pairs(
    judge: Judge,
    pairs: Sequence[PreferencePair],
    registry: TaskRegistry,
    *,
    batch: int = 32,
    on_bad: OnBad | None = None,
) -> Iterator[tuple[PreferencePair, list[Verdict]]]:
    """The verdicts of ``onefill.judge.verdict.ask`` for many pairs, in order.

    Args:
        judge: who is asked.
        pairs: what about; each names its dimensions.
        registry: the tasks they name.
        batch: pairs that are asked together, and pictures that are looked at together.
        on_bad: what to do about a pair that cannot be asked about (a damaged picture, words
            that are too many); the pair is left out. Without it, the first one raises.

    Raises:
        BadInput: see ``on_bad``; all pairs before that one have been yielded.
        OnefillError: an answer is not a number.
    """
    for pair, answers in _ask_all(judge, pairs, registry, batch, on_bad):
        task = registry.get(pair.task)
        forward = torch.tensor([answer.forward for answer in answers])
        backward = torch.tensor([answer.backward for answer in answers])
        yield pair, verdicts_from_logits(judge, task, pair.dims, forward, backward)


def logits_of_pairs(
    judge: Judge,
    pairs: Sequence[PreferencePair],
    registry: TaskRegistry,
    *,
    batch: int = 32,
    on_bad: OnBad | None = None,
) -> Iterator[PairLogits]:
    """The raw logits of both orders, pair by pair and dimension by dimension; see ``ask_pairs``."""
    for _, answers in _ask_all(judge, pairs, registry, batch, on_bad):
        yield from answers


def load_picture(path: Path, pair: PreferencePair, sees: Sequence[str]) -> Image.Image:
    """One of the pair's two pictures, as a judge that ``sees`` so much is shown it.

    Raises:
        BadInput: it cannot be read, or the source or mask that is shown with it cannot.
    """
    return show_picture(read_image(path), pair, sees)


def show_picture(picture: Image.Image, pair: PreferencePair, sees: Sequence[str]) -> Image.Image:
    """``load_picture`` of a picture that has been read already."""
    source = mask = None
    if pair.source is not None and "source" in sees:
        source = read_image(pair.source, flag="source")
    if pair.mask is not None and "mask" in sees:
        mask = read_mask(pair.mask, picture.size, flag="mask")
    return present(picture, source, mask, sees)


@dataclass(frozen=True)
class _View:
    """A picture as the judge is shown it; pairs that share it share its features."""

    picture: Path
    source: Path | None
    mask: Path | None


@dataclass(frozen=True)
class _Question:
    place: int
    dim: int
    swapped: bool
    views: tuple[_View, _View]
    query: str


class _Eye:
    """Looks at pictures, and remembers those that will be needed again."""

    def __init__(self, judge: Judge, pairs: Iterable[PreferencePair], batch: int) -> None:
        self._judge = judge
        self._batch = batch
        self._uses = Counter(view for pair in pairs for view in self.views(pair))
        self._seen: OrderedDict[_View, ImageFeatures] = OrderedDict()
        self._bad: dict[_View, BadInput] = {}

    def views(self, pair: PreferencePair) -> tuple[_View, _View]:
        """The pair's two pictures with what of the edit the judge is shown."""
        source = pair.source if "source" in self._judge.sees else None
        mask = pair.mask if "mask" in self._judge.sees else None
        return _View(pair.first, source, mask), _View(pair.second, source, mask)

    def look(self, pairs: Sequence[PreferencePair]) -> None:
        """Make sure of the features of every picture of these pairs."""
        waiting: dict[torch.Size, list[tuple[_View, Tensor]]] = {}
        wanted = {view: pair for pair in pairs for view in self.views(pair)}
        for view, pair in wanted.items():
            if view in self._seen or view in self._bad:
                continue
            try:
                levels = self._load(view, pair)
            except BadInput as error:
                self._bad[view] = error
                continue
            group = waiting.setdefault(levels.shape, [])
            group.append((view, levels))
            if len(group) == self._batch:
                self._encode(waiting.pop(levels.shape))
        for group in waiting.values():
            self._encode(group)

    def fault(self, pair: PreferencePair) -> BadInput | None:
        """Why one of the pair's pictures cannot be looked at."""
        return next((self._bad[view] for view in self.views(pair) if view in self._bad), None)

    def features(self, view: _View) -> ImageFeatures:
        """What ``look`` made of a picture."""
        return self._seen[view]

    def forget(self, pairs: Sequence[PreferencePair]) -> None:
        """These pairs are done: drop what no other pair needs, and the oldest above the limit."""
        for pair in pairs:
            for view in self.views(pair):
                self._uses[view] -= 1
                if not self._uses[view]:
                    self._seen.pop(view, None)
        kept = sum(_bytes(features) for features in self._seen.values())
        while kept > _KEPT_BYTES:
            kept -= _bytes(self._seen.popitem(last=False)[1])

    def _load(self, view: _View, pair: PreferencePair) -> Tensor:
        """The picture at the size the judge looks at: photographs are not kept in memory."""
        picture = load_picture(view.picture, pair, self._judge.sees)
        try:
            return resize_picture(picture, self._judge.recipe)
        except BadInput as error:
            raise BadInput(f"{view.picture}: {error}") from error

    @torch.no_grad()
    def _encode(self, group: Sequence[tuple[_View, Tensor]]) -> None:
        levels = torch.cat([levels for _, levels in group]).to(self._judge.device)
        features = self._judge.encode_levels(levels)
        for index, (view, _) in enumerate(group):
            self._seen[view] = features.select([index])


def _bytes(features: ImageFeatures) -> int:
    return sum(tensor.nbytes for tensor in (features.tokens, *features.deepstack))


def _ask_all(
    judge: Judge,
    pairs: Sequence[PreferencePair],
    registry: TaskRegistry,
    batch: int,
    on_bad: OnBad | None,
) -> Iterator[tuple[PreferencePair, list[PairLogits]]]:
    eye = _Eye(judge, pairs, batch)
    for start in range(0, len(pairs), batch):
        window = pairs[start : start + batch]
        eye.look(window)
        answers = _ask_window(judge, eye, window, registry)
        eye.forget(window)
        for pair, answer in zip(window, answers, strict=True):
            if not isinstance(answer, BadInput):
                yield pair, answer
                continue
            named = BadInput(f"line {pair.line}: {answer}") if pair.line else answer
            if on_bad is None:
                raise named
            on_bad(pair, named)


def _ask_window(
    judge: Judge, eye: _Eye, window: Sequence[PreferencePair], registry: TaskRegistry
) -> list[list[PairLogits] | BadInput]:
    """The answers to each pair, or why there are none."""
    answers: list[list[PairLogits] | BadInput] = []
    questions: list[_Question] = []
    for place, pair in enumerate(window):
        try:
            if fault := eye.fault(pair):
                raise fault
            questions += _questions(place, pair, eye.views(pair), registry)
        except BadInput as error:
            answers.append(error)
        else:
            answers.append([])
    try:
        logits = _ask_together(judge, eye, questions)
    except BadInput as error:
        # One question of the batch is too long; asked alone, each pair answers for itself.
        if len(window) == 1:
            return [error]
        return [answer for pair in window for answer in _ask_window(judge, eye, [pair], registry)]
    for place, pair in enumerate(window):
        answer = answers[place]
        if not isinstance(answer, BadInput):
            for index, dim in enumerate(pair.dims):
                both = (logits[place, index, swapped] for swapped in (False, True))
                answer.append(PairLogits(pair, dim, *both))
    return answers


def _questions(
    place: int, pair: PreferencePair, views: tuple[_View, _View], registry: TaskRegistry
) -> Iterator[_Question]:
    task = registry.get(pair.task)
    for index, name in enumerate(pair.dims):
        query = build_query(task, task.dimension(name), pair.prompt)
        yield _Question(place, index, False, views, query)
        yield _Question(place, index, True, (views[1], views[0]), query)


@torch.no_grad()
def _ask_together(
    judge: Judge, eye: _Eye, questions: Sequence[_Question]
) -> dict[tuple[int, int, bool], float]:
    """(place in the window, dimension, swapped) to logit."""
    logits = {}
    for group in _batches(eye, questions):
        first, second = (
            ImageFeatures.join([eye.features(question.views[side]) for question in group])
            for side in (0, 1)
        )
        answers = judge.logits_from_features(first, second, [q.query for q in group]).tolist()
        for question, answer in zip(group, answers, strict=True):
            logits[question.place, question.dim, question.swapped] = answer
    return logits


def _batches(eye: _Eye, questions: Sequence[_Question]) -> list[list[_Question]]:
    """Questions about pictures of the same layout; in the same words too, where that is many."""
    times = Counter(question.query for question in questions)
    batches: dict[object, list[_Question]] = {}
    for question in questions:
        grids = tuple(eye.features(view).grid for view in question.views)
        # Rows of the same words need no padding, and the words are read once; it pays from few on.
        words = question.query if times[question.query] >= _ENOUGH else None
        batches.setdefault((grids, words), []).append(question)
    return list(batches.values())

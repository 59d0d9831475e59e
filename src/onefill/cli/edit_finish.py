"""What happens to the results of an edit once painted: ranked, kept, compared, read back."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onefill.cli import console
from onefill.cli.edit_ranking_file import write_ranking
from onefill.edit.output import SHEET, beside
from onefill.errors import BadInput, OnefillError

if TYPE_CHECKING:
    from onefill.cli.edit_ranking import Ranked
    from onefill.edit.job import EditResult
    from onefill.edit.reading import Reader
    from onefill.edit.request import EditPlan, EditRequest
    from onefill.judge.model import Judge
    from onefill.tasks.registry import TaskRegistry


@dataclass(frozen=True, kw_only=True)
class FinishOptions:
    """What was asked for.

    Attributes:
        rank: let the judge order the results.
        dims: on these dimensions; none means all.
        keep: write only so many, the best; None keeps all.
        judge: name, folder or hub id.
        compare: write a sheet of before and after.
        check_text: read back what was written.
    """

    rank: bool = False
    dims: tuple[str, ...] = ()
    keep: int | None = None
    judge: str | None = None
    compare: bool = False
    check_text: bool = False

    def __post_init__(self) -> None:
        if self.rank:
            return
        for flag, given in (("--dim", self.dims), ("--keep", self.keep), ("--judge", self.judge)):
            if given:
                raise BadInput(f"{flag}: goes with --rank; add it, and -n 8 or so")


class Finisher:
    """Finishes edits one after another; a context, which clears away what is not kept.

    Inside, SIGTERM ends the command as Ctrl-C does: at once, and cleared away.
    """

    def __init__(
        self, options: FinishOptions, registry: TaskRegistry, load_judge: Callable[[], Judge]
    ) -> None:
        self._options = options
        self._registry = registry
        self._load_judge = load_judge
        self._judge: Judge | None = None
        self._reader: Reader | None = None
        self._stack = contextlib.ExitStack()
        self._cleared: set[Path] = set()

    def __enter__(self) -> Finisher:
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        self._stack.callback(signal.signal, signal.SIGTERM, before)
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    @property
    def orders(self) -> bool:
        """Whether results come in another order than they were painted in."""
        return self._options.rank

    def deciding(self, request: EditRequest) -> dict[str, Any]:
        """What decides which results there are, by name; see ``onefill.edit.key``."""
        options = self._options
        if not options.rank:
            return {}
        return {
            "ranked": request.count,
            "dims": options.dims,
            "keep": options.keep,
            "judge": options.judge or "pocket",
        }

    def check(self, request: EditRequest) -> None:
        """Refuse what could not be finished.

        Raises:
            BadInput: too few results to rank or keep, a dimension that cannot be asked about,
                text to be read back and none to be written, or nothing to read it with.
        """
        options = self._options
        if options.rank:
            from onefill.cli.edit_ranking import choose_dimensions

            if request.count < 2:
                raise BadInput("--rank: orders several results; add -n 8 or so")
            if options.keep is not None and options.keep > request.count:
                raise BadInput(f"--keep {options.keep}: only {request.count} are made; raise -n")
            choose_dimensions(request.task.task, options.dims, _words(request))
        if options.check_text:
            from onefill.edit.reading import check_reader

            if request.task.task.name != "text":
                raise BadInput("--check-text: reads what the task text wrote; add --text WORDS")
            check_reader()

    def load(self) -> None:
        """Load the judge and the reader, if they are needed.

        Raises:
            BadInput: there is no such judge.
        """
        if self._options.rank:
            self._judge = self._load_judge()
        if self._options.check_text:
            from onefill.edit.reading import open_reader

            self._reader = open_reader()

    def stage(self, plan: EditPlan) -> EditPlan:
        """The plan with its results written aside, if only the best of them will be kept.

        What a killed command has left aside there is removed.

        Raises:
            OnefillError: there is no room for them.
        """
        from onefill.edit.aside import clear_asides, folder_aside

        parent = plan.outputs[0].parent
        if parent not in self._cleared:
            clear_asides(parent)
            self._cleared.add(parent)
        if self._options.keep is None or self._options.keep == len(plan.outputs):
            return plan
        # Beside their places, so that what is kept is renamed and not copied.
        try:
            parent.mkdir(parents=True, exist_ok=True)
            folder = self._stack.enter_context(folder_aside(parent))
        except OSError as error:
            raise OnefillError(f"{parent}: cannot be written to ({error.strerror})") from error
        outputs = [
            folder / str(number) / path.name for number, path in enumerate(plan.outputs, start=1)
        ]
        return replace(plan, outputs=outputs)

    def finish(
        self,
        request: EditRequest,
        plan: EditPlan,
        results: Sequence[EditResult],
        key: str | None = None,
    ) -> list[dict[str, Any]]:
        """Rank, keep, compare and read back; one description for each file kept, best first.

        Args:
            request: the edit as asked for.
            plan: as planned, before it was staged.
            results: the files written, in the order of the plan's seeds.
            key: to be told in the ranking; see ``onefill.edit.key``.
        """
        entries = [_describe(result) for result in results]
        if self._options.rank:
            entries = self._rank(request, plan, results, key)
        if self._options.compare:
            self._compare(plan, entries)
        if self._reader is not None:
            self._read_back(request, plan, entries, self._reader)
        return entries

    def _rank(
        self,
        request: EditRequest,
        plan: EditPlan,
        results: Sequence[EditResult],
        key: str | None,
    ) -> list[dict[str, Any]]:
        from onefill.cli.edit_ranking import choose_dimensions, rank_results

        assert self._judge is not None, "load() comes first"
        words = _words(request)
        order = rank_results(
            self._judge,
            self._registry,
            plan,
            [result.path for result in results],
            choose_dimensions(request.task.task, self._options.dims, words),
            image=request.image,
            words=words,
        )
        keep = len(order) if self._options.keep is None else self._options.keep
        entries = []
        for place, ranked in enumerate(order):
            result, path = results[ranked.index], plan.outputs[ranked.index]
            kept = place < keep
            if kept and result.path != path:
                _move(result.path, path)
            entries.append(_describe(replace(result, path=path), ranked, kept=kept))
        self._write_ranking(request, plan, entries, key)
        return [entry for entry in entries if entry["path"] is not None]

    def _write_ranking(
        self,
        request: EditRequest,
        plan: EditPlan,
        entries: Sequence[dict[str, Any]],
        key: str | None,
    ) -> None:
        document = {
            "image": str(request.image),
            "task": plan.task,
            "prompt": plan.prompt,
            "judge": self._options.judge or "pocket",
            **({} if key is None else {"key": key}),
            "results": [
                entry | {"path": entry["path"] and Path(entry["path"]).name} for entry in entries
            ],
        }
        write_ranking(plan.outputs, document)

    def _compare(self, plan: EditPlan, entries: Sequence[dict[str, Any]]) -> None:
        from onefill.edit.compare import compare_sheet
        from onefill.images import save_image

        shown = [
            (
                Path(entry["path"]),
                f"{entry['rank']}. (seed {entry['seed']})"
                if "rank" in entry
                else f"seed {entry['seed']}",
            )
            for entry in entries
        ]
        save_image(compare_sheet(plan, shown), beside(plan.outputs, SHEET))

    def _read_back(
        self,
        request: EditRequest,
        plan: EditPlan,
        entries: Sequence[dict[str, Any]],
        reader: Reader,
    ) -> None:
        from onefill.edit.crop import bounding_box
        from onefill.edit.reading import read_back, says_the_same

        box = bounding_box(plan.whole_mask())
        wanted = _words(request) or ""
        for entry in entries:
            read = read_back(Path(entry["path"]), box, reader)
            right = says_the_same(read, wanted)
            entry |= {"read": read, "reads_right": right}
            if right:
                console.say(f"{entry['path']}: reads {read!r}, as asked")
            else:
                found = f"reads {read!r}" if read else "nothing can be read"
                console.warn(f"{entry['path']}: {found}, where {wanted!r} was asked for")


def _words(request: EditRequest) -> str | None:
    return request.words or "; ".join(request.each_words) or None


def _describe(
    result: EditResult, ranked: Ranked | None = None, *, kept: bool = True
) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "path": str(result.path) if kept else None,
        "seed": result.seed,
        "width": result.width,
        "height": result.height,
    }
    if ranked is not None:
        entry |= {"rank": ranked.rank, "score": ranked.score, "dims": ranked.dims}
    return entry


def _move(source: Path, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        source.replace(target)
    except OSError as error:
        raise OnefillError(f"{target}: cannot be written ({error.strerror})") from error

"""The file of verdicts: one line a pair, in order, written so that a killed run can go on.

A line is the pair's own line with ``verdicts`` added. That is all a resumed run needs: the pairs
repeated in the file must be those of the pairs file, and the judge, asked again about some of
them, must say the same.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from onefill.errors import BadInput, OnefillError
from onefill.judge.asking import ask_pairs
from onefill.judge.model import Judge
from onefill.judge.pair import PreferencePair
from onefill.judge.verdict import Verdict
from onefill.tasks.registry import TaskRegistry

_ASKED_AGAIN = 8
_SAME = 0.02  # in probability: another device or dtype moves an answer by less

_KEY = "verdicts"
_NEW = "name a new file after -o"


@dataclass(frozen=True)
class Written:
    """What an earlier run left.

    Attributes:
        size: bytes of whole lines; what follows is the beginning of a line.
        done: how many pairs, from the first on, are judged or were skipped.
        judged: the pairs that have a line, each with its verdicts as read.
        skipped: the pairs among ``done`` that have none.
    """

    size: int
    done: int
    judged: Sequence[tuple[PreferencePair, Any]]
    skipped: Sequence[PreferencePair]


def read_written(path: Path, pairs: Sequence[PreferencePair]) -> Written:
    """How far an earlier run came; nothing is changed.

    Raises:
        BadInput: the file holds anything else than verdicts on these pairs in their order.
    """
    if not path.parent.is_dir():
        raise BadInput(f"-o {path}: there is no folder {path.parent}; make it first")
    if not path.exists():
        return Written(0, 0, [], [])
    if not path.is_file():
        raise BadInput(f"-o {path}: not a file; {_NEW}")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadInput(f"-o {path}: cannot be read ({error.strerror}); {_NEW}") from error
    *lines, tail = content.split(b"\n")
    judged: list[tuple[PreferencePair, Any]] = []
    skipped: list[PreferencePair] = []
    waiting = iter(pairs)
    for number, text in enumerate(lines, start=1):
        row = _parse(text, f"-o {path} line {number}")
        found = row.pop(_KEY)
        passed = []
        for pair in waiting:
            if _own(pair) == row:
                break
            passed.append(pair)
        else:
            raise BadInput(
                f"-o {path} line {number}: a pair that does not come here in the pairs file, so "
                f"it was written from another one; {_NEW}"
            )
        skipped += passed
        judged.append((pair, found))
    done = len(judged) + len(skipped)
    if tail and not any(
        _beginning(pair).startswith(tail[: len(_beginning(pair))]) for pair in pairs[done:]
    ):
        raise BadInput(f"-o {path}: its last line is no verdict on a pair to come; {_NEW}")
    return Written(len(content) - len(tail), done, judged, skipped)


def check_written(
    path: Path,
    written: Written,
    judge: Judge,
    registry: TaskRegistry,
    *,
    batch: int,
    skip_bad: bool,
) -> None:
    """Make sure that this judge wrote the file, and that what it left out is bad indeed.

    Args:
        path: the file, to be named.
        written: what ``read_written`` found in it.
        judge: who is to go on; asked again about a few pairs, spread over the file.
        registry: the tasks.
        batch: see ``ask_pairs``.
        skip_bad: whether pairs may be left out.

    Raises:
        BadInput: the judge answers otherwise, or a pair was left out that can be judged.
    """
    if written.skipped:
        line = written.skipped[0].line
        if not skip_bad:
            raise BadInput(
                f"-o {path}: line {line} of the pairs was skipped; give --skip-bad again, or mend "
                f"it and {_NEW}"
            )
        again = ask_pairs(judge, written.skipped, registry, batch=batch, on_bad=lambda *_: None)
        for pair, _ in again:
            raise BadInput(
                f"-o {path}: line {pair.line} of the pairs has no verdict, and nothing is wrong "
                f"with it now; {_NEW}"
            )
    stride = max(1, -(-len(written.judged) // _ASKED_AGAIN))
    sample = list(reversed(written.judged))[::stride]
    answered = ask_pairs(judge, [pair for pair, _ in sample], registry, batch=batch)
    for (pair, verdicts), (_, found) in zip(answered, sample, strict=True):
        if not _same(verdicts, found):
            raise BadInput(
                f"-o {path}: this judge says something else of line {pair.line} of the pairs, so "
                f"another one wrote it; give the same --judge, or {_NEW}"
            )


class VerdictWriter:
    """Appends whole lines; used as a context. The file is made with its first line."""

    def __init__(self, path: Path, keep: int) -> None:
        """Write behind the first ``keep`` bytes of a file, which need not exist yet.

        Raises:
            BadInput: it cannot be written there.
        """
        self._path = path
        self._size = keep
        self._fresh = not path.exists()
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o666)
        except OSError as error:
            raise BadInput(
                f"-o {path}: cannot be written ({error.strerror}); name a file in a folder that "
                "exists"
            ) from error
        os.ftruncate(self._file, keep)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._file)
        if self._fresh and not self._size:
            self._path.unlink(missing_ok=True)

    def write(self, pair: PreferencePair, verdicts: Sequence[Verdict]) -> None:
        """Add the line of a pair, in one piece.

        Raises:
            OnefillError: the disk is full, or the like; the lines before stay whole.
        """
        text = _dump(_own(pair) | {_KEY: [asdict(verdict) for verdict in verdicts]}) + b"\n"
        try:
            written = os.pwrite(self._file, text, self._size)
            if written < len(text):
                os.pwrite(self._file, text[written:], self._size + written)
        except OSError as error:
            os.ftruncate(self._file, self._size)
            raise OnefillError(
                f"-o {self._path}: cannot be written ({error.strerror}); make room and run the "
                "same command again, it goes on from here"
            ) from error
        self._size += len(text)


def _own(pair: PreferencePair) -> dict[str, Any]:
    """The pair's row; a row that is itself a verdict line loses its verdicts."""
    return {key: value for key, value in pair.row.items() if key != _KEY}


def _beginning(pair: PreferencePair) -> bytes:
    """What every line about this pair begins with."""
    return _dump(_own(pair))[:-1]


def _dump(row: Mapping[str, Any]) -> bytes:
    # Half a surrogate pair is no UTF-8, but its backslash form is what JSON writes for it.
    return json.dumps(row, ensure_ascii=False).encode("utf-8", "backslashreplace")


def _parse(text: bytes, where: str) -> dict[str, Any]:
    try:
        row = json.loads(text.decode("utf-8"))
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict) or not isinstance(row.get(_KEY), list):
        raise BadInput(f"{where}: not a line of verdicts; {_NEW}")
    return row


def _same(verdicts: Sequence[Verdict], found: Sequence[Any]) -> bool:
    try:
        return [(v.task, v.dim) for v in verdicts] == [
            (v["task"], v["dim"]) for v in found
        ] and all(
            abs(v.p_first - old["p_first"]) < _SAME for v, old in zip(verdicts, found, strict=True)
        )
    except (TypeError, KeyError):
        return False

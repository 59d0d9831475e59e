"""What is wrong with a pairs file, all of it, line by line."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from onefill.errors import BadInput
from onefill.images import read_image, read_mask
from onefill.judge.pair import PreferencePair
from onefill.judge.pairs_file import examine_pairs
from onefill.tasks.registry import TaskRegistry


@dataclass(frozen=True)
class Fault:
    """Something wrong.

    Attributes:
        line: of the pairs file, from 1.
        text: what it is.
    """

    line: int
    text: str


@dataclass(frozen=True)
class _Look:
    """What a picture file holds: its size and a hash of its pixels, or why it cannot be read."""

    size: tuple[int, int] = (0, 0)
    pixels: str = ""
    fault: str | None = None


class _Looks:
    """Each picture is decoded once, however many lines share it."""

    def __init__(self) -> None:
        self._seen: dict[Path, _Look] = {}

    def at(self, path: Path) -> _Look:
        if path not in self._seen:
            try:
                image = read_image(path)
                digest = hashlib.sha256(repr(image.size).encode() + image.tobytes()).hexdigest()
                self._seen[path] = _Look(image.size, digest)
            except BadInput as error:
                self._seen[path] = _Look(fault=str(error))
        return self._seen[path]


def check_pairs(
    path: Path, registry: TaskRegistry, against: Path | None = None
) -> Iterator[tuple[int, list[Fault]]]:
    """Each line's number and faults, in order; pictures are decoded.

    A line is at fault where ``read_pairs`` would stop; where a picture cannot be read, the two
    differ in size or in nothing, or the mask does not fit them; where an earlier line says the
    same of the same pictures, or the opposite; and, if it is checked against another split,
    where it shares its scene or a picture with that.

    Raises:
        BadInput: a file cannot be read at all, or holds nothing; or the other one has faults.
    """
    looks = _Looks()
    other = _Split(against, registry, looks) if against is not None else None
    said: dict[tuple[str, ...], tuple[int, str | None]] = {}
    for line, found in examine_pairs(path, registry):
        if isinstance(found, list):
            yield line, [Fault(line, text) for text in found]
            continue
        texts = list(_faults_of_pictures(found, looks))
        if not texts:
            texts += _repeats(found, looks, said)
        if other is not None:
            texts += other.leaks(found)
        yield line, [Fault(line, text) for text in texts]


def _faults_of_pictures(pair: PreferencePair, looks: _Looks) -> Iterator[str]:
    paths = {"first": pair.first, "second": pair.second, "source": pair.source}
    seen = {key: looks.at(path) for key, path in paths.items() if path is not None}
    broken = [f'"{key}": {look.fault}' for key, look in seen.items() if look.fault is not None]
    yield from broken
    if broken:
        return
    first, second = seen["first"], seen["second"]
    if first.size != second.size:
        one, two = (f"{look.size[0]}x{look.size[1]}" for look in (first, second))
        yield f'"first" is {one} and "second" {two}; results of one edit have one size'
    elif first.pixels == second.pixels and set(pair.winner.values()) != {"tie"}:
        yield '"first" and "second" are the same picture'
    if pair.mask is not None:
        try:
            read_mask(pair.mask, first.size, flag='"mask"')
        except BadInput as error:
            yield str(error)


def _repeats(
    pair: PreferencePair, looks: _Looks, said: dict[tuple[str, ...], tuple[int, str | None]]
) -> Iterator[str]:
    """Dimensions that an earlier line spoke of, about the same two pictures."""
    first, second = looks.at(pair.first).pixels, looks.at(pair.second).pixels
    again: dict[tuple[int, bool], list[str]] = {}
    for dim in pair.dims:
        winner = pair.winner.get(dim)
        better = {"first": first, "second": second}.get(winner or "", winner)
        key = (pair.task, pair.prompt or "", dim, *sorted((first, second)))
        line, before = said.setdefault(key, (pair.line, better))
        if line != pair.line:
            again.setdefault((line, before == better), []).append(dim)
    for (line, agrees), dims in again.items():
        verb = "repeats" if agrees else "contradicts"
        yield f"{verb} line {line} on {', '.join(dims)}"


class _Split:
    """Another file that no scene and no picture may be shared with."""

    def __init__(self, path: Path, registry: TaskRegistry, looks: _Looks) -> None:
        self._path = path
        self._looks = looks
        self._scenes: dict[str, int] = {}
        self._pictures: dict[str, int] = {}
        for line, found in examine_pairs(path, registry):
            if isinstance(found, list):
                raise BadInput(f"--against {path} line {line}: {found[0]}; check that file first")
            self._scenes.setdefault(found.scene, line)
            for look in self._pictures_of(found).values():
                self._pictures.setdefault(look.pixels, line)

    def leaks(self, pair: PreferencePair) -> Iterator[str]:
        """What the pair shares with this split, the scene or else each shared picture."""
        if pair.scene in self._scenes:
            line = self._scenes[pair.scene]
            yield f"leaks: its scene {pair.scene} is in {self._path} line {line}"
            return
        for key, look in self._pictures_of(pair).items():
            if look.pixels in self._pictures:
                line = self._pictures[look.pixels]
                yield f'leaks: its "{key}" is also a picture of {self._path} line {line}'

    def _pictures_of(self, pair: PreferencePair) -> dict[str, _Look]:
        paths = {"first": pair.first, "second": pair.second, "source": pair.source}
        looks = {key: self._looks.at(path) for key, path in paths.items() if path is not None}
        return {key: look for key, look in looks.items() if look.fault is None}

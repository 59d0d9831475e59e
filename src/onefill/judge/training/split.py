"""Sets pairs aside for validation so that nothing of a scene is on both sides."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from onefill.errors import BadInput
from onefill.judge.pair import PreferencePair


def split_by_scene(
    pairs: Sequence[PreferencePair], share: float, seed: int
) -> tuple[list[PreferencePair], list[PreferencePair]]:
    """Pairs to train on and pairs to validate on.

    Pairs that have the scene, a picture or the source in common, directly or through others, stay
    together. Groups are drawn by a hash of their names and the seed: the order of the lines does
    not matter, and every task is split on its own, so that none is missing on one side while it
    has two groups.

    Args:
        pairs: with winners.
        share: of the pairs to validate on, in (0, 1).
        seed: another one draws other scenes.

    Raises:
        BadInput: all pairs belong together.
    """
    groups = _groups(pairs)
    aside: set[int] = set()
    for task in sorted({pair.task for pair in pairs}):
        of_task = [(name, g) for name, g in groups if pairs[g[0]].task == task]
        of_task.sort(key=lambda entry: _draw(entry[0], seed))
        wanted = share * sum(len(group) for _, group in of_task)
        taken = 0
        for _, group in of_task[:-1]:
            if taken >= wanted:
                break
            aside.update(group)
            taken += len(group)
    train = [pair for index, pair in enumerate(pairs) if index not in aside]
    validation = [pair for index, pair in enumerate(pairs) if index in aside]
    if not validation:
        raise BadInput(
            "--pairs: all pairs come from one scene, and none can be set aside for validation; "
            "give --validation FILE with pairs of other scenes"
        )
    return train, validation


def shared_scene(
    train: Sequence[PreferencePair], validation: Sequence[PreferencePair]
) -> PreferencePair | None:
    """The first pair of ``validation`` whose scene or picture is in ``train`` too, or None."""
    seen = {key for pair in train for key in _keys(pair)}
    return next((pair for pair in validation if not seen.isdisjoint(_keys(pair))), None)


def _groups(pairs: Sequence[PreferencePair]) -> list[tuple[str, list[int]]]:
    """The indices of pairs that belong together, each group with its smallest scene's name."""
    parents = list(range(len(pairs)))

    def root(index: int) -> int:
        while parents[index] != index:
            parents[index] = parents[parents[index]]
            index = parents[index]
        return index

    first_with: dict[str, int] = {}
    for index, pair in enumerate(pairs):
        for key in _keys(pair):
            parents[root(index)] = root(first_with.setdefault(key, index))
    members: dict[int, list[int]] = {}
    for index in range(len(pairs)):
        members.setdefault(root(index), []).append(index)
    return [(min(pairs[i].scene for i in group), group) for group in members.values()]


def _keys(pair: PreferencePair) -> list[str]:
    files = [pair.first, pair.second, *([pair.source] if pair.source else [])]
    return [f"scene {pair.scene}", *(f"file {_resolved(path)}" for path in files)]


def _resolved(path: Path) -> str:
    return str(path.resolve())


def _draw(name: str, seed: int) -> str:
    return hashlib.sha256(f"{seed} {name}".encode()).hexdigest()

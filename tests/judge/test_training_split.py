from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onefill.errors import BadInput
from onefill.judge.pair import PreferencePair
from onefill.judge.training.split import shared_scene, split_by_scene


def pair(first: str, second: str, scene: str, task: str = "fill") -> PreferencePair:
    return PreferencePair(
        first=Path(first),
        second=Path(second),
        task=task,
        prompt=None,
        source=None,
        mask=None,
        dims=("structure",),
        winner={"structure": "first"},
        strength={},
        scene=scene,
        line=1,
        row={},
    )


@given(
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 30), st.integers(0, 30)), min_size=2),
    st.floats(0.05, 0.9),
    st.integers(0, 5),
)
def test_no_scene_and_no_picture_is_on_both_sides(
    drawn: list[tuple[int, int, int]], share: float, seed: int
) -> None:
    pairs = [pair(f"{a}.png", f"{b}.png", f"scene {scene}") for scene, a, b in drawn]
    try:
        train, validation = split_by_scene(pairs, share, seed)
    except BadInput:
        return
    assert train and validation
    assert len(train) + len(validation) == len(pairs)
    assert shared_scene(train, validation) is None


def test_the_share_is_met_in_every_task() -> None:
    pairs = [
        pair(f"{task}{i}a", f"{task}{i}b", f"{task}{i // 2}", task)
        for task, count in (("fill", 200), ("removal", 40))
        for i in range(count)
    ]
    _, validation = split_by_scene(pairs, 0.2, 0)
    found = [sum(p.task == task for p in validation) for task in ("fill", "removal")]
    assert found == [40, 8]


def test_the_order_of_the_lines_does_not_matter_and_the_seed_does() -> None:
    pairs = [pair(f"{i}a", f"{i}b", str(i)) for i in range(60)]
    mixed = random.Random(1).sample(pairs, len(pairs))
    held_out = {p.scene for p in split_by_scene(pairs, 0.2, 0)[1]}
    assert held_out == {p.scene for p in split_by_scene(mixed, 0.2, 0)[1]}
    assert held_out != {p.scene for p in split_by_scene(pairs, 0.2, 1)[1]}


def test_one_scene_cannot_be_split() -> None:
    with pytest.raises(BadInput, match="--validation FILE"):
        split_by_scene([pair("a", "b", "x"), pair("c", "d", "x")], 0.5, 0)

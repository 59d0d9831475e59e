from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from onefill.pocket.contests import damage, damage_canvas
from onefill.pocket.contests.damage_canvas import Canvas
from onefill.pocket.material.scenes import SIZE

IN_REGION = (
    *damage.CONSISTENCY,
    *damage.PLACED_OBJECT_STRUCTURE,
    *damage.BORDER_STRUCTURE,
    *damage.REMOVAL,
    *damage.PAINTING,
)
EVERYWHERE = damage.AESTHETICS


def a_disc_on_stripes() -> Canvas:
    rows, columns = np.mgrid[:SIZE, :SIZE]
    background = np.stack(
        [0.4 + 0.2 * np.sin(columns / 3), 0.5 + rows / 200, 0.3 + columns / 300], -1
    ).astype(np.float32)
    picture = background.copy()
    disc = (rows - 34) ** 2 + (columns - 30) ** 2 < 15**2
    picture[disc] = np.where((columns[disc] // 4 % 2)[:, None], [0.9, 0.2, 0.1], [0.95, 0.8, 0.2])
    mask = np.zeros((SIZE, SIZE), bool)
    mask[16:54, 12:50] = True
    return Canvas(picture, background, mask)


def canvas_for(kind) -> Canvas:
    """The disc masked by a box, or for damage to borders by a frame."""
    canvas = a_disc_on_stripes()
    if kind not in damage.BORDER_STRUCTURE:
        return canvas
    frame = np.ones((SIZE, SIZE), bool)
    frame[14:-14, 14:-14] = False
    return replace(canvas, mask=frame)


def an_object_to_leave_behind() -> np.ndarray:
    layer = np.zeros((SIZE, SIZE, 4), np.float32)
    layer[24:44, 20:40] = (0.1, 0.7, 0.9, 1.0)
    return layer


def named(kinds):
    return [pytest.param(kind, id=kind.__name__) for kind in kinds]


LEFT_BEHIND = (
    damage.remnant(an_object_to_leave_behind()),
    damage.outline(an_object_to_leave_behind()),
)


@pytest.mark.parametrize("kind", named((*IN_REGION, *EVERYWHERE, *LEFT_BEHIND)))
def test_same_generator_same_damage(kind):
    canvas = canvas_for(kind)
    first, second = (kind(canvas, 0.7, np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(first, second)
    assert first.shape == (SIZE, SIZE, 3)
    assert first.min() >= 0 and first.max() <= 1


@pytest.mark.parametrize("kind", named((*IN_REGION, *EVERYWHERE, *LEFT_BEHIND)))
def test_more_strength_is_more_difference(kind):
    canvas = canvas_for(kind)
    faint, plain = (
        np.mean(
            [
                np.abs(kind(canvas, strength, np.random.default_rng(seed)) - canvas.picture).mean()
                for seed in range(8)
            ]
        )
        for strength in (0.25, 1.0)
    )
    assert 0 < faint < plain


@pytest.mark.parametrize("kind", named((*IN_REGION, *LEFT_BEHIND)))
def test_nothing_changes_outside_the_mask(kind):
    canvas = canvas_for(kind)
    damaged = kind(canvas, 1.0, np.random.default_rng(2))
    outside = ~canvas.mask
    assert np.array_equal(damaged[outside], canvas.picture[outside])


@pytest.mark.parametrize("kind", named(EVERYWHERE))
def test_ugliness_is_everywhere(kind):
    canvas = a_disc_on_stripes()
    change = np.abs(kind(canvas, 1.0, np.random.default_rng(2)) - canvas.picture).max(-1) > 1e-3
    for corner in (change[:32, :32], change[:32, 32:], change[32:, :32], change[32:, 32:]):
        assert corner.any()


def test_a_fault_that_cannot_be_seen_is_passed_over():
    flat = np.full((SIZE, SIZE, 3), 0.5, np.float32)
    canvas = Canvas(flat, flat, a_disc_on_stripes().mask)
    for seed in range(10):
        rng = np.random.default_rng(seed)
        # A blur of a flat colour is no damage; a tint is.
        damaged = damage_canvas.apply((damage.soft_region, damage.tint), canvas, 0.8, rng)
        assert np.abs(damaged - flat).max() > 0.1


def test_a_fault_at_two_strengths_is_of_one_kind():
    """Fainter than can be seen it was another fault before, at times a plainer one."""
    flat = np.full((SIZE, SIZE, 3), 0.5, np.float32)
    canvas = Canvas(flat, flat, a_disc_on_stripes().mask)

    def stain(canvas, strength, rng):
        return damage_canvas.blend(canvas.picture, 1.0, canvas.region * 0.1 * strength)

    def ghost(canvas, strength, rng):
        return damage_canvas.blend(canvas.picture, 0.0, canvas.region * (0.3 + 0.7 * strength))

    def damaged(strength, plainest, seed):
        rng = np.random.default_rng(seed)
        return damage_canvas.apply(
            (stain, ghost), canvas, strength, rng, least=0.035, plainest=plainest
        )

    stained = 0
    for seed in range(10):
        faint, plain = damaged(0.4, 0.9, seed), damaged(0.9, 0.9, seed)
        assert np.sign(faint - flat).sum() == np.sign(plain - flat).sum()
        assert np.abs(faint - flat).sum() < np.abs(plain - flat).sum()
        # A fault that is chosen for itself must be seen itself.
        assert (damaged(0.4, None, seed) <= flat).all()
        stained += bool((plain > flat).any())
    assert 0 < stained < 10

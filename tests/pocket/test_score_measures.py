"""The rulers of the score table, on pictures made by hand."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from onefill.errors import BadInput
from onefill.judge.accuracy import wilson
from onefill.pocket.material.vocabulary import HUES
from onefill.pocket.scoring import perceptual
from onefill.pocket.scoring.background_kinds import kind_of
from onefill.pocket.scoring.classifier import VIEW, view
from onefill.pocket.scoring.colour_check import colour_of
from onefill.pocket.scoring.inpainting import mean_colour, membrane, mirror
from onefill.pocket.scoring.measures import bootstrap, psnr
from onefill.pocket.scoring.perceptual import StLpips


def middle(size: int = 64) -> np.ndarray:
    mask = np.zeros((size, size), bool)
    mask[size // 4 : -size // 4, size // 4 : -size // 4] = True
    return mask


@given(st.integers(1, 400), st.data())
def test_the_interval_holds_the_share_and_stays_a_share(count: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, count))
    low, high = wilson(successes, count)
    assert -1e-9 <= low <= successes / count + 1e-9
    assert successes / count - 1e-9 <= high <= 1 + 1e-9


def test_the_interval_narrows_with_more_samples() -> None:
    few, many = wilson(5, 10), wilson(500, 1000)
    assert many[1] - many[0] < 0.2 * (few[1] - few[0])


def test_the_view_is_centred_on_the_mask() -> None:
    picture = np.zeros((64, 64, 3), np.uint8)
    mask = np.zeros((64, 64), bool)
    mask[40:60, 2:22] = True
    picture[mask] = 255
    seen = view(picture, mask)
    assert seen.shape == (VIEW, VIEW, 3)
    assert seen.mean() > 0.6 * 255


def test_an_error_of_ten_levels_is_28_db_and_none_is_68() -> None:
    truth = np.full((9, 3), 100, np.uint8)
    assert psnr(truth + 10, truth) == pytest.approx(28.13, abs=0.01)
    assert psnr(truth - 10, truth) == pytest.approx(28.13, abs=0.01)
    assert psnr(truth, truth) == pytest.approx(68.13, abs=0.01)


def test_the_bootstrap_of_a_mean_is_as_wide_as_its_standard_error_says() -> None:
    values = np.random.default_rng(1).normal(5, 2, 400)
    low, high = bootstrap(lambda places: float(values[places].mean()), len(values))
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * 2 / 20, rel=0.2)


def test_backgrounds_are_told_apart_in_colour_and_not_by_an_even_slope() -> None:
    ramp = np.linspace(0, 255, 64).astype(np.uint8)
    slope = np.repeat(np.broadcast_to(ramp, (64, 64))[..., None], 3, 2)
    assert kind_of(slope, middle()) == "smooth"
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    assert kind_of(noise, middle()) == "textured"
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:] = (200, 40, 60)
    stripes[:, (np.arange(64) // 8) % 2 == 0] = (40, 122, 60)  # of one luminance
    assert kind_of(stripes, middle()) == "structured"
    stripes[15:49, 15:49] = (40, 122, 60)
    assert kind_of(stripes, middle()) == "smooth"  # what lies outside the mask has no say


@pytest.mark.parametrize("colour", HUES)
@pytest.mark.parametrize("around", [(128, 128, 128), (150, 195, 235)])
def test_the_colour_of_what_was_painted_is_named(colour: str, around: tuple[int, ...]) -> None:
    background = np.zeros((64, 64, 3), np.uint8)
    background[:] = around
    saturation = 110 if colour == "pink" else 210
    painted = background.copy()
    hsv = np.array([[[round(HUES[colour] / 360 * 255), saturation, 230]]], np.uint8)
    painted[24:40, 24:40] = np.asarray(Image.fromarray(hsv, "HSV").convert("RGB"))[0, 0]
    painted[40:44, 24:40] = 250  # white parts have no say
    assert colour_of(painted, background, middle()) == colour


def test_nothing_coloured_has_no_colour() -> None:
    background = np.full((64, 64, 3), (220, 30, 40), np.uint8)
    grey = background.copy()
    grey[20:40, 20:40] = 120
    assert colour_of(background, background, middle()) == ""
    assert colour_of(grey, background, middle()) == ""


def test_the_mean_colour_ignores_what_is_masked_and_what_is_far() -> None:
    picture = np.full((40, 40, 3), 200, np.uint8)
    picture[10:30, 10:30] = 90
    mask = np.zeros((40, 40), bool)
    mask[15:25, 15:25] = True
    picture[mask] = 5
    filled = mean_colour(picture, mask)
    assert (filled[mask] == 90).all()
    assert np.array_equal(filled[~mask], picture[~mask])
    assert np.abs(membrane(picture, mask)[mask].astype(int) - 90).max() < 8


def test_a_mirror_goes_on_with_what_is_known_from_its_sides() -> None:
    picture = np.arange(6, dtype=np.uint8)[None, :, None].repeat(6, 0).repeat(3, 2)
    mask = np.ones((6, 6), bool)
    mask[:, 3:] = False
    assert mirror(picture, mask)[0, :, 0].tolist() == [4, 5, 4, 3, 4, 5]
    whole = np.ones((6, 6), bool)
    whole[2:4, 2:4] = False
    assert mirror(picture, whole)[5, :, 0].tolist() == [2, 3, 2, 3, 2, 3]


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    """Random ones, in the shapes and under the names of the package's file."""
    generator = torch.Generator().manual_seed(0)
    named: dict[str, Tensor] = {
        "scaling_layer.shift": torch.zeros(1, 3, 1, 1),
        "scaling_layer.scale": torch.ones(1, 3, 1, 1),
    }
    layers = {"slice1.0": (64, 3, 11), "slice2.5": (192, 64, 5), "slice3.9": (384, 192, 3),
              "slice4.11": (256, 384, 3), "slice5.13": (256, 256, 3)}  # fmt: skip
    for number, (name, (out, into, side)) in enumerate(layers.items()):
        shape = (out, into, side, side)
        named[f"net.{name}.weight"] = torch.randn(shape, generator=generator) / (into**0.5 * side)
        named[f"net.{name}.bias"] = torch.zeros(out)
        named[f"lin{number}.model.1.weight"] = torch.rand(1, out, 1, 1, generator=generator)
    one = torch.tensor([1.0, 2.0, 1.0])
    kernel = (one[:, None] * one / 16)[None, None]
    for name, channels in (("slice1.1", 64), ("slice2.4", 64), ("slice3.8", 192)):
        named[f"net.{name}.filt"] = kernel.repeat(channels, 1, 1, 1)
    return named


def test_the_learned_distance_says_where_pictures_differ(weights: dict[str, Tensor]) -> None:
    distance = StLpips(weights)
    first = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    second = first.clone()
    second[1, :, 8:20, 8:20] = 1 - second[1, :, 8:20, 8:20]
    apart = distance(first, second)
    assert apart.shape == (2, 64, 64)
    assert (apart[0] == 0).all()
    assert torch.allclose(apart, distance(second, first))
    assert apart[1, 10:18, 10:18].mean() > 5 * apart[1, 44:, 44:].mean()


def test_without_its_package_the_learned_distance_names_the_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    perceptual.load_perceptual.cache_clear()
    monkeypatch.setattr(perceptual, "_PACKAGE", "no_such_package")
    assert perceptual.find_weights() is None
    with pytest.raises(BadInput, match=r"pip install 'onefill\[score\]'"):
        perceptual.load_perceptual()


def test_the_package_gives_its_weights_without_being_imported() -> None:
    file = perceptual.find_weights()
    if file is None:
        pytest.skip("stlpips-pytorch is not installed")
    distance = perceptual.load_perceptual()
    picture = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    slightly, plainly = (picture * 0.97 + 0.01), torch.full_like(picture, 0.5)
    assert distance(picture, slightly).mean() < 0.2 * distance(picture, plainly).mean()
    assert "stlpips_pytorch" not in sys.modules

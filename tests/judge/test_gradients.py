"""Gradients of an answer with respect to pixels: right, everywhere they should be, nowhere else."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from PIL import Image

from onefill.errors import OnefillError
from onefill.judge import preprocess
from onefill.judge.loading import load_judge
from onefill.judge.model import Judge
from onefill.judge.preprocess import ImageRecipe, cut_patches, resize_images

from .conftest import to_tensor

Draw = Callable[..., Image.Image]

SHORT = "Task: fill. Dimension: looks. Better?"
LONG = "Task: fill. Dimension: word match. Is it what was asked for? Prompt: a hat."


@pytest.fixture
def unrounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without rounding to 8 bits, through which the gradient is passed as if it were not there."""
    monkeypatch.setattr(preprocess, "_to_levels", lambda levels: levels)


SIZES = [(64, 64), (70, 90), (90, 70), (41, 57), (150, 200)]
"""As the judge sees them, shrunk and enlarged, lying and standing; height and width."""


@pytest.mark.parametrize("size", SIZES)
def test_the_gradient_agrees_with_finite_differences(
    judge: Judge, unrounded: None, size: tuple[int, int]
) -> None:
    """Along random directions, and along single pixels; the model computes in single precision."""
    torch.manual_seed(5)
    image = torch.rand(1, 3, *size, dtype=torch.float64).mul(0.6).add(0.2).requires_grad_()
    other = torch.rand(1, 3, 64, 64, dtype=torch.float64)
    judge.logits(image, other, [LONG]).sum().backward()
    assert image.grad is not None
    gradient = image.grad
    single = torch.zeros(2, *image.shape, dtype=torch.float64)
    steepest = gradient.abs().flatten().topk(2).indices
    for direction, index in zip(single, steepest, strict=True):
        direction.flatten()[index] = 1.0
    cases = [(torch.randn_like(image).detach(), 3e-3) for _ in range(3)]
    cases += [(direction, 2e-2) for direction in single]
    for direction, step in cases:
        with torch.no_grad():
            up = judge.logits(image + step * direction, other, [LONG])
            down = judge.logits(image - step * direction, other, [LONG])
        promised = float((gradient * direction).sum())
        measured = float(up.double() - down.double()) / (2 * step)
        scale = float(gradient.norm() * direction.norm()) / direction.numel() ** 0.5
        assert measured == pytest.approx(promised, rel=2e-2, abs=2e-2 * scale)


@pytest.mark.parametrize("size", [(64, 64), (70, 90), (41, 57)])
def test_preprocessing_without_rounding_passes_a_gradient_check(
    unrounded: None, size: tuple[int, int]
) -> None:
    """In double precision, to the last digits: resize, normalise, cut."""
    recipe = ImageRecipe(
        patch_size=4,
        merge_size=2,
        temporal_patch_size=2,
        min_pixels=256,
        max_pixels=512,
        mean=(0.4, 0.5, 0.6),
        std=(0.2, 0.3, 0.4),
    )
    small = (size[0] // 5, size[1] // 5)
    torch.manual_seed(1)
    image = torch.rand(1, 3, *small, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda pixels: cut_patches(resize_images(pixels, recipe), recipe)[0], image, fast_mode=True
    )


@pytest.mark.parametrize("size", [(64, 64), (96, 80)])
def test_rounding_changes_the_gradient_no_more_than_the_image(
    judge: Judge, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    torch.manual_seed(2)
    image, other = torch.rand(1, 3, *size), torch.rand(1, 3, 64, 64)

    def gradient() -> torch.Tensor:
        leaf = image.clone().requires_grad_()
        judge.logits(leaf, other, [SHORT]).sum().backward()
        assert leaf.grad is not None
        return leaf.grad.flatten()

    rounded = gradient()
    monkeypatch.setattr(preprocess, "_to_levels", lambda levels: levels)
    assert torch.cosine_similarity(rounded, gradient(), dim=0) > 0.99


@pytest.mark.parametrize("size", [(64, 64), (80, 112)])
def test_outside_the_edit_mask_the_gradient_is_zero(judge: Judge, size: tuple[int, int]) -> None:
    torch.manual_seed(3)
    mask = torch.zeros(2, 1, *size)
    mask[0, :, 8:40, 16:50] = 1
    mask[1, :, -20:, :] = 1
    edit = torch.rand(2, 3, *size, requires_grad=True)
    source = torch.rand(2, 3, *size)
    composite = mask * edit + (1 - mask) * source
    composite.retain_grad()
    judge.logits(composite, torch.rand(2, 3, 64, 64), [SHORT, LONG]).sum().backward()
    assert edit.grad is not None
    assert composite.grad is not None
    outside = (mask == 0).expand_as(edit)
    assert torch.count_nonzero(edit.grad[outside]) == 0
    assert (edit.grad[~outside] != 0).float().mean() > 0.9
    # The judge itself looks everywhere: it is the composite that keeps the edit in its place.
    assert (composite.grad[outside] != 0).float().mean() > 0.9


def test_a_gradient_belongs_to_its_own_image(judge: Judge) -> None:
    torch.manual_seed(4)
    images = torch.rand(3, 3, 64, 64, requires_grad=True)
    others = torch.rand(3, 3, 64, 64)
    logits = judge.logits(images, others, [SHORT, LONG, SHORT])
    logits[1].backward()
    assert images.grad is not None
    assert [bool(grad.any()) for grad in images.grad] == [False, True, False]


def test_the_gradient_is_the_same_whether_queries_are_shared_or_not(judge: Judge) -> None:
    torch.manual_seed(6)
    images, others = torch.rand(4, 3, 64, 64), torch.rand(4, 3, 64, 64)
    queries = [SHORT, LONG, SHORT, LONG]

    def gradient(rows: list[list[int]]) -> torch.Tensor:
        leaf = images.clone().requires_grad_()
        for row in rows:
            some = [queries[i] for i in row]
            judge.logits(leaf[row], others[row], some).sum().backward()
        assert leaf.grad is not None
        return leaf.grad

    together, alone = gradient([[0, 1, 2, 3]]), gradient([[0], [1], [2], [3]])
    assert torch.allclose(together, alone, rtol=1e-3, atol=1e-6)


def test_weights_learn_the_same_with_and_without_checkpointing(judge_folder: object) -> None:
    gradients = []
    images = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    for checkpointing in (False, True):
        judge = load_judge(str(judge_folder), device="cpu")
        judge.model.requires_grad_(True).train()
        if checkpointing:
            judge.model.gradient_checkpointing_enable()
        judge.logits(images, images.flip(0), [SHORT, LONG, SHORT, LONG]).pow(2).sum().backward()
        gradients.append([p.grad for p in judge.model.parameters()])
    for usual, checkpointed in zip(*gradients, strict=True):
        assert (usual - checkpointed).abs().max() <= 1e-4 * (1 + usual.abs().max())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_an_image_that_is_no_number_is_an_error(judge: Judge, value: float) -> None:
    images = torch.rand(2, 3, 80, 64)
    images[1, 2, 7, 7] = value
    sound = torch.rand(2, 3, 64, 64)
    for pair in ((images, sound), (sound, images)):
        with pytest.raises(OnefillError, match="an image holds values that are no numbers"):
            judge.prob_first_better(*pair, [SHORT] * 2)


@pytest.mark.parametrize("part", ["model.language_model.norm.weight", "model.visual.merger.ln_q"])
def test_an_answer_that_is_no_number_is_an_error(
    judge_folder: object, picture: Draw, part: str
) -> None:
    judge = load_judge(str(judge_folder), device="cpu")
    for name, parameter in judge.model.named_parameters():
        if name.startswith(part):
            parameter.view(-1)[0] = float("nan")
    image = to_tensor(picture(1))
    with pytest.raises(OnefillError, match=r"an answer is no number .*--dtype float32"):
        judge.prob_first_better(image, image, [SHORT])

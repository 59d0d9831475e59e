from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from edit_doubles import NoisePolicy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import ExifTags, Image, ImageCms
from test_edit_stitch import distance_to, masks

from onefill.edit.decode import open_photo
from onefill.edit.extend import centre
from onefill.edit.job import Sampling, crop_for, feather_of, paint, run_edit
from onefill.edit.request import EditRequest, plan_edit
from onefill.errors import BadInput, OnefillError
from onefill.tasks.registry import BUILT_IN, RegisteredTask, load_tasks
from onefill.tasks.types import Dimension, PromptTemplate, Task

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def built_in(name: str) -> RegisteredTask:
    task = load_tasks().tasks[name]
    assert task.distribution == BUILT_IN
    return task


def third_party(masks: Any, name: str = "stripe") -> RegisteredTask:
    task = Task(
        name=name,
        summary="A test's own task",
        masks=masks,
        prompt=PromptTemplate(without_words="a stripe"),
        dimensions=(Dimension(name="quality", question="Is it good?"),),
    )
    return RegisteredTask(task=task, plugin="stripes", distribution="onefill-stripes")


def run(request: EditRequest, policy: NoisePolicy) -> list[Path]:
    return [result.path for result in run_edit(plan_edit(request), policy, Sampling())]  # type: ignore[arg-type]


@settings(max_examples=250, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    mask=masks(),
    mode=st.sampled_from(["L", "LA", "RGB", "RGBA", "P", "1"]),
    orientation=st.integers(1, 8),
    feather=st.integers(0, 9) | st.none(),
    suffix=st.sampled_from(["png", "webp"]),
    seed=st.integers(0, 1000),
)
def test_a_written_edit_keeps_the_photograph_around_it(
    tmp_path: Path,
    mask: Any,
    mode: str,
    orientation: int,
    feather: int | None,
    suffix: str,
    seed: int,
) -> None:
    height, width = mask.shape
    stored = (width, height) if orientation < 5 else (height, width)
    noise = np.random.default_rng(seed).integers(0, 256, (stored[1], stored[0], 4), np.uint8)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    exif[ExifTags.Base.Make] = "Onecam"
    source, mask_file = tmp_path / "in.png", tmp_path / "mask.png"
    image = Image.fromarray(noise, "RGBA").convert(mode)
    image.save(source, exif=exif, icc_profile=SRGB)
    Image.fromarray(mask).save(mask_file)
    request = EditRequest(
        image=source,
        task=built_in("removal"),
        mask=mask_file,
        seed=seed,
        feather=feather,
        output=str(tmp_path / f"out.{suffix}"),
    )
    policy = NoisePolicy(size=16)
    plan = plan_edit(request)
    band = feather_of(plan, crop_for(plan.passes[0], policy.settings, feather))
    (path,) = run(request, policy)

    before = open_photo(source).canvas
    with Image.open(path) as result:
        assert result.size == (width, height)
        assert result.info["icc_profile"] == SRGB
        assert result.getexif()[ExifTags.Base.Make] == "Onecam"
        assert result.getexif()[ExifTags.Base.Orientation] == 1
        modes = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
        after = np.asarray(result.convert(modes[before.pixels.shape[2]]))
    after = after.reshape(before.pixels.shape)
    outside = distance_to(mask) > band
    assert (after[outside] == before.pixels[outside]).all()
    if before.has_alpha:
        assert (after[..., -1] == before.pixels[..., -1]).all()
    if mask.sum() > 20:
        assert (after[mask] != before.pixels[mask]).any()


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    width=st.integers(2, 40),
    height=st.integers(2, 40),
    wide=st.integers(0, 90),
    high=st.integers(0, 90),
    mode=st.sampled_from(["L", "RGB", "RGBA"]),
    feather=st.integers(0, 5),
)
def test_an_extension_keeps_the_photograph_inside_it(
    tmp_path: Path, width: int, height: int, wide: int, high: int, mode: str, feather: int
) -> None:
    size = (width + wide, height + high)
    if size == (width, height):
        return
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (height, width, 4), np.uint8)
    source = tmp_path / "in.png"
    Image.fromarray(noise, "RGBA").convert(mode).save(source)
    request = EditRequest(
        image=source,
        task=built_in("extend"),
        to=f"{size[0]}x{size[1]}",
        feather=feather,
        output=str(tmp_path / "out.png"),
    )
    (path,) = run(request, NoisePolicy(size=16))
    before, after = open_photo(source).canvas, open_photo(path).canvas
    assert (after.box.width, after.box.height) == size
    keep = centre(width, height, size)
    new = np.ones((size[1], size[0]), bool)
    new[keep.slices] = False
    untouched = (distance_to_border(keep, size) > feather)[keep.slices]
    assert (after.pixels[keep.slices][untouched] == before.pixels[untouched]).all()
    if after.has_alpha:
        assert (after.pixels[new][:, -1] == 255).all()


def distance_to_border(keep: Any, size: tuple[int, int]) -> Any:
    """For each pixel of the kept box the distance to the nearest new pixel; 0 elsewhere."""
    distance = np.zeros((size[1], size[0]))
    y, x = np.mgrid[: size[1], : size[0]]
    far = 10**6
    nearest = np.minimum.reduce(
        [
            x - keep.x + 1 if keep.x else np.full_like(x, far),
            keep.right - x if keep.right < size[0] else np.full_like(x, far),
            y - keep.y + 1 if keep.y else np.full_like(x, far),
            keep.bottom - y if keep.bottom < size[1] else np.full_like(x, far),
        ]
    )
    distance[keep.slices] = nearest[keep.slices]
    return distance


def test_candidates_have_their_own_seeds_whatever_their_number(
    photo: Path, mask: Path, noise_policy: NoisePolicy
) -> None:
    request = EditRequest(image=photo, task=built_in("removal"), mask=mask, count=3, seed=5)
    plan = plan_edit(request)
    assert plan.seeds == [5, 6, 7]
    together = paint(plan, noise_policy, Sampling(), plan.seeds)  # type: ignore[arg-type]
    alone = paint(plan, noise_policy, Sampling(), [6])  # type: ignore[arg-type]
    assert (together[1].pixels == alone[0].pixels).all()
    assert (together[0].pixels != together[1].pixels).any()
    # All of them started from one encoding.
    assert len(noise_policy.seen[0]) == 1


def test_the_model_sees_the_picture_around_the_mask(
    photo: Path, mask: Path, noise_policy: NoisePolicy
) -> None:
    plan = plan_edit(EditRequest(image=photo, task=built_in("removal"), mask=mask))
    paint(plan, noise_policy, Sampling(), [0])  # type: ignore[arg-type]
    (seen,), (model_mask,) = noise_policy.seen, noise_policy.masks
    assert seen.shape == (1, 3, 32, 32) and model_mask.shape == (1, 1, 32, 32)
    crop = crop_for(plan.passes[0], noise_policy.settings, None)
    with Image.open(photo) as image:
        box = (crop.box.x, crop.box.y, crop.box.right, crop.box.bottom)
        expected = np.asarray(image.crop(box).resize((32, 32), Image.Resampling.LANCZOS)) / 255
    np.testing.assert_allclose(seen[0].permute(1, 2, 0).numpy(), expected, atol=1e-6)
    share = float(model_mask.mean())
    assert 0.1 < share < 0.4


def test_a_task_may_begin_from_the_surroundings(
    photo: Path, mask: Path, noise_policy: NoisePolicy
) -> None:
    plan = plan_edit(EditRequest(image=photo, task=built_in("removal"), mask=mask, count=2))
    noise_policy.settings = noise_policy.settings.model_copy(update={"strength": {"removal": 0.5}})
    paint(plan, noise_policy, Sampling(), plan.seeds)  # type: ignore[arg-type]
    start, strength = noise_policy.started[0]
    assert strength == 0.5
    assert start is not None and start.shape == (2, 3, 32, 32)
    outside = noise_policy.masks[0][0, 0] == 0
    assert torch.equal(start[0][:, outside], noise_policy.seen[0][0][:, outside])
    paint(plan, noise_policy, Sampling(strength=1.0), plan.seeds)  # type: ignore[arg-type]
    assert noise_policy.started[1] == (None, 1.0)


def test_later_passes_see_what_earlier_ones_painted(photo: Path, noise_policy: NoisePolicy) -> None:
    plan = plan_edit(EditRequest(image=photo, task=built_in("extend"), to="5:1"))
    assert len(plan.passes) == 2
    first, second = paint(plan, noise_policy, Sampling(), [0, 1])  # type: ignore[arg-type]
    assert [len(images) for images in noise_policy.seen] == [1, 2]
    assert (noise_policy.seen[1][0] != noise_policy.seen[1][1]).any()
    assert (first.pixels != second.pixels).any()
    assert all(float(shown.mean()) <= 0.6 for shown in noise_policy.masks)


def test_extension_needs_a_shape_and_other_tasks_a_mask(photo: Path, mask: Path) -> None:
    def refuse(says: str, **wants: Any) -> None:
        with pytest.raises(BadInput, match=says):
            plan_edit(EditRequest(image=photo, **wants))

    refuse("--to", task=built_in("extend"))
    refuse("--mask", task=built_in("fill"), words="hat")
    refuse("--mask", task=built_in("removal"))
    refuse("--prompt", task=built_in("fill"), mask=mask)
    refuse("--prompt", task=built_in("text"), mask=mask, words="  ")
    refuse("--task extend", task=built_in("removal"), to="16:9")
    refuse("leave one", task=built_in("extend"), to="16:9", mask=mask)
    refuse("--seed", task=built_in("removal"), mask=mask, seed=2**63)


def test_extend_takes_a_mask_too(photo: Path, mask: Path) -> None:
    plan = plan_edit(EditRequest(image=photo, task=built_in("extend"), mask=mask))
    assert plan.canvas.box[2:] == (600, 400)
    assert plan.prompt == "high-definition, perfect composition"


def test_the_input_is_never_replaced(tmp_path: Path, photo: Path, mask: Path) -> None:
    copy = tmp_path / "in.jpg"
    copy.write_bytes(photo.read_bytes())
    (tmp_path / "link.jpg").symlink_to(copy)
    for output in (copy, tmp_path / "link.jpg", mask):
        request = EditRequest(image=copy, task=built_in("removal"), mask=mask, output=str(output))
        with pytest.raises(BadInput, match="would replace the input"):
            plan_edit(request)


def stripe(image: Image.Image, rng: np.random.Generator, options: Any) -> Any:
    print("a plugin that talks")
    drawn = np.zeros((image.height, image.width), bool)
    drawn[rng.integers(image.height)] = True
    return drawn


def test_a_third_partys_task_draws_its_own_mask_and_says_so(
    photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    request = EditRequest(image=photo, task=third_party(stripe), seed=4)
    plan, again = plan_edit(request), plan_edit(request)
    assert (plan.passes[0].mask == again.passes[0].mask).all()
    other = plan_edit(replace(request, seed=9))
    assert (plan.passes[0].mask != other.passes[0].mask).any()
    assert plan.notes == ["no --mask given: task 'stripe' drew one with seed 4"]
    assert capsys.readouterr().out == ""


def test_a_third_partys_task_may_extend(photo: Path) -> None:
    plan = plan_edit(EditRequest(image=photo, task=third_party(stripe), to="16:9"))
    keep = centre(600, 400, (711, 400))
    mask = plan.passes[-1].mask
    assert mask[:, : keep.x].all() and mask[:, keep.right :].all()
    assert mask[keep.slices].any(axis=1).sum() == 1


@pytest.mark.parametrize("failure", ["raises", "empty"])
def test_a_third_partys_failure_names_it(photo: Path, failure: str) -> None:
    def broken(image: Image.Image, rng: object, options: object) -> Any:
        if failure == "raises":
            raise ZeroDivisionError("division by zero")
        return np.zeros((image.height, image.width), bool)

    with pytest.raises(OnefillError, match="stripe") as caught:
        plan_edit(EditRequest(image=photo, task=third_party(broken)))
    assert not isinstance(caught.value, BadInput)
    assert "\n" not in str(caught.value)


def test_debug_shows_both_masks(tmp_path: Path, photo: Path, mask: Path) -> None:
    debug, output = tmp_path / "debug", tmp_path / "hat.png"
    request = EditRequest(
        image=photo,
        task=built_in("removal"),
        mask=mask,
        feather=6,
        output=str(output),
        debug=debug,
    )
    run(request, NoisePolicy())
    assert sorted(path.name for path in debug.iterdir()) == [
        "hat-pass-1-crop.png",
        "hat-pass-1-model-mask.png",
        "hat-pass-1-stitch-mask.png",
    ]
    with Image.open(debug / "hat-pass-1-model-mask.png") as image:
        assert image.size == (32, 32) and image.mode == "1"
    with Image.open(debug / "hat-pass-1-stitch-mask.png") as image, Image.open(mask) as given:
        stitched, painted = np.asarray(image), np.asarray(given.convert("L")) > 127
    assert stitched.shape == painted.shape
    assert (stitched[painted] == 255).all()
    assert ((stitched > 0) == (distance_near(painted) <= 6)).all()


def distance_near(mask: Any) -> Any:
    """As ``distance_to``, for a mask in a large picture: only around it, far elsewhere."""
    rows, columns = np.nonzero(mask)
    part = (
        slice(max(0, rows.min() - 9), rows.max() + 10),
        slice(max(0, columns.min() - 9), columns.max() + 10),
    )
    edge = mask & ~np.roll(mask, 1, 0) | mask & ~np.roll(mask, -1, 0)
    edge |= mask & ~np.roll(mask, 1, 1) | mask & ~np.roll(mask, -1, 1)
    distance = np.full(mask.shape, 1e6)
    distance[part] = distance_to(edge[part])
    distance[mask] = 0
    return distance

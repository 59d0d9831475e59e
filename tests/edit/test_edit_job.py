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
from onefill.edit.extend import place
from onefill.edit.job import (
    Signature,
    crop_for,
    feather_of,
    paint,
    paint_together,
    run_edit,
)
from onefill.edit.record import read_history
from onefill.edit.region import Region
from onefill.edit.request import EditRequest, plan_edit
from onefill.errors import BadInput, OnefillError
from onefill.policy.sampler import Sampling
from onefill.tasks.registry import BUILT_IN, RegisteredTask, load_tasks
from onefill.tasks.types import Dimension, PromptTemplate, Task

WHOLE = Region(box="0,0,100%,100%")
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
        grow="0",
        seed=seed,
        feather=feather,
        output=str(tmp_path / f"out.{suffix}"),
    )
    policy = NoisePolicy(size=16)
    plan = plan_edit(request)
    band = feather_of(plan, crop_for(plan.passes[0], policy.settings, plan.task, feather))
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
    keep = place(width, height, size)
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
    crop = crop_for(plan.passes[0], noise_policy.settings, plan.task, None)
    with Image.open(photo) as image:
        box = (crop.box.x, crop.box.y, crop.box.right, crop.box.bottom)
        expected = np.asarray(image.crop(box).resize((32, 32), Image.Resampling.LANCZOS)) / 255
    np.testing.assert_allclose(seen[0].permute(1, 2, 0).numpy(), expected, atol=1e-6)
    share = float(model_mask.mean())
    assert 0.1 < share < 0.4


def test_a_model_may_be_shown_less_of_the_surroundings_for_a_task(
    photo: Path, mask: Path, noise_policy: NoisePolicy
) -> None:
    near = {"fill": 0.01}
    noise_policy.settings = noise_policy.settings.model_copy(update={"context": near})
    for name, words in (("removal", None), ("fill", "hat")):
        request = EditRequest(image=photo, task=built_in(name), mask=mask, grow="0", words=words)
        paint(plan_edit(request), noise_policy, Sampling(), [0])  # type: ignore[arg-type]
    removal, fill = (float(shown.mean()) for shown in noise_policy.masks)
    assert removal < 0.4 < 0.5 < fill


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
    refuse("leave one", task=built_in("extend"), to="16:9", expand="left=9")
    refuse("leave one", task=built_in("extend"), expand="left=9", grow="3")
    refuse("--expand", task=built_in("removal"), expand="left=9")
    refuse("sides already", task=built_in("extend"), expand="left=9", anchor="left")
    refuse("--anchor left", task=built_in("removal"), mask=mask, anchor="left")
    refuse("--anchor up", task=built_in("extend"), to="16:9", anchor="up")
    refuse("--invert-mask", task=built_in("removal"), invert=True)
    refuse("--each-region", task=built_in("removal"), each_region=True)
    refuse("--draw-mask", task=built_in("removal"), mask=mask, draw_mask=True)
    refuse("--mask-alpha clear", task=built_in("removal"), mask_alpha="clear")
    refuse("no alpha channel", task=built_in("removal"), mask_alpha="opaque")
    refuse("covers all", task=built_in("removal"), regions=(WHOLE,), invert=True)
    refuse("add --each-region", task=built_in("fill"), mask=mask, each_words=("a", "b"))
    refuse(
        "2 prompts for 1 region;",
        task=built_in("fill"),
        mask=mask,
        each_region=True,
        each_words=("a", "b"),
    )
    refuse("--seed", task=built_in("removal"), mask=mask, seed=2**63)


def mask_of(photo: Path, **wants: Any) -> Any:
    """The one mask of an edit that is painted in one pass."""
    (step,) = plan_edit(
        EditRequest(image=photo, task=built_in("fill"), words="hat", **wants)
    ).passes
    return step.mask


def test_boxes_polygons_and_masks_add_up(photo: Path, mask: Path) -> None:
    box, polygon = Region(box="10,20,30,40"), Region(polygon="50%,0 60%,0 60%,10%")
    alone = [mask_of(photo, mask=mask), *(mask_of(photo, regions=(r,)) for r in (box, polygon))]
    together = mask_of(photo, mask=mask, regions=(box, polygon))
    assert (together == np.logical_or.reduce(alone)).all()
    assert alone[1].sum() == 1200 and not (alone[1] & alone[0]).any()
    assert (mask_of(photo, mask=mask, regions=(box, polygon), invert=True) == ~together).all()


def test_removal_takes_a_margin_along_and_fill_does_not(photo: Path, mask: Path) -> None:
    given = mask_of(photo, mask=mask)
    (step,) = plan_edit(EditRequest(image=photo, task=built_in("removal"), mask=mask)).passes
    margin = distance_near(given, 20)
    reach = 0.08 * np.sqrt(given.sum())
    assert 8 < reach < 12
    assert (step.mask == (margin <= round(reach))).all()
    (step,) = plan_edit(
        EditRequest(image=photo, task=built_in("removal"), mask=mask, grow="0")
    ).passes
    assert (step.mask == given).all()
    assert (mask_of(photo, mask=mask, grow="3") == (margin <= 3)).all()


def test_each_region_is_its_own_painting(
    photo: Path, mask: Path, noise_policy: NoisePolicy
) -> None:
    both = tuple(Region(box=box) for box in ("20,20,40,40", "400,300,90,60"))
    request = EditRequest(
        image=photo,
        task=built_in("fill"),
        regions=both,
        each_region=True,
        each_words=("a hat", "a tree"),
    )
    plan = plan_edit(request)
    assert [step.prompt for step in plan.passes] == ["a hat", "a tree"]
    assert plan.prompt == "a hat; a tree"
    assert [int(step.mask.sum()) for step in plan.passes] == [1600, 5400]
    (after,) = paint(plan, noise_policy, Sampling(), [3])  # type: ignore[arg-type]
    changed = (after.pixels != plan.canvas.pixels).any(axis=2)
    assert changed[20:60, 20:60].mean() > 0.9 and changed[300:360, 400:490].mean() > 0.9
    # Two crops were shown, each near its region, and nothing between them was touched.
    assert [len(seen) for seen in noise_policy.seen] == [1, 1]
    assert not changed[100:250].any()

    # In one mask file they are found from the top down.
    drawn = np.zeros((400, 600), bool)
    drawn[20:60, 20:60] = drawn[300:360, 400:490] = True
    file = mask.parent / "both.png"
    Image.fromarray(drawn).save(file)
    again = plan_edit(replace(request, mask=file, regions=()))
    for one, other in zip(plan.passes, again.passes, strict=True):
        assert one.prompt == other.prompt and (one.mask == other.mask).all()
    one_prompt = plan_edit(replace(request, mask=file, regions=(), each_words=(), words="a hat"))
    assert [step.prompt for step in one_prompt.passes] == ["a hat", "a hat"]


def test_what_is_transparent_is_painted_and_seen(tmp_path: Path, noise_policy: NoisePolicy) -> None:
    pixels = np.full((40, 60, 4), 200, np.uint8)
    pixels[..., 3] = 255
    pixels[10:20, 10:30] = 0
    pixels[0, 0, 3] = 130
    source, output = tmp_path / "hole.png", tmp_path / "out.png"
    Image.fromarray(pixels).save(source)
    request = EditRequest(
        image=source,
        task=built_in("fill"),
        words="hat",
        mask_alpha="transparent",
        feather=0,
        output=str(output),
    )
    run(request, noise_policy)
    with Image.open(output) as image:
        after = np.asarray(image)
    hole = np.zeros((40, 60), bool)
    hole[10:20, 10:30] = True
    assert (after[hole][:, 3] == 255).all() and len(np.unique(after[hole][:, 0])) > 20
    assert (after[~hole] == pixels[~hole]).all()


def test_a_built_in_task_draws_its_mask_if_asked(photo: Path) -> None:
    drawn = mask_of(photo, draw_mask=True, seed=4)
    assert (drawn == mask_of(photo, draw_mask=True, seed=4)).all()
    assert (drawn != mask_of(photo, draw_mask=True, seed=5)).any()


@pytest.mark.parametrize(
    ("wants", "size", "keep"),
    [
        ({"to": "16:9"}, (711, 400), (55, 0)),
        ({"to": "16:9", "anchor": "left"}, (711, 400), (0, 0)),
        ({"to": "16:9", "anchor": "right"}, (711, 400), (111, 0)),
        ({"to": "700x600", "anchor": "bottom-right"}, (700, 600), (100, 200)),
        ({"to": "700x600", "anchor": "top"}, (700, 600), (50, 0)),
        ({"expand": "left=20%,top=128"}, (720, 528), (120, 128)),
        ({"expand": "all=10"}, (620, 420), (10, 10)),
        ({"expand": "bottom=300%"}, (600, 1600), (0, 0)),
    ],
)
def test_an_extension_leaves_the_picture_where_it_is_anchored(
    photo: Path, noise_policy: NoisePolicy, wants: Any, size: Any, keep: Any
) -> None:
    plan = plan_edit(EditRequest(image=photo, task=built_in("extend"), feather=0, **wants))
    assert plan.canvas.box[2:] == size
    (after,) = paint(plan, noise_policy, Sampling(), [1])  # type: ignore[arg-type]
    kept = (slice(keep[1], keep[1] + 400), slice(keep[0], keep[0] + 600))
    assert (after.pixels[kept] == open_photo(photo).canvas.pixels).all()
    painted = np.ones(size[::-1], bool)
    painted[kept] = False
    new = (after.pixels != plan.canvas.pixels).any(axis=2)
    assert new[painted].mean() > 0.9
    if size[1] == 1600:
        assert len(plan.passes) == 2


def test_edits_of_one_working_size_are_painted_together(
    photo: Path, mask: Path, noise_policy: NoisePolicy
) -> None:
    fill = EditRequest(image=photo, task=built_in("fill"), mask=mask, words="hat", count=2)
    plans = [
        plan_edit(fill),
        plan_edit(EditRequest(image=photo, task=built_in("extend"), to="5:1", seed=7)),
        plan_edit(replace(fill, words="tree", seed=9, count=1)),
    ]
    edits = [(plan, seed) for plan in plans for seed in plan.seeds]
    together = paint_together(edits, noise_policy, Sampling())  # type: ignore[arg-type]
    # The three fills are one batch of two pictures to encode; the extension has passes of its own.
    assert [len(seen) for seen in noise_policy.seen] == [2, 1, 1]
    for (plan, seed), canvas in zip(edits, together, strict=True):
        (alone,) = paint(plan, noise_policy, Sampling(), [seed])  # type: ignore[arg-type]
        assert (canvas.pixels == alone.pixels).all()


def test_a_result_tells_how_it_was_made(photo: Path, mask: Path, noise_policy: NoisePolicy) -> None:
    output = mask.parent / "out.png"
    request = EditRequest(
        image=photo, task=built_in("fill"), mask=mask, words="hat", seed=3, output=str(output)
    )
    signature = Signature(model="pocket", adapter="runs/hats")
    list(run_edit(plan_edit(request), noise_policy, Sampling(), signature))  # type: ignore[arg-type]
    (told,) = read_history(output)
    assert told["model"] == "pocket" and told["adapter"] == "runs/hats"
    assert told["prompt"] == "hat" and told["seed"] == 3 and told["steps"] == 1
    output.unlink()
    run(request, noise_policy)
    assert read_history(output) == []


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
    keep = place(600, 400, (711, 400))
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
        grow="0",
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


def distance_near(mask: Any, far: int = 9) -> Any:
    """As ``distance_to``, for a mask in a large picture: only around it, far elsewhere."""
    rows, columns = np.nonzero(mask)
    part = (
        slice(max(0, rows.min() - far), rows.max() + far + 1),
        slice(max(0, columns.min() - far), columns.max() + far + 1),
    )
    edge = mask & ~np.roll(mask, 1, 0) | mask & ~np.roll(mask, -1, 0)
    edge |= mask & ~np.roll(mask, 1, 1) | mask & ~np.roll(mask, -1, 1)
    distance = np.full(mask.shape, 1e6)
    distance[part] = distance_to(edge[part])
    distance[mask] = 0
    return distance


def test_a_task_has_its_own_steps_until_others_are_asked_for(
    tmp_path: Path, photo: Path, mask: Path, noise_policy: NoisePolicy
) -> None:
    noise_policy.settings = noise_policy.settings.model_copy(update={"task_steps": {"removal": 3}})

    def told(task: str, sampling: Sampling) -> Any:
        request = EditRequest(
            image=photo, task=built_in(task), mask=mask, words="hat", output=f"{tmp_path}/"
        )
        plan = plan_edit(request)
        [result] = run_edit(plan, noise_policy, sampling, Signature(model="m"))  # type: ignore[arg-type]
        return read_history(result.path)[0]["steps"]

    assert told("removal", Sampling()) == 3
    assert told("removal", Sampling(steps=5)) == 5
    assert told("fill", Sampling()) == 1


@pytest.mark.parametrize("more", ["detail", "pieces"])
def test_more_of_the_surroundings_goes_to_the_tasks_that_the_model_names_alone(
    more: str, tmp_path: Path, photo: Path, mask: Path, noise_policy: NoisePolicy
) -> None:
    named = noise_policy.settings.model_copy(update={more: ("removal",)})
    plain = noise_policy.settings.model_copy(update={more: ()})

    def painted(task: str, settings: Any) -> Any:
        noise_policy.settings = settings
        request = EditRequest(
            image=photo, task=built_in(task), mask=mask, words="hat", output=f"{tmp_path}/"
        )
        [result] = run_edit(plan_edit(request), noise_policy, Sampling(), Signature(model="m"))  # type: ignore[arg-type]
        with Image.open(result.path) as image:
            return np.asarray(image.convert("RGB"))

    assert np.array_equal(painted("fill", named), painted("fill", plain))
    assert not np.array_equal(painted("removal", named), painted("removal", plain))

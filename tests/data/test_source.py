from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from onefill.data.source import SampleSource, open_source
from onefill.errors import BadInput, OnefillError
from onefill.tasks.registry import load_tasks
from onefill.tasks.types import Dimension, PromptTemplate, Task

FILL, EXTEND, REMOVAL = (load_tasks().get(name) for name in ("fill", "extend", "removal"))


def left_half(image, rng, options):
    mask = np.zeros((image.height, image.width), dtype=bool)
    mask[:, : image.width // 2] = True
    return mask


def third_party(masks=left_half, template=None, uses_prompt=False) -> Task:
    looks = Dimension(name="looks", question="Does it look good?", uses_prompt=uses_prompt)
    prompt = template or PromptTemplate(without_words="polish")
    return Task(name="polish", summary="Polish", masks=masks, prompt=prompt, dimensions=(looks,))


def test_a_folder_gives_pictures_with_their_captions(draw_picture, tmp_path):
    for name in ("a", "b", "deep/c"):
        draw_picture(f"{name}.png")
        (tmp_path / f"{name}.txt").write_text(f"a  {name[-1]}\n", encoding="utf-8")
    draw_picture(".hidden/d.png")
    source = open_source(tmp_path, [FILL], seed=0)
    assert source.count("fill") == 3
    assert {source.draw("fill", i, 32).words for i in range(3)} == {"a a", "a b", "a c"}


def test_every_row_comes_once_before_any_comes_again(draw_picture, tmp_path):
    for number in range(7):
        draw_picture(f"{number}.png", (32, 32))
    source = open_source(tmp_path, [REMOVAL], seed=3)
    epochs = [
        [source.draw("removal", epoch * 7 + place, 32).image.tobytes() for place in range(7)]
        for epoch in range(2)
    ]
    assert len(set(epochs[0])) == 7
    assert sorted(epochs[0]) == sorted(epochs[1])
    assert epochs[0] != epochs[1]


def test_a_sample_follows_from_seed_task_and_index_alone(draw_picture, tmp_path):
    for number in range(5):
        draw_picture(f"{number}.png")

    def keys(source: SampleSource, task: str) -> list[str]:
        return [source.draw(task, index, 32).key for index in range(6)]

    first = open_source(tmp_path, [REMOVAL, EXTEND], seed=1)
    again = open_source(tmp_path, [EXTEND, REMOVAL], seed=1)
    again.draw("extend", 4, 32)
    assert keys(first, "removal") == keys(again, "removal")
    assert keys(first, "removal") != keys(open_source(tmp_path, [REMOVAL], seed=2), "removal")
    assert keys(first, "removal") != keys(first, "extend")


def test_a_batch_is_the_samples_in_a_row(draw_picture, tmp_path):
    for number in range(4):
        draw_picture(f"{number}.png")
    source = open_source(tmp_path, [REMOVAL], seed=0)
    batch = source.batch("removal", 2, 3, 32)
    assert [s.key for s in batch] == [source.draw("removal", i, 32).key for i in (2, 3, 4)]
    assert batch[0].image.shape == (32, 32, 3)
    assert batch[0].mask.shape == (32, 32)


def test_a_mask_in_the_file_is_used_as_it_is(draw_picture, write_rows, tmp_path):
    draw_picture("a.png", (32, 32))
    mask = np.zeros((32, 32), dtype=bool)
    mask[5:11, 20:30] = True
    Image.fromarray(mask).save(tmp_path / "m.png")
    path = write_rows({"image": "a.png", "mask": "m.png", "prompt": "hat", "task": "fill"})
    sample = open_source(path, [FILL], seed=0).draw("fill", 0, 32)
    assert np.array_equal(sample.mask, mask)
    assert np.array_equal(sample.image, np.asarray(Image.open(tmp_path / "a.png")))


def test_metadata_in_a_folder_speaks_for_it(draw_picture, write_rows, tmp_path):
    draw_picture("a.png")
    draw_picture("b.png")
    write_rows({"file_name": "b.png", "text": "a lantern", "truth": 1}, name="metadata.jsonl")
    source = open_source(tmp_path, [FILL], seed=0)
    assert source.count("fill") == 1
    assert source.draw("fill", 0, 32).words == "a lantern"


def test_a_row_serves_the_task_it_names_or_all(draw_picture, write_rows):
    draw_picture("a.png")
    path = write_rows(
        {"image": "a.png", "prompt": "one", "task": "fill"},
        {"image": "a.png", "prompt": "two"},
        {"image": "a.png", "prompt": "three", "task": "removal"},
    )
    source = open_source(path, [FILL, EXTEND], seed=0)
    assert (source.count("fill"), source.count("extend")) == (2, 1)
    assert not source.borrowing


def test_a_task_the_data_does_not_know_draws_its_own_masks(draw_picture, write_rows, tmp_path):
    draw_picture("a.png", (32, 32))
    draw_picture("b.png", (32, 32))
    Image.fromarray(np.eye(32, dtype=bool)).save(tmp_path / "m.png")
    path = write_rows(
        {"image": "a.png", "mask": "m.png", "prompt": "hat", "task": "fill"},
        {"image": "b.png", "mask": "m.png", "task": "removal"},
        {"image": "a.png", "mask": "m.png", "task": "removal"},
    )
    source = open_source(path, [third_party(), FILL], seed=0)
    assert source.borrowing == {"polish"}
    samples = source.batch("polish", 0, 2, 32)
    assert {sample.words for sample in samples} == {"hat", None}
    assert all(sample.mask[:, :16].all() and not sample.mask[:, 16:].any() for sample in samples)


@pytest.mark.parametrize(
    "task", [FILL, third_party(uses_prompt=True)], ids=["to be painted", "to be judged"]
)
def test_rows_without_words_are_left_out_where_words_are_needed(task, draw_picture, tmp_path):
    for name in ("a", "b"):
        draw_picture(f"{name}.png")
    with pytest.raises(BadInput, match=rf"task '{task.name}' has a prompt.*\.txt beside"):
        open_source(tmp_path, [task], seed=0)
    (tmp_path / "b.txt").write_text("straw hat", encoding="utf-8")
    assert open_source(tmp_path, [task], seed=0).count(task.name) == 1


def test_a_plugin_that_draws_a_wrong_mask_is_named(draw_picture, tmp_path):
    draw_picture("a.png")
    wrong = third_party(masks=lambda image, rng, options: np.ones((3, 3), dtype=bool))
    with pytest.raises(OnefillError, match=r"'polish'.*shape"):
        open_source(tmp_path, [wrong], seed=0).draw("polish", 0, 32)


def test_held_out_pictures_are_never_trained_on(draw_picture, write_rows):
    rows = []
    for number in range(40):
        draw_picture(f"{number}.png")
        rows += [{"image": f"{number}.png", "prompt": "x"}, {"image": f"{number}.png"}]
    path = write_rows(*rows)
    for seed in (0, 1):
        train, held_out = (
            open_source(path, [FILL, REMOVAL], seed, part).pictures()
            for part in ("train", "heldout")
        )
        assert not train & held_out
        assert (len(train), len(held_out)) == (32, 8)
        if seed == 0:
            before = held_out
    assert held_out == before


def test_each_kind_of_row_is_on_both_sides_of_the_split(draw_picture, write_rows):
    rows = []
    for number in range(12):
        draw_picture(f"{number}.png")
        task = "fill" if number < 2 else "removal"
        rows.append({"image": f"{number}.png", "prompt": "x", "task": task})
    path = write_rows(*rows)
    counts = {
        part: open_source(path, [FILL, REMOVAL], 0, part).count("fill")
        for part in ("train", "heldout")
    }
    assert counts == {"train": 1, "heldout": 1}


def test_one_picture_cannot_be_trained_and_tested_on(draw_picture, tmp_path):
    draw_picture("a.png")
    with pytest.raises(BadInput, match="needs pictures to train on and others"):
        open_source(tmp_path, [REMOVAL], 0, "heldout")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{image: a.png}", "not JSON"),
        ("[1, 2]", "not a JSON object"),
        ('{"mask": "a.png"}', "no key 'image'"),
        ('{"image": 3}', "'image' must be text in quotes, not 3"),
        ('{"image": "a.png", "prompt": ["x"]}', "'prompt' must be text"),
        ('{"image": "gone.png"}', "gone.png is no file"),
        ('{"image": "a.png", "mask": "gone.png"}', "gone.png is no file"),
    ],
)
def test_a_malformed_line_is_told_with_its_number(line, reason, draw_picture, write_rows):
    draw_picture("a.png")
    path = write_rows({"image": "a.png", "prompt": "x"}, "", line)
    with pytest.raises(BadInput, match=rf"rows\.jsonl, line 3: .*{reason}") as told:
        open_source(path, [FILL], seed=0)
    assert "\n" not in str(told.value)


def test_what_other_tools_write_into_a_line_is_no_fault(draw_picture, write_rows):
    draw_picture("a.png")
    path = write_rows('\ufeff{"image": "a.png", "prompt": "x", "score": NaN}')
    assert open_source(path, [FILL], seed=0).count("fill") == 1


@pytest.mark.parametrize("content", [b"", b"no picture at all", b"\x89PNG\r\n\x1a\n cut"])
def test_a_file_that_is_no_picture_is_told_before_training(content, draw_picture, tmp_path):
    draw_picture("a.png")
    (tmp_path / "b.png").write_bytes(content)
    with pytest.raises(BadInput, match=r"b\.png"):
        open_source(tmp_path, [REMOVAL], seed=0)


def test_a_mask_of_another_size_is_told_before_training(draw_picture, write_rows, tmp_path):
    draw_picture("a.png", (48, 40))
    Image.new("L", (40, 41), 255).save(tmp_path / "m.png")
    path = write_rows({"image": "a.png", "mask": "m.png"})
    with pytest.raises(BadInput, match=r"line 1.*40x41 but the image is 48x40"):
        open_source(path, [REMOVAL], seed=0)


def test_a_picture_cut_short_is_told_when_it_is_drawn(draw_picture, tmp_path):
    path = draw_picture("a.png")
    path.write_bytes(path.read_bytes()[:-2000])
    source = open_source(tmp_path, [REMOVAL], seed=0)
    with pytest.raises(BadInput, match=r"a\.png: the image is truncated or damaged"):
        source.draw("removal", 0, 32)


@pytest.mark.parametrize(
    ("name", "reason"),
    [("none", "does not exist"), ("empty", "no picture in it"), ("file.txt", "neither a folder")],
)
def test_a_path_that_is_no_data_is_told(name, reason, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.txt").write_text("x")
    with pytest.raises(BadInput, match=f"--data .*{name}: {reason}"):
        open_source(tmp_path / name, [REMOVAL], seed=0)


def test_the_fingerprint_follows_what_the_rows_say(draw_picture, write_rows):
    draw_picture("a.png")
    prints = []
    for words in ("one", "one", "two"):
        path = write_rows({"image": "a.png", "prompt": words})
        prints.append(open_source(path, [FILL], seed=0).fingerprint())
    assert prints[0] == prints[1] != prints[2]

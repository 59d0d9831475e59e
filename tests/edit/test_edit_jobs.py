"""Many edits with one model: jobs files, folders, what happens to failures and to a second run."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edit_doubles import NoisePolicy
from PIL import Image

from onefill.edit.batch import run_jobs
from onefill.edit.jobs import Job, folder_jobs, read_jobs
from onefill.edit.key import edit_key
from onefill.edit.processes import join_processes, own_device
from onefill.edit.record import read_history
from onefill.edit.request import EditRequest, plan_edit
from onefill.errors import BadInput
from onefill.policy.sampler import Sampling
from onefill.tasks.registry import load_tasks

Cli = Callable[..., Any]
REGISTRY = load_tasks()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two photographs and their masks; the current folder is another one."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        pixels = rng.integers(0, 256, (48, 64, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.png")
        mask = np.zeros((48, 64), bool)
        mask[10:25, 12:30] = True
        Image.fromarray(mask).save(folder / f"{name}-mask.png")
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return folder


def usual(**wants: Any) -> EditRequest:
    return EditRequest(image=Path(), task=REGISTRY.tasks["fill"], **wants)


def write(home: Path, *lines: Any) -> Path:
    file = home / "jobs.jsonl"
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    file.write_text("\n".join(texts), encoding="utf-8")
    return file


def read(home: Path, *lines: Any, outside: bool = False, **wants: Any) -> list[Job]:
    task = wants.pop("task", None)
    return read_jobs(
        write(home, *lines),
        usual(**wants),
        REGISTRY,
        task=task,
        folder="out/",
        allow_outside=outside,
    )


def test_a_line_says_what_differs_from_the_usual(home: Path) -> None:
    lines = (
        {"image": "a.png", "mask": "a-mask.png"},
        "",
        {"image": "b.png", "box": [1, 2, "50%", 4], "prompt": "tree", "seed": 9, "n": 2},
        {"image": "a.png", "task": "removal", "polygon": [[0, 0], [9, 0], [9, 9]], "grow": 0},
        {"image": "a.png", "text": "澳门", "mask": "a-mask.png", "out": "sign.jpg"},
        {"image": "b.png", "to": "16:9", "anchor": "left"},
        {
            "image": "b.png",
            "regions": [{"box": "1,1,5,5", "prompt": "cat"}, {"mask": "b-mask.png"}],
            "seed": 4,
        },
    )
    jobs = read(home, *lines, words="hat", seed=3)
    assert [job.name.rsplit("/")[-1] for job in jobs] == [
        f"jobs.jsonl line {number}" for number in (1, 3, 4, 5, 6, 7)
    ]
    assert [[str(path) for path in job.outputs] for job in jobs] == [
        ["out/a-fill-3.png"],
        ["out/b-fill-9.png", "out/b-fill-10.png"],
        ["out/a-removal-3.png"],
        ["out/sign.jpg"],
        ["out/b-extend-3.png"],
        ["out/b-fill-4.png"],
    ]
    plans = [plan_edit(job.request) for job in jobs]
    assert [plan.task for plan in plans] == ["fill", "fill", "removal", "text", "extend", "fill"]
    assert [plan.prompt for plan in plans] == ["hat", "tree", "remove", "澳门", "hat", "cat; hat"]
    assert plans[1].passes[0].mask.sum() == 32 * 4
    assert plans[4].canvas.box[2:] == (85, 48)
    assert len(plans[5].passes) == 2


def test_where_to_paint_may_be_said_for_all_lines(home: Path) -> None:
    from onefill.edit.region import Region

    first, second = read(
        home,
        {"image": "a.png"},
        {"image": "b.png", "mask": "b-mask.png"},
        regions=(Region(box="0,0,3,3"),),
        words="hat",
    )
    assert plan_edit(first.request).passes[0].mask.sum() == 9
    assert plan_edit(second.request).passes[0].mask.sum() == 15 * 18
    (wide,) = read(home, {"image": "a.png"}, to="16:9")
    assert plan_edit(wide.request).task == "extend"


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([], "holds no edit"),
        (["{"], "line 1: no JSON"),
        (["[1]"], "line 1: no JSON object"),
        ([{"image": "a.png"}, {"mask": "a.png"}], 'line 2: "image"'),
        ([{"image": "a.png", "imgae": "b.png"}], '"imgae" is no key; known are'),
        ([{"image": "a.png", "seed": -1}], '"seed"'),
        ([{"image": "a.png", "seed": "x"}], '"seed"'),
        ([{"image": "a.png", "n": 10**9}], '"n"'),
        ([{"image": "a.png", "task": "fil"}], "onefill tasks"),
        ([{"image": "a.png", "text": "a", "prompt": "b"}], "leave one of them out"),
        ([{"image": "a.png", "text": "a", "task": "fill"}], "--text"),
        ([{"image": "a.png", "text": ""}], "--text: says nothing"),
        ([{"image": "../a.png"}], "--allow-outside"),
        ([{"image": "/etc/passwd"}], "--allow-outside"),
        ([{"image": "a.png", "mask": "../m.png"}], "--allow-outside"),
        ([{"image": "a.png", "regions": [{"mask": "../m.png"}]}], "--allow-outside"),
        ([{"image": "a.png", "out": "../a.png"}], "--allow-outside"),
        ([{"image": "a.png", "out": "/tmp/a.png"}], "--allow-outside"),
        ([{"image": "a.png", "out": "{stem.x}.png"}], "may stand in braces"),
        ([{"image": "a.png", "regions": [{"prompt": "x"}]}], '"regions"'),
        ([{"image": "a\0.png"}], "no path"),
        ([{"image": "a.png"}, {"image": "sub/a.png"}], "line 2: writes out/a-fill-0.png"),
    ],
)
def test_faults_name_their_line_before_anything_is_done(
    home: Path, lines: list[Any], says: str
) -> None:
    with pytest.raises(BadInput) as refusal:
        read(home, *lines)
    assert says in str(refusal.value) and "\n" not in str(refusal.value)


def test_a_link_out_of_the_folder_is_outside(home: Path, photo: Path) -> None:
    (home / "link.jpg").symlink_to(photo)
    with pytest.raises(BadInput, match="--allow-outside"):
        read(home, {"image": "link.jpg"})
    (job,) = read(home, {"image": "link.jpg", "out": "../x.png"}, outside=True)
    assert job.request.image.samefile(photo)
    assert job.outputs[0].resolve() == Path("x.png").resolve()


def test_photographs_find_their_masks_by_name(home: Path) -> None:
    jobs = folder_jobs(home, usual(words="hat"), output="out/")
    assert [job.request.image.name for job in jobs] == ["a.png", "b.png"]
    assert [job.request.mask and job.request.mask.name for job in jobs] == [
        "a-mask.png",
        "b-mask.png",
    ]
    masks = home.parent / "masks"
    masks.mkdir()
    for stem in ("a", "b", "a-mask", "b-mask"):
        Image.new("L", (64, 48), 255).save(masks / f"{stem}.bmp")
    jobs = folder_jobs(home, usual(words="hat", mask=masks), output="out/")
    assert [job.request.mask and job.request.mask.name for job in jobs] == [
        "a-mask.bmp",
        "a.bmp",
        "b-mask.bmp",
        "b.bmp",
    ]
    (masks / "b.bmp").unlink()
    with pytest.raises(BadInput, match=r"b\.png: has no mask in .*masks"):
        folder_jobs(home, usual(words="hat", mask=masks), output="out/")
    (home / "b-mask.png").unlink()
    with pytest.raises(BadInput, match=r"b\.png: has no mask beside it"):
        folder_jobs(home, usual(words="hat"), output="out/")
    with pytest.raises(BadInput, match="no photograph"):
        folder_jobs(masks.parent / "work", usual(words="hat"), output="out/")


def test_jobs_of_one_size_are_painted_together_and_as_if_alone(
    home: Path, noise_policy: NoisePolicy
) -> None:
    line = {"image": "a.png", "mask": "a-mask.png", "prompt": "hat"}
    jobs = read(home, line, {**line, "seed": 7, "prompt": "tree"}, {**line, "image": "b.png"})
    outcomes = list(run_jobs(jobs, noise_policy, Sampling()))  # type: ignore[arg-type]
    assert [outcome.error for outcome in outcomes] == [None] * 3
    assert [len(seen) for seen in noise_policy.seen] == [3]
    together = [job.outputs[0].read_bytes() for job in jobs]
    for job, before in zip(jobs, together, strict=True):
        list(run_jobs([job], noise_policy, Sampling()))  # type: ignore[arg-type]
        assert job.outputs[0].read_bytes() == before


def test_one_bad_job_harms_no_other(home: Path) -> None:
    class Short(NoisePolicy):
        def encode(self, images: Any, masks: Any, prompts: Any, negative: Any = None) -> Any:
            if "much too long" in prompts:
                raise BadInput("--prompt: 99 tokens")
            return super().encode(images, masks, prompts, negative)

    line = {"image": "a.png", "mask": "a-mask.png", "prompt": "hat"}
    jobs = read(
        home,
        line,
        {**line, "seed": 1, "prompt": "much too long"},
        {**line, "seed": 2, "image": "none.png"},
        {**line, "seed": 3},
    )
    outcomes = list(run_jobs(jobs, Short(), Sampling()))  # type: ignore[arg-type]
    assert [outcome.error is None for outcome in outcomes] == [True, False, False, True]
    assert "99 tokens" in str(outcomes[1].error) and "no such file" in str(outcomes[2].error)
    assert [path.name for path in sorted(Path("out").iterdir())] == [
        "a-fill-0.png",
        "a-fill-3.png",
    ]


def test_a_batch_from_end_to_end(cli: Cli, home: Path, tiny_model: Path) -> None:
    jobs = write(
        home,
        {"image": "a.png", "mask": "a-mask.png", "prompt": "hat"},
        {"image": "none.png", "mask": "a-mask.png", "prompt": "hat"},
        {"image": "b.png", "mask": "b-mask.png", "task": "removal", "seed": 2},
    )
    line = ("edit", "--jobs", jobs, "-o", "out/", "--model", tiny_model, "--steps", 1)
    stopped = cli(*line)
    assert (stopped.code, stopped.stdout) == (2, "out/a-fill-0.png\n")
    assert stopped.stderr.splitlines()[-1].startswith(f"error: {jobs} line 2: image ")
    again = cli(*line)
    assert again.code == 2 and "--skip-existing" in again.stderr
    first = Path("out/a-fill-0.png").stat().st_mtime_ns
    rest = cli(*line, "--skip-existing", "--on-error", "continue", "--json")
    assert rest.code == 1
    document = json.loads(rest.stdout)
    assert [image["path"] for image in document["images"]] == ["out/b-removal-2.png"]
    assert document["skipped"] == 1
    (failure,) = document["failed"]
    assert failure["job"] == f"{jobs} line 2" and "no such file" in failure["error"]
    assert rest.stderr.splitlines()[-1].startswith("error: 1 of 2 edits failed")
    assert "Failed" in rest.stderr and "line 2" in rest.stderr
    assert Path("out/a-fill-0.png").stat().st_mtime_ns == first
    assert sorted(path.name for path in Path("out").iterdir()) == [
        "a-fill-0.png",
        "b-removal-2.png",
    ]
    assert read_history(Path("out/b-removal-2.png"))[0]["seed"] == 2


def test_a_folder_from_end_to_end(cli: Cli, home: Path, tiny_model: Path) -> None:
    line = ("edit", home, "--task", "removal", "-o", "out/", "--model", tiny_model, "--steps", 1)
    result = cli(*line)
    assert (result.code, result.stdout) == (0, "out/a-removal-0.png\nout/b-removal-0.png\n")
    nothing = cli(*line, "--skip-existing")
    assert (nothing.code, nothing.stdout) == (0, "")
    assert nothing.stderr == "2 of 2 edits are there already\n"


def test_an_edit_is_known_by_what_decides_how_its_results_look(home: Path) -> None:
    line = {"image": "a.png", "mask": "a-mask.png", "prompt": "hat"}

    def key(making: dict[str, Any] | None = None, /, **changes: Any) -> str:
        (job,) = read(home, line | changes)
        return edit_key(job.request, making or {})

    first = key()
    assert key() == first
    assert key({"steps": None}) == first  # an option that nobody gave
    assert key(n=4) == key(out="x.png") == first
    (home / "sub").mkdir()
    for name in ("a.png", "a-mask.png"):
        (home / "sub" / name).write_bytes((home / name).read_bytes())
    assert key(image="sub/a.png", mask="sub/a-mask.png") == first
    others = [
        key(prompt="tree"),
        key(seed=1),
        key(task="removal"),
        key(image="b.png"),
        key(mask=None, box="1,1,9,9"),
        key(mask=None, regions=[{"mask": "a-mask.png", "prompt": "cat"}]),
        key(feather=3),
        key(grow=3),
        key(mask="gone.png"),
        key({"steps": 3}),
        key({"adapter": home / "a.png"}),
    ]
    Image.new("L", (64, 48), 255).save(home / "a-mask.png")
    others.append(key())
    assert len({first, *others}) == 1 + len(others)


def test_what_has_changed_is_painted_again(cli: Cli, home: Path, tiny_model: Path) -> None:
    masked = [{"image": f"{name}.png", "mask": f"{name}-mask.png"} for name in ("a", "b")]
    lines = [
        {**masked[0], "prompt": "hat", "out": "one.png"},
        {**masked[1], "prompt": "hat", "out": "two.jpg"},
        {**masked[1], "task": "removal", "out": "three.webp"},
    ]
    names = [f"out/{line['out']}" for line in lines]

    def again(*options: object, model: Path = tiny_model) -> tuple[list[str], str]:
        jobs = write(home, *lines)
        line = ("edit", "--jobs", jobs, "-o", "out/", "--model", model, "--skip-existing")
        result = cli(*line, *options)
        assert result.code == 0, result.stderr
        return result.stdout.splitlines(), result.stderr

    steps = ("--steps", 1)
    assert again(*steps) == (names, "")
    assert again(*steps) == ([], "3 of 3 edits are there already\n")

    before = Path(names[0]).read_bytes()
    lines[0]["prompt"] = "tree"
    painted, said = again(*steps)
    assert painted == names[:1] and "1 of 3 edits are painted again" in said
    assert read_history(Path(names[0]))[-1]["prompt"] == "tree"
    assert Path(names[0]).read_bytes() != before
    assert again(*steps)[0] == []

    Image.new("L", (64, 48), 255).save(home / "b-mask.png")
    assert again(*steps)[0] == names[1:]

    steps = ("--steps", 2)
    assert again(*steps)[0] == names
    assert again(*steps, "--feather", 0)[0] == names
    assert again(*steps, "--feather", 0)[0] == []
    other = home / "other-model"
    shutil.copytree(tiny_model, other)
    assert again(*steps, "--feather", 0, model=other)[0] == names


def test_a_result_that_tells_nothing_stays_and_that_is_said(
    cli: Cli, home: Path, tiny_model: Path
) -> None:
    line = ("edit", home, "--task", "removal", "-o", "out/", "--model", tiny_model, "--no-metadata")
    assert cli(*line, "--steps", 1).code == 0
    result = cli(*line, "--steps", 2, "--skip-existing")
    assert (result.code, result.stdout) == (0, "")
    assert "2 of 2 edits do not tell how they were made" in result.stderr
    Path("out/a-removal-0.png").unlink()
    assert cli(*line, "--skip-existing").stdout == "out/a-removal-0.png\n"


def test_ranked_jobs_are_done_once_their_ranking_is_there(
    cli: Cli, home: Path, tiny_model: Path, tmp_path: Path
) -> None:
    from onefill.pocket.judge.architecture import write_random_judge

    write_random_judge(tmp_path / "judge", seed=7)
    line = (
        *("edit", home, "--task", "removal", "-o", "out/", "--model", tiny_model, "--steps", 1),
        *("-n", 2, "--rank", "--keep", 1, "--judge", tmp_path / "judge"),
    )
    first = cli(*line)
    assert first.code == 0, first.stderr
    assert len(first.stdout.splitlines()) == 2
    left = sorted(path.name for path in Path("out").iterdir())
    assert len(left) == 4 and not any(name.startswith(".") for name in left)
    again = cli(*line, "--skip-existing")
    assert (again.code, again.stdout) == (0, "")

    # What the earlier ranking kept goes, so that one result stays the only one.
    ranking = Path("out/a-removal-0-ranking.json")
    document = json.loads(ranking.read_text())
    best, worst = document["results"]
    kept, other = (f"a-removal-{entry['seed']}.png" for entry in (best, worst))
    Path(f"out/{kept}").rename(f"out/{other}")
    best["path"], worst["path"] = None, other
    ranking.write_text(json.dumps(document | {"key": "of other words"}))
    changed = cli(*line, "--skip-existing")
    assert (changed.code, changed.stdout) == (0, f"out/{kept}\n")
    assert sorted(path.name for path in Path("out").iterdir()) == left

    both = cli(*line, "--skip-existing", "--keep", 2)
    assert (both.code, len(both.stdout.splitlines())) == (0, 4)


BAD_LINES = {
    "no place for results": (["--jobs", "{jobs}"], "-o results/"),
    "a folder and no place": (["{home}"], "-o results/"),
    "a file as place": (["--jobs", "{jobs}", "-o", "{home}/a.png"], "is a file"),
    "both": (["{home}/a.png", "--jobs", "{jobs}", "-o", "out/"], "leave it out"),
    "no such file": (["--jobs", "{home}/none.jsonl", "-o", "out/"], "--jobs"),
    "a picture as jobs": (["--jobs", "{home}/a.png", "-o", "out/"], "jsonl"),
    "what on error": (["--jobs", "{jobs}", "-o", "out/", "--on-error", "sing"], "continue"),
    "neither": (["--prompt", "hat"], "name the photograph"),
    "skip for one": (["{home}/a.png", "--skip-existing"], "--jobs FILE"),
    "rank of one": (["--jobs", "{jobs}", "-o", "out/", "--rank"], "line 1: --rank"),
}


@pytest.mark.parametrize("case", BAD_LINES)
def test_bad_input_is_one_line_and_no_file(
    cli: Cli, home: Path, tiny_model: Path, case: str
) -> None:
    jobs = write(home, {"image": "a.png", "mask": "a-mask.png", "prompt": "hat"})
    words, says = BAD_LINES[case]
    line = [word.format(home=home, jobs=jobs) for word in words]
    result = cli("edit", *line, "--model", tiny_model)
    assert (result.code, result.stdout, result.stderr.count("\n")) == (2, "", 1), result.stderr
    assert says in result.stderr
    assert list(Path().iterdir()) == []


def test_ctrl_c_leaves_whole_files_and_says_how_to_go_on(
    cli: Cli, home: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onefill.edit.batch as batch

    written = []

    def write_one(*arguments: Any) -> Any:
        if written:
            raise KeyboardInterrupt
        written.append(arguments)
        return original(*arguments)

    original = batch.write_result
    monkeypatch.setattr(batch, "write_result", write_one)
    line = ("edit", home, "--task", "removal", "-o", "out/", "--model", tiny_model, "--steps", 1)
    result = cli(*line)
    assert result.code == 130
    assert "--skip-existing" in result.stderr and result.stderr.endswith("interrupted\n")
    assert [path.name for path in Path("out").iterdir()] == ["a-removal-0.png"]


def launch(count: int, line: list[object]) -> list[Any]:
    """Start processes as a launcher does, and wait for all of them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    running = []
    for index in range(count):
        place = {"RANK": index, "LOCAL_RANK": index, "WORLD_SIZE": count, "MASTER_PORT": port}
        environment = {
            **os.environ,
            **{name: str(value) for name, value in place.items()},
            "MASTER_ADDR": "127.0.0.1",
            "OMP_NUM_THREADS": "1",
        }
        running.append(
            subprocess.Popen(
                [sys.executable, "-m", "onefill", *map(str, line)],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=environment,
            )
        )
    ended = []
    for process in running:
        out, err = process.communicate(timeout=300)
        ended.append((process.returncode, out, err))
    return ended


def test_processes_share_a_batch(home: Path, tiny_model: Path) -> None:
    line = {"image": "a.png", "mask": "a-mask.png", "prompt": "hat"}
    jobs = write(
        home, *({**line, "seed": seed} for seed in range(4)), {**line, "image": "none.png"}
    )
    command = ["edit", "--jobs", jobs, "--model", tiny_model, "--steps", 1, "--json"]
    first, second = launch(2, [*command, "-o", "out/", "--on-error", "continue"])
    assert first[0] == 1 and second[0] == 0, (first, second)
    assert second[1] == ""
    document = json.loads(first[1])
    assert sorted(image["seed"] for image in document["images"]) == [0, 1, 2, 3]
    assert [failure["job"] for failure in document["failed"]] == [f"{jobs} line 5"]
    assert sorted(path.name for path in Path("out").iterdir()) == [
        f"a-fill-{seed}.png" for seed in range(4)
    ]


def test_a_failure_in_one_process_ends_all_with_one_line_each(home: Path, tiny_model: Path) -> None:
    line = {"image": "a.png", "mask": "a-mask.png", "prompt": "hat"}
    jobs = write(home, line, {**line, "image": "none.png"})
    first, second = launch(2, ["edit", "--jobs", jobs, "--model", tiny_model, "-o", "out/"])
    assert (second[0], second[1]) == (2, ""), second
    assert f"error: {jobs} line 2: image" in second[2]
    assert (first[0], first[1]) == (1, "out/a-fill-0.png\n"), first
    assert "error: another process of this batch has failed" in first[2]
    assert "--skip-existing" in first[2]


@pytest.mark.parametrize("fault", [None, BadInput("line 2: no such file"), KeyboardInterrupt()])
def test_processes_part_in_order_whatever_happens(
    fault: BaseException | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    class State:
        process_index, num_processes = 1, 2

        def __init__(self) -> None:
            self.did: list[str] = []

        def wait_for_everyone(self) -> None:
            self.did.append("wait")
            raise RuntimeError("Connection closed by peer")  # the other has waited, and is gone

        def destroy_process_group(self) -> None:
            self.did.append("destroy")

    state = State()
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr("onefill.edit.processes._state", lambda: state)
    with pytest.raises(type(fault)) if fault else nullcontext(), join_processes() as processes:
        assert (processes.index, processes.count) == (1, 2)
        if fault:
            raise fault
    assert state.did == (["destroy"] if fault else ["wait", "destroy"])


def test_one_photograph_is_no_batch_to_share(
    cli: Cli, home: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    line = ("edit", home / "a.png", "--box", "1,1,9,9", "--prompt", "hat", "--model", tiny_model)
    result = cli(*line)
    assert (result.code, result.stderr.count("\n")) == (2, 1)
    assert "several processes" in result.stderr


def test_each_process_takes_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert own_device("cuda") == "cuda"
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert own_device("cuda") == "cuda:3"
    assert own_device("cpu") == "cpu"

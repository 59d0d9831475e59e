"""Throw damaged pictures, masks and job files at ``onefill edit`` and count what happens.

python bench/edit_fuzz.py [--cases 1000] [--seed 0] [--model FOLDER]

Each case is one command line, run through the command's own error boundary in this process. What
must hold: an exit code of 0, 1 or 2; no traceback and no "unexpected" error; exactly one line of
error when it fails; no file left then; every file that is left opens whole and nothing is left
beside it. Prints one JSON document with the tally; exit code 1 if anything broke a rule.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import random
import shutil
import struct
import sys
import tempfile
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from onefill.cli.app import run

WIDTH, HEIGHT = 48, 36
SUFFIXES = ("png", "jpg", "webp", "tif", "bmp", "gif")
MODES = ("RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "I;16", "F")
RESULTS = (".png", ".webp", ".jpg")

Damage = Callable[[bytes, random.Random], bytes]


@dataclass
class Tally:
    """How many command lines ended how, and those that broke a rule."""

    ends: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)


def keep(data: bytes, rng: random.Random) -> bytes:
    """No damage."""
    return data


def cut(data: bytes, rng: random.Random) -> bytes:
    """Only the beginning."""
    return data[: rng.randrange(len(data))]


def flip(data: bytes, rng: random.Random) -> bytes:
    """Some bytes changed anywhere."""
    damaged = bytearray(data)
    for _ in range(rng.choice((1, 3, 30))):
        damaged[rng.randrange(len(damaged))] = rng.randrange(256)
    return bytes(damaged)


def flip_head(data: bytes, rng: random.Random) -> bytes:
    """Damage where the formats keep their sizes, depths and offsets."""
    damaged = bytearray(data)
    for _ in range(rng.choice((1, 2, 6))):
        damaged[rng.randrange(min(96, len(damaged)))] = rng.choice((0, 1, 127, 255))
    return bytes(damaged)


def erase(data: bytes, rng: random.Random) -> bytes:
    """A stretch of zeros."""
    start = rng.randrange(len(data))
    length = rng.randrange(1, len(data))
    return data[:start] + bytes(min(length, len(data) - start)) + data[start + length :]


def repeat(data: bytes, rng: random.Random) -> bytes:
    """A part once more at the end."""
    return data + data[rng.randrange(len(data)) :]


def replace_all(data: bytes, rng: random.Random) -> bytes:
    """Something else under the same name."""
    return rng.choice(
        (b"", b"\n", b"<svg/>", b"BM", b"GIF89a", b"\xff\xd8\xff", rng.randbytes(500))
    )


def claim_more(data: bytes, rng: random.Random) -> bytes:
    """A short PNG that says it is enormous."""
    side = rng.choice((0, 70_000, 2**31 - 1))
    header = struct.pack(">IIBBBBB", side, rng.choice((1, side)), 8, 2, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(900))), (b"IEND", b"")]
    chunks = [
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


DAMAGES: tuple[Damage, ...] = (
    *(keep, cut, flip, flip_head, flip_head, erase, repeat, replace_all, claim_more),
)


def draw_picture(rng: random.Random) -> tuple[bytes, str]:
    """A sound picture in a random format and mode, with EXIF, and its suffix."""
    noise = np.random.default_rng(rng.randrange(2**32)).integers(
        0, 256, (HEIGHT, WIDTH, 4), np.uint8
    )
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = rng.randrange(0, 10)
    exif[ExifTags.Base.Make] = "Fuzz" * rng.choice((1, 50))
    while True:
        suffix, mode = rng.choice(SUFFIXES), rng.choice(MODES)
        image = Image.fromarray(noise, "RGBA")
        stream = io.BytesIO()
        with contextlib.suppress(OSError, ValueError, KeyError):  # a mode the format cannot hold
            kind = Image.registered_extensions()[f".{suffix}"]
            (image.convert("L") if mode in ("I;16", "F") else image).convert(mode).save(
                stream, kind, exif=exif.tobytes()
            )
            return stream.getvalue(), suffix


def draw_mask(rng: random.Random) -> bytes:
    """A sound mask of the picture's size."""
    mask = Image.new("L", (WIDTH, HEIGHT))
    mask.paste(255, (8, 6, rng.randrange(12, 40), rng.randrange(10, 30)))
    stream = io.BytesIO()
    mask.save(stream, "PNG")
    return stream.getvalue()


def draw_jobs(rng: random.Random, folder: Path) -> bytes:
    """Job lines, many of them wrong in one way."""
    values: tuple[object, ...] = (
        *(
            "",
            "absent.png",
            "../photo.png",
            "/etc/passwd",
            str(folder),
            "a\0b",
            "\ud800",
            "x" * 5000,
        ),
        *(None, True, -1, 1e400, 2**70, [], ["photo.png"], {"image": 1}, "mask.png", "~/x.png"),
    )
    lines = []
    for number in range(rng.randrange(1, 5)):
        job: dict[str, object] = {
            "image": "photo.png",
            "mask": "mask.png",
            "prompt": "hat",
            "seed": number,
        }
        for _ in range(rng.choice((0, 0, 0, 1, 2))):
            key = rng.choice(("image", "mask", "prompt", "task", "seed", "out", "", "imgae"))
            job[key] = rng.choice(values)
        if rng.random() < 0.1:
            job.pop(rng.choice(sorted(job)))
        sound = rng.random() < 0.9
        lines.append(json.dumps(job) if sound else rng.choice((json.dumps([job]), "{", "", "7")))
    data = "\n".join(lines).encode("utf-8", "replace")
    return rng.choice((keep, keep, keep, keep, flip, cut, replace_all))(data or b"\n", rng)


def draw_damaged_edits(rng: random.Random, folder: Path) -> bytes:
    """Sound job lines, some of whose pictures are damaged."""
    jobs = []
    for number in range(rng.randrange(1, 5)):
        picture, suffix = draw_picture(rng)
        damage = rng.choice((keep, rng.choice(DAMAGES)))
        (folder / f"{number}.{suffix}").write_bytes(damage(picture, rng))
        jobs.append({"image": f"{number}.{suffix}", "box": "20%,20%,9,9", "task": "removal"})
    return "\n".join(map(json.dumps, jobs)).encode()


def make_case(rng: random.Random, folder: Path) -> list[str]:
    """Write one case's files and return its command line, without model and output."""
    kind = rng.choice(("image", "image", "mask", "both", "jobs"))
    if kind == "jobs":
        image = Image.new("RGB", (WIDTH, HEIGHT), "gray")
        image.save(folder / "photo.png")
        (folder / "mask.png").write_bytes(draw_mask(rng))
        lines = draw_jobs(rng, folder) if rng.random() < 0.5 else draw_damaged_edits(rng, folder)
        (folder / "jobs.jsonl").write_bytes(lines)
        on_error = rng.choice(("stop", "continue"))
        return ["edit", "--jobs", str(folder / "jobs.jsonl"), "--on-error", on_error]
    picture, suffix = draw_picture(rng)
    mask = draw_mask(rng)
    if kind in ("image", "both"):
        picture = rng.choice(DAMAGES)(picture, rng)
    if kind in ("mask", "both"):
        mask = rng.choice(DAMAGES)(mask, rng)
    suffix = rng.choice((suffix, suffix, suffix, rng.choice(SUFFIXES)))
    (folder / f"photo.{suffix}").write_bytes(picture)
    (folder / "mask.png").write_bytes(mask)
    photo = str(folder / f"photo.{suffix}")
    return ["edit", photo, "--mask", str(folder / "mask.png"), "--task", "removal"]


def judge_case(code: int, said: str, results: Path, *, jobs: bool) -> tuple[str, str | None]:
    """How a command line ended, and the rule it broke, if any."""
    left = sorted(path for path in results.rglob("*") if path.is_file())
    errors = [line for line in said.splitlines() if line.startswith("error: ")]
    end = {0: "edited", 1: "failed while running", 2: "refused in one line"}.get(code, "other")
    if "Traceback" in said or "unexpected " in said:
        return end, "a traceback or an unexpected error"
    if code not in (0, 1, 2):
        return end, f"exit code {code}"
    if code and len(errors) != 1:
        return end, f"{len(errors)} lines of error"
    if code and left and not jobs:
        return end, f"left {left[0].name} though it failed"
    for path in left:
        if path.name.startswith(".") or path.name.endswith(".part"):
            return end, f"left {path.name}"
        if path.suffix not in RESULTS:
            continue  # the journal of a batch
        try:
            with Image.open(path) as image:
                image.load()
        except Exception as error:
            return end, f"{path.name} does not open: {error}"
    return end, None


def main(arguments: list[str] | None = None) -> int:
    """Run the cases and print the tally."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", help="diffusers folder; a tiny random one without it")
    options = parser.parse_args(arguments)

    tally = Tally()
    with tempfile.TemporaryDirectory() as parent:
        model = options.model or _tiny_model(Path(parent) / "model")
        for number in range(options.cases):
            rng = random.Random(f"{options.seed}/{number}")
            folder, results = Path(parent) / "case", Path(parent) / "results"
            for path in (folder, results):
                shutil.rmtree(path, ignore_errors=True)
                path.mkdir()
            line = make_case(rng, folder)
            jobs = "--jobs" in line
            target = f"{results}/" if jobs else f"{results}/out{rng.choice(RESULTS)}"
            spoken = io.StringIO()
            with contextlib.redirect_stderr(spoken), contextlib.redirect_stdout(io.StringIO()):
                code = run([*line, "-o", target, "--model", model, "--steps", "1"])
            end, fault = judge_case(code, spoken.getvalue(), results, jobs=jobs)
            tally.ends[("jobs: " if jobs else "") + end] += 1
            if fault:
                tally.broken.append(f"case {number}: {fault}: {spoken.getvalue()[-300:]}")
    print(
        json.dumps(
            {
                "cases": options.cases,
                "seed": options.seed,
                "ends": dict(sorted(tally.ends.items())),
                "rules broken": tally.broken,
            },
            indent=2,
        )
    )
    return 1 if tally.broken else 0


def _tiny_model(folder: Path) -> str:
    from onefill.pocket.policy.architecture import write_random_policy

    return str(write_random_policy(folder, seed=0))


if __name__ == "__main__":
    sys.exit(main())

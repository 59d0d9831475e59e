"""Break training runs in every way at hand, and see that none is lost.

python bench/fault_campaign.py [--kills 100] [--corruptions 40] [--full-disks 20] [--json]

Runs of tiny random models are killed with SIGKILL at random moments, their disk (a small tmpfs) is
filled and made read-only, and bytes of their checkpoints, metrics and status are corrupted. After
each fault the folder must be readable, the last whole checkpoint must be there, and the run must go
on; no process may end with a traceback or an error that nobody foresaw. The tally is printed; the
exit code is 1 if anything was not as it should be.

The disk faults need `unshare` (Linux, user namespaces); without it they are left out, and the
tally says so.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

_INSIDE = "ONEFILL_FAULTS_INSIDE"
_DISK = 64 << 20  # bytes of the small disk
_FOREVER = 100_000  # steps that nobody waits for


@dataclass
class Campaign:
    """A run to be broken, and what came of it.

    Attributes:
        work: models, pictures and logs.
        run: the folder of the run, on the small disk if there is one.
        flags: of the run's first command.
        tally: of each kind of fault, how often it ended how.
        wrong: what was not as it should be.
    """

    work: Path
    run: Path
    flags: list[str]
    rng: random.Random
    tally: dict[str, Counter[str]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def note(self, fault: str, outcome: str, wrong: str = "") -> None:
        """Count an outcome; ``wrong`` says what should not be."""
        self.tally.setdefault(fault, Counter())[outcome] += 1
        if wrong:
            self.wrong.append(f"{fault}: {wrong}")

    @property
    def log(self) -> Path:
        """What the last process said."""
        return self.work / "log.txt"

    def begin(self, arguments: list[str]) -> int:
        """Start ``onefill train`` in a fork, whose libraries are loaded; returns its id."""
        child = os.fork()
        if child:
            return child
        code = 70
        try:
            descriptor = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(descriptor, 1)
            os.dup2(descriptor, 2)
            from onefill.cli.app import run

            code = run(["train", *arguments])
        finally:
            os._exit(code)

    def train(self, arguments: list[str]) -> tuple[int, str]:
        """Run it to its end: exit code and what it said."""
        code = os.waitstatus_to_exitcode(os.waitpid(self.begin(arguments), 0)[1])
        return code, self.log.read_text(encoding="utf-8", errors="replace")

    def resume(self, steps: int) -> tuple[int, str]:
        """Go on to ``steps``."""
        return self.train(["--resume", str(self.run), "--steps", str(steps)])

    def check(self, fault: str) -> int:
        """That the folder can be read, and the step of its last whole checkpoint (or -1)."""
        from onefill.checkpoint import read_last_checkpoint
        from onefill.errors import OnefillError
        from onefill.rl.metrics import MetricsLog
        from onefill.rl.report import write_report
        from onefill.rl.run_folder import RunFolder, open_run_folder

        try:
            open_run_folder(self.run, {})
            folder = RunFolder(self.run)
            MetricsLog(folder.metrics).read()
            write_report(folder)
            return int(read_last_checkpoint(folder.checkpoints).state["step"])
        except OnefillError as error:
            self.wrong.append(f"{fault}: {error}")
        return -1

    def heard(self, fault: str, code: int, said: str, allowed: tuple[int, ...]) -> str:
        """Judge how a process ended: its outcome for the tally."""
        last = (said.strip().splitlines() or [""])[-1]
        if "Traceback" in said or "unexpected" in last or code not in allowed:
            self.wrong.append(f"{fault}: exit {code}: {last}")
        return f"exit {code}"


def kill(campaign: Campaign, count: int, span: float) -> None:
    """SIGKILL at a random moment, from the first line on to some steps after the start.

    Moments are told by the process's own processor time, up to ``span`` seconds of it: on a busy
    machine a process gets no further in a minute than on an idle one in a second.
    """
    last = campaign.check("kill")
    for _ in range(count):
        child = campaign.begin(["--resume", str(campaign.run), "--steps", str(_FOREVER)])
        process, moment = psutil.Process(child), campaign.rng.uniform(0, span)
        while process.status() != psutil.STATUS_ZOMBIE and sum(process.cpu_times()[:2]) < moment:
            time.sleep(0.002)
        os.kill(child, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        said = campaign.log.read_text(encoding="utf-8", errors="replace")
        campaign.heard("kill", code, said, (-signal.SIGKILL,))
        step = campaign.check("kill")
        lost = f"step {last} is gone, the last is {step}" if step < last else ""
        campaign.note("kill", "went on" if step > last else "lost nothing", lost)
        last = max(step, last)
    code, said = campaign.resume(last + 1)
    campaign.note("kill", "resumed to the end: " + campaign.heard("kill", code, said, (0,)))


def corrupt(campaign: Campaign, count: int) -> None:
    """A byte flipped, or the end cut off, in a file of the run."""
    for _ in range(count):
        before = campaign.check("corruption")
        newest = sorted((campaign.run / "checkpoints").iterdir())[-1]
        files = [*newest.iterdir(), campaign.run / "metrics.jsonl", campaign.run / "status.json"]
        file = campaign.rng.choice(files)
        data = bytearray(file.read_bytes())
        place = campaign.rng.randrange(len(data))
        if campaign.rng.random() < 0.5:
            data[place] ^= 1 << campaign.rng.randrange(8)
        else:
            del data[place:]
        file.write_bytes(data)
        code, said = campaign.resume(before + 1)
        campaign.heard("corruption", code, said, (0,))
        is_checkpoint = file.parent == newest
        # A manifest that is damaged may name a file that never was; so does the warning then.
        named = newest.name in said and (file.name in said or file.name == "manifest.json")
        outcome = "named, the one before used" if named else "passed over"
        wrong = f"{file.name}: not named" if is_checkpoint and not named else ""
        campaign.note("corruption", f"{file.name}: {outcome}", wrong)


def fill_disk(campaign: Campaign, count: int) -> None:
    """A disk with a random rest of room, smaller than what comes."""
    for _ in range(count):
        before = campaign.check("full disk")
        filler = campaign.run.parent / "filler"
        room = shutil.disk_usage(campaign.run).free
        left = campaign.rng.randrange(1 << 19)
        with filler.open("wb") as file:
            file.write(bytes(max(0, room - left)))
        code, said = campaign.resume(before + 3)
        filler.unlink()
        outcome = campaign.heard("full disk", code, said, (0, 1))
        told = code == 0 or "No space left" in said
        campaign.note("full disk", outcome, "" if told else f"not told: {said[-200:]}")
        if campaign.check("full disk") < before:
            campaign.wrong.append(f"full disk: step {before} is gone")
    step = campaign.check("full disk")
    code, said = campaign.resume(step + 1)
    campaign.note("full disk", "then: " + campaign.heard("full disk", code, said, (0,)))


def make_read_only(campaign: Campaign) -> None:
    """The whole disk cannot be written to."""
    disk = str(campaign.run.parent)
    step = campaign.check("read-only")
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    code, said = campaign.resume(step + 1)
    subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
    told = "" if "cannot be written to" in said else f"not told: {said[-200:]}"
    campaign.note("read-only", campaign.heard("read-only", code, said, (2,)), told)
    code, said = campaign.resume(step + 1)
    campaign.note("read-only", "then: " + campaign.heard("read-only", code, said, (0,)))


def prepare(work: Path, run: Path, seed: int) -> Campaign:
    """Tiny models, a few pictures, and a run with its first checkpoints."""
    from onefill.pocket.judge.architecture import write_random_judge
    from onefill.pocket.policy.architecture import write_random_policy

    write_random_policy(work / "policy", seed=1)
    write_random_judge(work / "judge", seed=2)
    pixels = np.random.default_rng(seed)
    (work / "pictures").mkdir()
    for number in range(12):
        noise = Image.fromarray(pixels.integers(0, 256, (5, 6, 3), dtype=np.uint8))
        noise.resize((48, 40)).save(work / "pictures" / f"{number}.png")
    settings = work / "run.yaml"
    settings.write_text(
        "sampler_steps: 2\nlora: {rank: 2}\nsamples: {every: 5, rows: 1}\n"
        "evaluation: {every: 3, scenes: 1}\ncheckpoints: {every: 1, keep: 3}\n"
    )
    flags = ["--config", settings, "--out", run, "--model", work / "policy"]
    flags += ["--judge", work / "judge", "--data", work / "pictures", "--tasks", "removal,extend"]
    flags += ["--batch-size", "2", "--device", "cpu"]
    return Campaign(work, run, [str(flag) for flag in flags], random.Random(seed))


def conduct(options: argparse.Namespace, work: Path, disk: Path | None) -> Campaign:
    """All faults, one kind after the other."""
    import torch

    torch.set_num_threads(1)  # a fork must find no threads
    campaign = prepare(work, (disk or work) / "run", options.seed)
    code, said = campaign.train([*campaign.flags, "--steps", "3"])
    if code:
        sys.exit(f"the run to be broken does not even begin: {said}")
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    span = 1.5 * (spent.ru_utime + spent.ru_stime)
    kill(campaign, options.kills, span)
    corrupt(campaign, options.corruptions)
    if disk is not None:
        fill_disk(campaign, options.full_disks)
        make_read_only(campaign)
    return campaign


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name, default in (("kills", 100), ("corruptions", 40), ("full-disks", 20), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if _INSIDE not in os.environ and _can_unshare():
        command = ["unshare", "-rm", sys.executable, *sys.argv]
        os.execvpe("unshare", command, {**os.environ, _INSIDE: "1"})
    with tempfile.TemporaryDirectory() as place:
        work, disk = Path(place), None
        if _INSIDE in os.environ:
            disk = work / "disk"
            disk.mkdir()
            size = f"size={_DISK}"
            subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(disk)], check=True)
        try:
            campaign = conduct(options, work, disk)
        finally:
            if disk is not None:
                subprocess.run(["umount", "-l", str(disk)], check=True)
    if options.json:
        print(json.dumps({"tally": campaign.tally, "wrong": campaign.wrong}, indent=2))
    else:
        for fault, outcomes in campaign.tally.items():
            print(fault)
            for outcome, count in sorted(outcomes.items()):
                print(f"  {count:4} {outcome}")
        if disk is None:
            print("full disk, read-only: left out, `unshare -rm` does not work here")
        for line in campaign.wrong:
            print(f"wrong: {line}")
        print(f"{len(campaign.wrong)} things were not as they should be")
    return 1 if campaign.wrong else 0


def _can_unshare() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode == 0


if __name__ == "__main__":
    sys.exit(main())

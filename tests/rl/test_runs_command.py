"""Curves, the report and ``onefill runs``, on run folders written by hand."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from xml.etree import ElementTree

import pytest
from PIL import Image

from onefill.rl.config_file import build_config
from onefill.rl.curves import Curve, health_curves, reward_curves, win_rate_curves
from onefill.rl.metrics import PHASES, MetricsLog
from onefill.rl.report import write_report
from onefill.rl.report_charts import draw_chart
from onefill.rl.run_folder import RunFolder
from onefill.rl.terminal_plot import draw_curve


def make_run(path, steps=20, state="finished"):
    folder = RunFolder(path)
    folder.create(build_config(None, {"steps": steps}))
    log = MetricsLog(folder.metrics)
    log.append("start", 0, {"win_rate": {"fill": {"structure": 0.5}, "removal": {"looks": 0.4}}})
    for step in range(1, steps + 1):
        task = "fill" if step % 2 else "removal"
        name = "structure" if step % 2 else "looks"
        row = {
            "tasks": {task: 8},
            "loss": 1 / step,
            "reward": {task: {name: step / steps}},
            "saturated": {task: {name: 0.5}},
            "gradient_norm": 2.0,
            "sigma": {task: 0.3},
            "seconds": dict.fromkeys(PHASES, 0.5),
        }
        log.append("step", step, row)
    rates = {"fill": {"structure": 0.75}, "removal": {"looks": 0.65}}
    log.append("win rate", steps // 2, {"win_rate": rates})
    log.append("end", steps, {"win_rate": rates})
    for step in range(0, steps, 2):
        Image.new("RGB", (1200, 40), (step, 0, 0)).save(folder.samples / f"step-{step:06d}.png")
    found = {"start": 0.5, "end": 0.75, "low": 0.6, "high": 0.9, "count": 32}
    if state == "finished":
        folder.write_summary({"win_rate": {"fill": {"structure": found}}})
    folder.write_status(
        {
            "state": state,
            "reason": None,
            "started": "2025-01-31T12:00:00+00:00",
            "updated": "2025-01-31T12:30:00+00:00",
            "environment": {"torch": "2.13 <b>"},
        }
    )
    return folder


def test_curves_are_read_by_task_and_dimension(tmp_path):
    rows = MetricsLog(make_run(tmp_path / "r").metrics).read()
    rewards = reward_curves(rows)
    assert {task: list(found) for task, found in rewards.items()} == {
        "fill": ["structure"],
        "removal": ["looks"],
    }
    assert rewards["fill"]["structure"].steps == list(range(1, 21, 2))
    assert win_rate_curves(rows)["removal"]["looks"].values == [0.4, 0.65, 0.65]
    health = health_curves(rows)
    assert set(health) == {"loss", "saturated", "gradient_norm", "seconds"}
    assert health["seconds"].values[0] == pytest.approx(0.5 * len(PHASES))


def test_a_step_of_several_tasks_is_a_point_of_each_curve(tmp_path):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    both = {"fill": {"structure": 0.2}, "removal": {"looks": 0.6}}
    log.append("step", 1, {"tasks": {"fill": 4, "removal": 4}, "reward": both, "saturated": both})
    # As they were written before a step could draw several.
    old = {"task": "fill", "reward": {"structure": 0.4}, "saturated": {"structure": 0.5}}
    log.append("step", 2, old)
    curves = reward_curves(log.read())
    assert curves["fill"]["structure"] == Curve([1, 2], [0.2, 0.4])
    assert curves["removal"]["looks"] == Curve([1], [0.6])
    assert health_curves(log.read())["saturated"] == Curve([1, 2], [0.4, 0.5])


def test_the_average_of_a_curve_follows_it():
    curve = Curve([1, 2, 3], [0.0, 1.0, 0.5])
    assert curve.smoothed(share=0.5) == pytest.approx([0.0, 0.5, 0.5])
    assert Curve(list(range(100)), [0.0] * 50 + [1.0] * 50).smoothed()[-1] > 0.99
    assert curve.change == (0.0, 0.5)


def test_a_curve_is_drawn_from_edge_to_edge():
    lines = draw_curve([0, 10], [0.0, 1.0], width=10, height=3, low=0, high=1)
    assert [len(line) for line in lines] == [10, 10, 10]
    assert lines[0][-1] != "⠀" and lines[-1][0] != "⠀"
    assert lines[0][0] == "⠀" and lines[-1][-1] == "⠀"
    assert draw_curve([5], [0.5], width=4, height=1, low=0, high=1)[0][0] != "⠀"
    beyond = draw_curve([0, 1], [7.0, -7.0], width=4, height=2, low=0, high=1)
    assert beyond[0][0] != "⠀" and beyond[-1][-1] != "⠀"


@pytest.mark.parametrize("values", [[0.5], [0.5, 0.5], [1.0, float("nan"), 3.0]])
def test_a_chart_is_well_formed_whatever_the_values(values):
    chart = draw_chart("a <b> & c", Curve(list(range(len(values))), values))
    assert "nan" not in chart
    ElementTree.fromstring(chart)


def test_the_report_shows_everything_and_needs_no_other_file(tmp_path):
    folder = make_run(tmp_path / "hats & co")
    write_report(folder)
    page = folder.report.read_text(encoding="utf-8")
    for part in (
        *("<h1>hats &amp; co</h1>", "finished", "<h3>fill</h3>", "<h3>removal</h3>"),
        *("60% to 90%", "Win rates over time", "gradient norm", "steps: 20", "2.13 &lt;b&gt;"),
    ):
        assert part in page
    assert page.count("data:image/webp;base64,") == 6
    assert "step 0<" in page and "step 18<" in page
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    assert "http" not in page


def test_a_report_of_a_run_that_has_just_begun(tmp_path):
    folder = RunFolder(tmp_path / "new")
    folder.create(build_config(None, {}))
    write_report(folder)
    page = folder.report.read_text(encoding="utf-8")
    assert "killed" in page
    assert "<h2>Rewards</h2>" not in page


def test_runs_are_listed_with_their_state(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "runs" / "hats")
    make_run(tmp_path / "runs" / "cats", steps=4, state="interrupted")
    make_run(tmp_path / "runs" / "dogs", steps=4, state="running")
    (tmp_path / "runs" / "no-run").mkdir()
    (tmp_path / "runs" / "cats" / "checkpoints" / "step-000004").mkdir(parents=True)
    result = cli("runs")
    assert result.code == 0
    lines = result.stdout.splitlines()
    assert [line.split()[:3] for line in lines[1:]] == [
        ["cats", "interrupted", "4/4"],
        ["dogs", "killed", "4/4"],
        ["hats", "finished", "20/20"],
    ]
    assert "70%" in lines[3]
    found = json.loads(cli("runs", "--json").stdout)["runs"]
    assert [run["name"] for run in found] == ["cats", "dogs", "hats"]
    assert found[0]["resume"] == "onefill train --resume runs/cats"
    assert found[2]["resume"] is None


def test_a_run_that_cannot_be_read_takes_no_other_down(cli, tmp_path):
    make_run(tmp_path / "good")
    make_run(tmp_path / "bad").config_file.write_text("steps: [")
    result = cli("runs", "list", "--folder", tmp_path)
    assert result.code == 0
    assert "unreadable" in result.stdout and "finished" in result.stdout


def test_show_draws_the_curves(cli, tmp_path):
    make_run(tmp_path / "hats")
    result = cli("runs", "show", "hats", "--folder", tmp_path)
    assert result.code == 0
    assert "fill / structure: P(yes) 0.10 → 0.90" in result.stdout
    assert re.search("[⠁-⣿]{2}", result.stdout)
    assert "75%" in result.stdout
    document = json.loads(cli("runs", "show", tmp_path / "hats", "--json").stdout)
    assert document["rewards"]["fill"]["structure"]["steps"][:2] == [1, 3]


def test_alarms_are_shown_and_reported(cli, tmp_path):
    folder = make_run(tmp_path / "hats")
    log = MetricsLog(folder.metrics)
    log.append("monitor", 4, {"tasks": {}, "alarms": []})
    write_report(folder)
    assert "<h2>Alarms</h2>" not in folder.report.read_text(encoding="utf-8")
    assert "alarm" not in cli("runs", "show", folder.path).stdout
    for step in range(8, 15):
        log.append("monitor", step, {"tasks": {}, "alarms": [f"fill: seam {step} <worse>"]})
    write_report(folder)
    page = folder.report.read_text(encoding="utf-8")
    assert "<h2>Alarms</h2>" in page and "fill: seam 8 &lt;worse&gt;" in page
    result = cli("runs", "show", folder.path)
    assert "alarm at step 14: fill: seam 14 <worse>" in result.stdout
    assert "alarm at step 9" not in result.stdout
    assert "and 2 alarms before" in result.stderr
    alarms = json.loads(cli("runs", "show", folder.path, "--json").stdout)["alarms"]
    assert alarms[0] == {"step": 8, "alarm": "fill: seam 8 <worse>"}


def test_report_writes_the_page_anew(cli, tmp_path):
    folder = make_run(tmp_path / "hats")
    result = cli("runs", "report", "hats", "--folder", tmp_path)
    assert result.stdout.strip() == str(folder.report)
    assert folder.report.is_file()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["show", "gone"], "gone: no such run in runs (there: none yet); see `onefill runs`"),
        (["list", "--folder", "gone"], "--folder gone: no such folder"),
    ],
)
def test_bad_input_is_one_line(cli, tmp_path, monkeypatch, arguments, told):
    monkeypatch.chdir(tmp_path)
    result = cli("runs", *arguments)
    assert result.code == 2
    assert told in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_no_runs_is_no_error(cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = cli("runs")
    assert (result.code, result.stdout) == (0, "")
    assert "`onefill train` makes one" in result.stderr


def test_looking_at_runs_takes_no_torch(tmp_path):
    make_run(tmp_path / "hats")
    code = (
        "import sys; from onefill.cli.app import run; "
        f"run(['runs', 'show', 'hats', '--folder', {str(tmp_path)!r}]); "
        "sys.exit(','.join(n for n in ('torch', 'diffusers') if n in sys.modules) or None)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": ":".join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr

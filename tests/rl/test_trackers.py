from __future__ import annotations

import sys
import types

import numpy as np
import pytest
from PIL import Image

from onefill.errors import BadInput, OnefillError
from onefill.rl import trackers
from onefill.rl.config import RunConfig
from onefill.rl.config_file import build_config
from onefill.rl.metrics import MetricsLog
from onefill.rl.run_folder import new_run_folder
from onefill.rl.trackers import check_trackers, flatten, open_trackers

STEP = {
    "tasks": {"fill": 3, "removal": 1},
    "loss": 0.25,
    "reward": {"fill": {"structure": 0.5, "aesthetics": 0.75}, "removal": {"looks": 0.25}},
    "seconds": {"judge": 2.0},
    "note": "words are no figures",
    "is_new": True,
}


def config(*names: str) -> RunConfig:
    return build_config(None, {"trackers": {"use": list(names), "project": "hats"}})


@pytest.fixture
def folder(tmp_path):
    made = new_run_folder(tmp_path / "run")
    made.create(RunConfig())
    Image.fromarray(np.full((8, 6, 3), 90, np.uint8)).save(made.samples / "step-000002.png")
    return made


def test_figures_are_named_by_task_and_dimension():
    assert flatten("step", STEP) == {
        "tasks/fill": 3.0,
        "tasks/removal": 1.0,
        "train/loss": 0.25,
        "reward/fill/structure": 0.5,
        "reward/fill/aesthetics": 0.75,
        "reward/removal/looks": 0.25,
        "seconds/judge": 2.0,
    }
    assert flatten("end", {"win_rate": {"fill": {"structure": 1}}}) == {
        "win_rate/fill/structure": 1.0
    }


def tell(folder, found, step=2):
    """What a run tells its trackers: a line and a sheet."""
    log = MetricsLog(folder.metrics)
    log.followers = found
    log.append("step", step, STEP)
    for tracker in found:
        tracker.picture(step, folder.samples / "step-000002.png")


def test_tensorboard_files_hold_figures_sheets_and_settings(folder):
    with open_trackers(config("tensorboard"), folder, 0) as found:
        tell(folder, found)
    events = read_events(folder)
    scalars = {value.tag: value.simple_value for value in events if value.tag != "samples"}
    assert scalars["train/loss"] == 0.25
    assert scalars["reward/fill/aesthetics"] == 0.75
    assert "reference: fixed" in str(next(v for v in events if v.tag.startswith("config")))
    (sheet,) = [value.image for value in events if value.tag == "samples"]
    assert (sheet.height, sheet.width) == (8, 6)


def read_events(folder):
    """The values of every record of every file: length, checksum, protobuf, checksum."""
    from tensorboardX.proto.event_pb2 import Event

    values = []
    for path in sorted((folder.path / "tensorboard").glob("events.*")):
        data = path.read_bytes()
        while data:
            size = int.from_bytes(data[:8], "little")
            event = Event.FromString(data[12 : 12 + size])
            values += event.summary.value
            data = data[16 + size :]
    return values


def test_services_hear_the_same_and_a_resumed_run_goes_on_in_its_own(folder, monkeypatch):
    told = []
    wandb, trackio = fake_wandb(told), fake_trackio(told)
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    monkeypatch.setitem(sys.modules, "trackio", trackio)
    for step in (0, 1):
        with open_trackers(config("wandb", "trackio", "wandb"), folder, step) as found:
            assert len(found) == 2
            tell(folder, found)
    begun = [values for name, values in told if name.endswith("init")]
    assert begun[0] == begun[2] and begun[1] == begun[3]
    assert begun[0]["project"] == "hats" and begun[0]["resume"] == begun[1]["resume"] == "allow"
    assert begun[0]["config"]["tasks"] == {"fill": 2.0, "extend": 1.0, "removal": 1.0}
    names = [name for name, _ in told]
    assert names[:8] == [
        *("wandb init", "wandb define", "trackio init", "wandb log", "trackio log"),
        *("wandb log", "trackio log", "trackio finish"),
    ]
    figures = dict(told)["wandb log"]
    assert figures["step"] == 2
    line = next(values for name, values in told if name == "trackio log")
    assert line == ({**flatten("step", STEP)}, 2)


def fake_wandb(told):
    class Run:
        def define_metric(self, name, step_metric):
            told.append(("wandb define", (name, step_metric)))

        def log(self, values):
            told.append(("wandb log", values))

        def finish(self):
            told.append(("wandb finish", None))

    def init(**values):
        told.append(("wandb init", values))
        return Run()

    module = types.ModuleType("wandb")
    module.init, module.Image = init, lambda path: ("image", path)
    return module


def fake_trackio(told):
    module = types.ModuleType("trackio")
    module.init = lambda **values: told.append(("trackio init", values))
    module.log = lambda values, step: told.append(("trackio log", (values, step)))
    module.finish = lambda: told.append(("trackio finish", None))
    module.Image = lambda path: ("image", path)
    return module


def test_what_is_not_installed_is_asked_for(monkeypatch):
    monkeypatch.setattr(trackers.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BadInput, match=r"wandb is not installed; pip install 'onefill\[wandb\]'"):
        check_trackers(config("wandb"))
    check_trackers(config())


def test_a_service_that_refuses_is_named(folder, monkeypatch):
    def refuse(**values):
        raise RuntimeError("no API key\nset it")

    module = types.ModuleType("wandb")
    module.init = refuse
    monkeypatch.setitem(sys.modules, "wandb", module)
    with (
        pytest.raises(OnefillError, match=r"wandb does not begin \(no API key\)"),
        open_trackers(config("wandb"), folder, 0),
    ):
        pass

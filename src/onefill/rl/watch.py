"""Looking up from training now and then, to see whether the judge is being fooled."""

from __future__ import annotations

from onefill.errors import OnefillError
from onefill.rl.display import Display
from onefill.rl.training import Training


def watch(run: Training, display: Display) -> None:
    """Measure what the judge does not, and warn of what looks like hacking.

    Raises:
        OnefillError: it does, and the run is to stop then; it is saved.
    """
    with run.settled():
        figures, alarms = run.monitor.measure()
    if run.processes.is_first:
        alarms += run.monitor.saturation(run.metrics.read("step"))
    alarms = run.processes.gather(alarms)[0]
    run.metrics.append("monitor", run.step, {"tasks": figures, "alarms": alarms})
    for alarm in alarms:
        display.note(f"warning: {alarm}")
    if alarms and run.config.monitor.stop:
        run.save()
        raise OnefillError(f"step {run.step}, saved and stopped: {alarms[0]}")

"""What ``onefill train --dry-run`` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

_MEMORY = {
    "process": "most of this process, in main memory",
    "gpu": "most of the tensors, on the GPU",
}


def forecast_tables(found: dict[str, Any]) -> list[Table]:
    """What the run trains and costs, and what the data gives each task.

    Args:
        found: what ``onefill.rl.dry_run.forecast`` returns.
    """
    from rich.table import Table

    cost = Table("what", "how much", "how it was found", title="Cost")
    share = found["trainable_parameters"] / found["parameters"]
    cost.add_row(
        "trainable parameters",
        f"{found['trainable_parameters']:,}",
        f"counted: {share:.2%} of {found['parameters']:,}",
    )
    cost.add_row(
        "memory",
        f"{found['memory']['bytes'] / 1e9:.2f} GB",
        f"measured in two steps: {_MEMORY[found['memory']['of']]}",
    )
    cost.add_row("a step", f"{found['seconds_per_step']:.2f} s", "measured: the second step")
    cost.add_row(
        f"{found['config']['steps']} steps",
        _duration(found["seconds"]),
        "computed from that; loading and measuring come on top",
    )
    samples = Table("task", "to train on", "held out", title="Images")
    for task, counts in found["samples"].items():
        samples.add_row(task, str(counts["train"]), str(counts["held_out"]))
    return [cost, samples]


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"

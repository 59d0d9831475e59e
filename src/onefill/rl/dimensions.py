"""What each dimension counts in the loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from onefill.errors import BadInput
from onefill.tasks.types import Task

Weights = Mapping[str, float]
"""As a configuration names them: ``task/dimension``, or a dimension for every task."""


def dimension_weights(task: Task, weights: Weights) -> dict[str, float]:
    """The weight of every dimension of ``task``; 1 for those that are not named."""
    return {
        dimension.name: weights.get(
            f"{task.name}/{dimension.name}", weights.get(dimension.name, 1.0)
        )
        for dimension in task.dimensions
    }


def trained_tasks(tasks: Mapping[str, Task], weights: Weights) -> dict[str, Task]:
    """The tasks with those of their dimensions alone that count in the loss.

    Raises:
        BadInput: a weight is for a dimension that no task has, or a task is left without any.
    """
    known = {d.name for task in tasks.values() for d in task.dimensions}
    known |= {f"{name}/{d.name}" for name, task in tasks.items() for d in task.dimensions}
    for name in weights:
        if name not in known:
            raise BadInput(
                f"dimensions: no task of this run has {name!r}; "
                f"known are {', '.join(sorted(known))}"
            )
    kept = {}
    for name, task in tasks.items():
        counts = dimension_weights(task, weights)
        dimensions = tuple(d for d in task.dimensions if counts[d.name] > 0)
        if not dimensions:
            raise BadInput(
                f"dimensions: every dimension of {name!r} has weight 0; leave the task out, or "
                "give one of them a weight"
            )
        kept[name] = replace(task, dimensions=dimensions)
    return kept

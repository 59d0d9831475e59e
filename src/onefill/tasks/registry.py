"""Finds the tasks of every installed plugin; a faulty plugin is named, and nothing else suffers.

Built-in tasks come through the same entry points as a third party's. They are loaded first and
the rest in order of distribution and entry point, so that who gets a name never depends on the
machine. A plugin counts whole or not at all.
"""

from __future__ import annotations

import contextlib
import functools
import math
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import Distribution, EntryPoint, distributions
from types import ModuleType
from typing import Any

import numpy as np
import pluggy
from PIL import Image

from onefill.errors import BadInput, OnefillError
from onefill.tasks import hookspecs
from onefill.tasks.hookspecs import GROUP
from onefill.tasks.types import Task

BUILT_IN = "onefill"
"""The distribution whose tasks win over everybody else's."""

_PROBE_SIZE = (48, 32)  # not square: a mask with width and height swapped must not pass
_REASON_LIMIT = 300


@dataclass(frozen=True, kw_only=True)
class RegisteredTask:
    """A task and where it comes from.

    Attributes:
        task: the task itself.
        plugin: the module its entry point names.
        distribution: the installed package that brought it.
    """

    task: Task
    plugin: str
    distribution: str


@dataclass(frozen=True, kw_only=True)
class PluginFailure:
    """A plugin that was left out, and why, in one line."""

    plugin: str
    distribution: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class TaskRegistry:
    """Every task that can be named, and every plugin that failed.

    Attributes:
        tasks: by name; built-ins first.
        failures: the plugins that were left out.
    """

    tasks: dict[str, RegisteredTask] = field(default_factory=dict)
    failures: list[PluginFailure] = field(default_factory=list)

    def get(self, name: str, *, flag: str = "--task") -> Task:
        """The task called ``name``.

        Raises:
            BadInput: there is none; the message names those there are.
        """
        if name not in self.tasks:
            known = ", ".join(self.tasks) or "none are installed"
            raise BadInput(
                f"{flag} {name}: no such task (known: {known}); run `onefill tasks` to see each one"
            )
        return self.tasks[name].task

    def parse_weights(self, text: str, *, flag: str = "--tasks") -> dict[str, float]:
        """How often each task is drawn: ``"fill=2,extend,removal"``, where no number means 1.

        Returns:
            Task name to weight, in the order typed; not normalised.

        Raises:
            BadInput: nothing named, an unknown or repeated task, or a weight that is no number
                above 0.
        """
        weights: dict[str, float] = {}
        for part in filter(None, (piece.strip() for piece in text.split(","))):
            name, has_weight, number = (piece.strip() for piece in part.partition("="))
            self.get(name, flag=flag)
            if name in weights:
                raise BadInput(f"{flag} {text}: {name!r} is named twice; name each task once")
            try:
                weights[name] = float(number) if has_weight else 1.0
            except ValueError:
                weights[name] = math.nan
            if not (0.0 < weights[name] < math.inf):
                raise BadInput(
                    f"{flag} {text}: the weight of {name!r} must be a number above 0, "
                    f"not {number!r}; leave a task out to never draw it"
                )
        if not weights:
            raise BadInput(f"{flag}: names no task; give some, as {flag} fill=2,extend,removal")
        return weights


@functools.cache
def load_tasks() -> TaskRegistry:
    """The tasks of this Python environment; found once per process."""
    return discover(distributions())


def discover(installed: Iterable[Distribution]) -> TaskRegistry:
    """The tasks among some distributions.

    Whatever a plugin does (raise or call ``sys.exit`` at import or in its hook, return no task,
    take a name, draw a mask of the wrong shape), it ends as one ``PluginFailure``. What it
    prints goes to stderr: stdout belongs to the command that asked for tasks.
    """
    registry = TaskRegistry()
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    for entry, distribution in _entry_points(installed, registry.failures):
        try:
            with contextlib.redirect_stdout(sys.stderr):
                tasks = _tasks_of(entry, f"{distribution}:{entry.name}", manager)
            for task in tasks:
                _check_name_is_free(task, registry)
                _probe(task)
        # KeyboardInterrupt is the user's; anything else, SystemExit included, is the plugin's.
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            registry.failures.append(
                PluginFailure(
                    plugin=entry.value, distribution=distribution, reason=_describe(error)
                )
            )
        else:
            for task in tasks:
                registry.tasks[task.name] = RegisteredTask(
                    task=task, plugin=entry.value, distribution=distribution
                )
    return registry


class _NotATaskPlugin(Exception):  # noqa: N818 - reads as the reason it carries
    """The plugin loaded, but what it offers is no list of tasks."""


def _entry_points(
    installed: Iterable[Distribution], failures: list[PluginFailure]
) -> Iterator[tuple[EntryPoint, str]]:
    """Entry points of the group, each with its distribution's name, built-ins first.

    ``importlib.metadata.entry_points`` would do, but one malformed file of any distribution
    makes it raise for all of them.
    """
    found: dict[str, list[EntryPoint]] = {}
    for distribution in installed:
        try:
            if f"[{GROUP}]" not in (distribution.read_text("entry_points.txt") or ""):
                continue
            name = distribution.name or _folder_name(distribution)
            entries = [entry for entry in distribution.entry_points if entry.group == GROUP]
        except Exception as error:
            failures.append(
                PluginFailure(
                    plugin="entry_points.txt",
                    distribution=_folder_name(distribution),
                    reason=f"its entry points cannot be read: {_describe(error)}",
                )
            )
            continue
        # The first one on the import path is the one that gets imported.
        found.setdefault(name, entries)
    for name in sorted(found, key=lambda name: (name != BUILT_IN, name)):
        for entry in sorted(found[name], key=lambda entry: entry.name):
            yield entry, name


def _folder_name(distribution: Distribution) -> str:
    path = getattr(distribution, "_path", None)
    return path.name if path is not None else "unknown distribution"


def _tasks_of(entry: EntryPoint, name: str, manager: pluggy.PluginManager) -> list[Task]:
    module = entry.load()
    if not isinstance(module, ModuleType):
        raise _NotATaskPlugin(f"the entry point must name a module, not {type(module).__name__}")
    manager.register(module, name)
    others = [plugin for plugin in manager.get_plugins() if plugin is not module]
    hook = manager.subset_hook_caller("onefill_tasks", others)
    if not hook.get_hookimpls():
        raise _NotATaskPlugin("it has no function onefill_tasks marked with @hookimpl")
    (returned,) = hook() or (None,)
    return _check_tasks(returned)


def _check_tasks(returned: Any) -> list[Task]:
    if not isinstance(returned, (list, tuple)):
        raise _NotATaskPlugin(
            f"onefill_tasks() must return a list of tasks, not {type(returned).__name__}"
        )
    for item in returned:
        if not isinstance(item, Task):
            raise _NotATaskPlugin(
                f"onefill_tasks() must return a list of Task objects; it holds {_short(item)}"
            )
    names = [task.name for task in returned]
    if len(set(names)) != len(names):
        raise _NotATaskPlugin(f"it names a task twice: {', '.join(names)}")
    return list(returned)


def _check_name_is_free(task: Task, registry: TaskRegistry) -> None:
    if task.name in registry.tasks:
        owner = registry.tasks[task.name].distribution
        raise _NotATaskPlugin(f"the task name {task.name!r} is already taken by {owner}")


def _probe(task: Task) -> None:
    """Draw one small mask, so that a broken generator is known before an hour of training."""
    with contextlib.redirect_stdout(sys.stderr):
        task.draw_mask(Image.new("RGB", _PROBE_SIZE, "grey"), np.random.default_rng(0))


def _describe(error: BaseException) -> str:
    try:
        text = " ".join(str(error).split())
    # An exception whose own __str__ raises is still only one plugin's fault.
    except Exception:
        text = ""
    if not isinstance(error, (_NotATaskPlugin, OnefillError)):
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return text if len(text) <= _REASON_LIMIT else text[: _REASON_LIMIT - 1] + "…"


def _short(item: object) -> str:
    return f"an object of type {type(item).__name__}"

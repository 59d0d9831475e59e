"""The hook a plugin implements; the whole contract between onefill and a third party's task.

A plugin is a module named by an entry point of the group ``onefill``::

    from onefill.tasks.hookspecs import hookimpl

    @hookimpl
    def onefill_tasks():
        return [Task(name="restore", ...)]
"""

from __future__ import annotations

import pluggy

from onefill.tasks.types import Task

GROUP = "onefill"
"""Name of the entry-point group, and of the pluggy project."""

hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)


@hookspec
def onefill_tasks() -> list[Task]:  # type: ignore[empty-body]
    """The tasks this plugin adds; called once, when a command first needs tasks."""

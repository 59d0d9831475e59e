from __future__ import annotations

import re
from collections.abc import Callable
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import pytest

from onefill.errors import BadInput
from onefill.tasks.registry import TaskRegistry, discover, load_tasks

Found = Callable[[], TaskRegistry]
BUILT_IN = ["extend", "fill", "removal", "text"]


@pytest.fixture
def found(site: Path) -> Found:
    """What a fresh process would find, built-in tasks included."""
    return lambda: discover(distributions())


def test_a_third_partys_task_is_found_after_the_built_ins(
    install: Callable[..., Path], found: Found
) -> None:
    install("aaa-polish")
    registry = found()
    assert list(registry.tasks) == [*BUILT_IN, "polish"]
    assert registry.tasks["polish"].distribution == "aaa-polish"
    assert registry.tasks["polish"].plugin == "aaa_polish"
    assert registry.failures == []


def test_a_faulty_plugin_is_named_with_its_reason_and_hurts_nobody(
    fault: Any, install: Callable[..., Path], found: Found
) -> None:
    install("faulty", fault.source)
    install("healthy", "@hookimpl\ndef onefill_tasks(): return [task('varnish')]")
    registry = found()
    assert list(registry.tasks) == [*BUILT_IN, "varnish"]
    (failure,) = registry.failures
    assert (failure.plugin, failure.distribution) == ("faulty", "faulty")
    assert re.search(fault.reason, failure.reason)
    assert "\n" not in failure.reason
    assert len(failure.reason) <= 300


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("not_there", "ModuleNotFoundError"),
        ("faulty:not_there", "AttributeError"),
        ("faulty:HOOKS", "AttributeError"),
        ("faulty:masks", "must name a module, not function"),
        ("what is this?", "."),
    ],
)
def test_an_entry_point_that_names_no_module_is_a_failure(
    value: str, reason: str, install: Callable[..., Path], found: Found
) -> None:
    install("faulty", value=value)
    registry = found()
    assert list(registry.tasks) == BUILT_IN
    assert [(f.plugin, f.distribution) for f in registry.failures] == [(value, "faulty")]
    assert re.search(reason, registry.failures[0].reason)


def test_a_malformed_entry_point_file_is_a_failure_of_that_distribution_alone(
    install: Callable[..., Path], found: Found
) -> None:
    install("faulty", entries="[onefill]\nno equals sign\n")
    install("healthy")
    registry = found()
    assert list(registry.tasks) == [*BUILT_IN, "polish"]
    assert [f.distribution for f in registry.failures] == ["faulty-1.0.dist-info"]


def test_distributions_without_our_group_are_left_alone(
    install: Callable[..., Path], found: Found
) -> None:
    install("stranger", "raise RuntimeError", entries="[console_scripts]\nno equals sign\n")
    registry = found()
    assert list(registry.tasks) == BUILT_IN
    assert registry.failures == []


def test_of_two_third_parties_the_first_by_name_gets_the_task(
    install: Callable[..., Path], found: Found
) -> None:
    install("zeta")
    install("alpha")
    registry = found()
    assert registry.tasks["polish"].distribution == "alpha"
    assert [f.distribution for f in registry.failures] == ["zeta"]
    assert "'polish' is already taken by alpha" in registry.failures[0].reason


def test_a_plugin_counts_whole_or_not_at_all(install: Callable[..., Path], found: Found) -> None:
    install("faulty", "@hookimpl\ndef onefill_tasks(): return [task('gloss'), task('fill')]")
    registry = found()
    assert "gloss" not in registry.tasks
    assert len(registry.failures) == 1


def test_what_a_plugin_prints_does_not_reach_stdout(
    install: Callable[..., Path], found: Found, capsys: pytest.CaptureFixture[str]
) -> None:
    install(
        "noisy",
        "print('importing')\n@hookimpl\ndef onefill_tasks():\n    print('hooked')\n"
        "    return [task('polish', lambda *a: print('drawing') or masks(*a))]",
    )
    assert "polish" in found().tasks
    spoken = capsys.readouterr()
    assert spoken.out == ""
    assert spoken.err.split() == ["importing", "hooked", "drawing"]


def test_ctrl_c_during_an_import_is_the_users(install: Callable[..., Path], found: Found) -> None:
    install("slow", "raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        found()


def test_an_unknown_task_names_the_known_ones() -> None:
    with pytest.raises(BadInput, match=r"--task paint: .*extend, fill, .*`onefill tasks`"):
        load_tasks().get("paint")


def test_weights_are_read_in_order_and_default_to_one() -> None:
    weights = load_tasks().parse_weights(" fill=2, extend ,removal=0.5,")
    assert list(weights.items()) == [("fill", 2.0), ("extend", 1.0), ("removal", 0.5)]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "names no task"),
        (" , ", "names no task"),
        ("fill,paint", "no such task"),
        ("fill,fill=2", "named twice"),
        ("fill=0", "number above 0"),
        ("fill=-1", "number above 0"),
        ("fill=nan", "number above 0"),
        ("fill=inf", "number above 0"),
        ("fill=much", "not 'much'"),
        ("fill=", "not ''"),
        ("=2", "no such task"),
    ],
)
def test_weights_that_make_no_sense_are_refused(text: str, complaint: str) -> None:
    with pytest.raises(BadInput, match=complaint) as caught:
        load_tasks().parse_weights(text)
    assert str(caught.value).startswith("--tasks")
    assert "\n" not in str(caught.value)


def test_the_registry_is_found_once_per_process() -> None:
    assert load_tasks() is load_tasks()

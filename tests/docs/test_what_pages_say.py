"""Commands in the pages are accepted as typed, examples load, and what is named exists."""

from __future__ import annotations

import ast
import functools
import importlib
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from accelerate.commands.config.config_args import load_config_from_file
from PIL import Image

from onefill.cli.app import COMMANDS
from onefill.data.source import open_source
from onefill.pocket import embedded
from onefill.rl.config_file import build_config
from onefill.tasks.registry import load_tasks

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / "README.md", ROOT / "CHANGELOG.md"),
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "examples").glob("*/README.md")),
]
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(page: Path, language: str) -> list[str]:
    return [body for kind, body in _BLOCK.findall(read(page)) if kind == language]


def command_lines(page: Path) -> list[str]:
    shell = [body for kind in ("", "sh", "bash", "console") for body in blocks(page, kind)]
    lines = "\n".join(shell).replace("\\\n", " ").splitlines()
    return [line for line in lines if line.startswith("onefill ")]


def parse(line: str) -> None:
    """Parse a command line without running it; raises what the command would complain about."""
    _, *words = shlex.split(line, comments=True)
    ends = [place for place, word in enumerate(words) if word in ("|", ">", "&&")]
    name, *arguments = words[: ends[0]] if ends else words
    assert name in COMMANDS, f"{name} is no command"
    command: Any = typer.main.get_command(
        importlib.import_module(f"onefill.cli.{name.replace('-', '_')}").app
    )
    if arguments and arguments[0] in getattr(command, "commands", {}):
        command = command.commands[arguments.pop(0)]
    command.make_context(f"onefill {name}", arguments)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_is_accepted_as_typed(page: Path) -> None:
    for line in command_lines(page):
        try:
            parse(line)
        except typer.TyperException as error:
            pytest.fail(f"{line}: {error.format_message()}")


def test_a_wrong_flag_would_be_noticed() -> None:
    with pytest.raises(typer.TyperException, match="--masks"):
        parse("onefill edit photo.jpg --masks mask.png | head -1")
    assert len(command_lines(ROOT / "docs" / "editing.md")) >= 6


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in re.findall(r"\]\((?!http)([^)#\s]*)(?:#([^)\s]*))?\)", read(page)):
        linked = page.parent / target if target else page
        if target.endswith("images/contact-sheet.webp") and not embedded.describe("policies"):
            continue  # drawn once there is a policy to draw it with
        assert linked.exists(), f"{page.name} links to {target}"
        if anchor:
            assert anchor in anchors(linked), f"{page.name} links to {target}#{anchor}"


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", _BLOCK.sub("", read(page)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.strip().lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_code_that_is_named_exists(page: Path) -> None:
    for name in re.findall(r"`(onefill(?:_builtin)?(?:\.(?!json\b)\w+)+)`", read(page)):
        assert is_defined(name), f"{page.name} names {name}"
    for path in re.findall(r"`((?:src|scripts|examples|plugins)/[\w./-]+)`", read(page)):
        assert (ROOT / path).exists(), f"{page.name} names {path}"
    for name, value in re.findall(r"`([A-Z_]{3,}) = ([^`]+)`", read(page)):
        assert value in constants().get(name, []), f"{page.name} says {name} = {value}"


def is_defined(dotted: str) -> bool:
    parts = dotted.split(".")
    for count in range(len(parts), 0, -1):
        for source in ("src", "plugins"):
            module = ROOT.joinpath(source, *parts[:count])
            file = module.with_suffix(".py") if count > 1 else module / "__init__.py"
            if file.is_file():
                return is_in_tree(parse_file(file), parts[count:])
            if (module / "__init__.py").is_file() and count == len(parts):
                return True
    return False


def is_in_tree(tree: Any, names: list[str]) -> bool:
    if not names:
        return True
    for node in tree.body:
        if getattr(node, "name", None) == names[0]:
            return is_in_tree(node, names[1:])
        if isinstance(node, ast.Assign | ast.AnnAssign) and len(names) == 1:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(t, ast.Name) and t.id == names[0] for t in targets):
                return True
    return False


@functools.cache
def parse_file(file: Path) -> ast.Module:
    return ast.parse(read(file))


@functools.cache
def constants() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for file in (ROOT / "src").rglob("*.py"):
        for name, value in re.findall(r"^([A-Z_]+) = (.+)$", read(file), re.MULTILINE):
            found.setdefault(name, []).append(value)
    return found


def test_names_that_do_not_exist_would_be_noticed() -> None:
    assert is_defined("onefill.rl.reference.MovingAverage.update")
    assert is_defined("onefill.tasks.shapes")
    assert not is_defined("onefill.rl.reference.MovingAverage.upgrade")
    assert not is_defined("onefill.rl.referee")


def test_the_data_examples_load(tmp_path: Path) -> None:
    (rows,) = blocks(ROOT / "docs" / "training.md", "jsonl")
    named = [json.loads(line) for line in rows.splitlines()]
    for name in {row[key] for row in named for key in ("image", "mask") if key in row}:
        Image.new("RGB", (40, 40), "white").save(tmp_path / name)
    (tmp_path / "rows.jsonl").write_text(rows, encoding="utf-8")
    tasks = [load_tasks().get(name) for name in ("fill", "extend", "removal")]
    source = open_source(tmp_path / "rows.jsonl", tasks, 0)
    assert {task.name: source.count(task.name) for task in tasks} == {
        "fill": 2,
        "extend": 1,
        "removal": 2,
    }
    assert source.draw("fill", 0, 32).words == "straw hat"


def test_the_settings_examples_are_accepted(tmp_path: Path) -> None:
    of_accelerate, examples = [], []
    for text in blocks(ROOT / "docs" / "training.md", "yaml"):
        (of_accelerate if "distributed_type" in text else examples).append(text)
    assert len(examples) == 4
    for text in examples:
        file = tmp_path / "run.yaml"
        file.write_text(text, encoding="utf-8")
        config = build_config(file, {})
        assert set(yaml.safe_load(text)) <= config.model_fields_set
    # Accelerate keeps what the file says of FSDP, and so hands it to the processes.
    (text,) = of_accelerate
    file.write_text(text, encoding="utf-8")
    told = load_config_from_file(str(file))
    assert told.distributed_type == "FSDP"
    assert told.fsdp_config == yaml.safe_load(text)["fsdp_config"]

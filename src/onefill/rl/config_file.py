"""Reading and writing a run's configuration: YAML file < command-line flags."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from onefill.errors import BadInput
from onefill.rl.config import RunConfig

Values = Mapping[str, Any]

_VALUES = frozenset({"tasks", "dimensions"})
"""Keys whose mapping is one value: other tasks replace the whole choice."""

_FLOAT = re.compile(r"[-+]?(\d[\d_]*\.?[\d_]*|\.\d[\d_]*)[eE][-+]?\d+")


class _Loader(yaml.SafeLoader):
    """SafeLoader that also reads ``1e-4``, which YAML 1.1 takes for text, as a number."""


_Loader.yaml_implicit_resolvers = {
    key: list(pairs) for key, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))


def build_config(file: Path | None, flags: Values) -> RunConfig:
    """The configuration of a run.

    Args:
        file: YAML file, or None.
        flags: what the command line gave, nested as the model; it wins over the file.

    Raises:
        BadInput: the file is missing or malformed, a key is unknown or a value impossible; the
            message names the line of the file, or the flag's key.
    """
    values, lines = _read(file) if file is not None else ({}, {})
    try:
        return RunConfig.model_validate(merge(values, flags))
    except ValidationError as error:
        raise BadInput(_explain(error, file, lines, flags)) from error


def merge(values: Values, over: Values) -> dict[str, Any]:
    """``values`` with those of ``over`` in their place; sections are merged key by key."""
    merged = dict(values)
    for key, value in over.items():
        old = merged.get(key)
        is_section = isinstance(value, Mapping) and isinstance(old, Mapping)
        is_section = is_section and key not in _VALUES
        merged[key] = merge(old, value) if is_section else value  # type: ignore[arg-type]
    return merged


def dump_config(config: RunConfig) -> str:
    """The complete configuration as YAML; ``build_config`` reads it back equal."""
    return yaml.safe_dump(config.model_dump(), sort_keys=False, allow_unicode=True)


def differences(before: RunConfig, after: RunConfig) -> dict[str, tuple[Any, Any]]:
    """The settings that differ, by dotted name, with their values before and after."""
    old, new = _flatten(before.model_dump()), _flatten(after.model_dump())
    return {
        name: (old.get(name), new.get(name))
        for name in {**old, **new}
        if old.get(name) != new.get(name)
    }


def _flatten(values: Values, prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and key not in _VALUES:
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def _read(file: Path) -> tuple[dict[str, Any], dict[str, int]]:
    """The values, and the line of each dotted key."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise BadInput(f"--config {file}: cannot be read ({reason}); give a YAML file") from error
    try:
        node = yaml.compose(text, Loader=_Loader)
        values = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        reason = getattr(error, "problem", None) or "no YAML"
        raise BadInput(
            f"{file}{line}: malformed YAML ({reason}); write lines as `steps: 60`"
        ) from error
    if values is None:
        return {}, {}
    if not isinstance(values, dict):
        raise BadInput(f"{file}, line 1: not a list of settings; write lines as `steps: 60`")
    return values, _lines(node)


def _lines(node: yaml.Node | None, prefix: str = "") -> dict[str, int]:
    lines: dict[str, int] = {}
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            name = f"{prefix}{key.value}"
            lines[name] = key.start_mark.line + 1
            lines |= _lines(value, f"{name}.")
    return lines


def _explain(
    error: ValidationError, file: Path | None, lines: dict[str, int], flags: Values
) -> str:
    """One line about the first thing that is wrong."""
    first = error.errors(include_url=False)[0]
    name = _setting(first["loc"])
    in_file = name in lines and name not in _flatten(flags)
    where = f"{file}, line {lines[name]}: " if in_file else ""
    if first["type"] == "extra_forbidden":
        known = _known(first["loc"][:-1])
        close = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(known)}"
        return f"{where}unknown setting {name!r}; {hint}"
    reason = first["msg"].removeprefix("Value error, ").replace("Input should", "it must")
    return f"{where}{name} cannot be {first['input']!r}: {reason}"


def _setting(location: tuple[int | str, ...]) -> str:
    """The dotted name of a setting, without pydantic's marks for the branches of a union."""
    names: list[str] = []
    model: Any = RunConfig
    for part in location:
        if names and model is None:
            break
        names.append(str(part))
        fields = model.model_fields if model is not None else {}
        annotation = fields[part].annotation if part in fields else None
        is_section = isinstance(annotation, type) and issubclass(annotation, BaseModel)
        model = annotation if is_section else None
    return ".".join(names)


def _known(section: tuple[int | str, ...]) -> list[str]:
    model: Any = RunConfig
    for part in section:
        model = model.model_fields[str(part)].annotation
    return list(model.model_fields)

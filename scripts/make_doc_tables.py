"""Fill the generated blocks of README.md and docs/*.md, or check that they are up to date.

python scripts/make_doc_tables.py [--check] [--docs FOLDER]

A block stands between `<!-- generated: NAME -->` and `<!-- end -->`. It comes from the code, from
the embedded judge's card, from docs/figures/pocket-score.json, which is what
`onefill pocket score --json` printed, from docs/figures/rl-evidence.json, which is what
`bench/rl_evidence.py report --json` wrote, or from docs/figures/judge-*.json, which is what
`onefill judge-eval --json` printed.
"""

from __future__ import annotations

import argparse
import inspect
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from onefill.judge.query import ANSWERS, build_messages, build_query
from onefill.pocket import embedded
from onefill.pocket.material import sources, vocabulary
from onefill.pocket.material.export import COUNTS, UNSEEN_EACH
from onefill.rl.config import RunConfig
from onefill.tasks.registry import BUILT_IN, load_tasks
from onefill.tasks.types import Task

ROOT = Path(__file__).parents[1]
REMAKE = "python scripts/make_doc_tables.py"
EXAMPLE = ROOT / "examples" / "onefill-restore"
SCORE = ROOT / "docs" / "figures" / "pocket-score.json"
EVIDENCE = ROOT / "docs" / "figures" / "rl-evidence.json"
JUDGES = {
    name: ROOT / "docs" / "figures" / f"judge-{name.replace(' ', '-')}.json"
    for name in ("from scratch", "embedded")
}

_BLOCK = re.compile(r"(<!-- generated: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_ATTRIBUTE = re.compile(r"^ {0,4}(\w+): ")
_NONE = re.compile(r"\bNone\b")
_WORDS = "straw hat"
_LIMITS = (
    ("exclusiveMinimum", ">"),
    ("minimum", "≥"),
    ("exclusiveMaximum", "<"),
    ("maximum", "≤"),
)


def settings_table() -> str:
    """Every key of config.yaml, with the meaning its docstring gives."""
    rows: list[tuple[str, ...]] = []
    meanings = _attributes(RunConfig)
    defaults = RunConfig()
    for name, field in RunConfig.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            values = getattr(defaults, name).model_dump()
            rows.append((f"**`{name}:`**", "", "", _one_line(section.__doc__ or "")))
            rows += [
                (f"`{name}.{key}`", _value(value), _allowed(section, key), "")
                for key, value in values.items()
            ]
        else:
            default = defaults.model_dump()[name]
            rows.append((f"`{name}`", _value(default), _allowed(RunConfig, name), meanings[name]))
    return _table(("setting", "default", "values", "meaning"), rows)


def tasks_table() -> str:
    """The built-in tasks."""
    rows = []
    for task in _built_in_tasks():
        rows.append(
            (
                f"`{task.name}`",
                task.summary,
                _one_line((inspect.getdoc(task.masks) or "").splitlines()[0]),
                _prompt(task),
                ", ".join(d.name for d in task.dimensions),
            )
        )
    return _table(("task", "what it does", "masks", "model's prompt", "judged on"), rows)


def dimensions_table() -> str:
    """What the judge is asked, for every task and dimension."""
    rows = [
        (f"`{task.name}`", f"`{d.name}`", d.question, "yes" if d.uses_prompt else "no")
        for task in _built_in_tasks()
        for d in task.dimensions
    ]
    return _table(("task", "dimension", "question", "prompt shown"), rows)


def judge_turn() -> str:
    """The judge's user turn with and without the prompt, word for word."""
    fill = load_tasks().get("fill")
    turns = []
    for name in ("aesthetics", "text-alignment"):
        content = build_messages(build_query(fill, fill.dimension(name), _WORDS))[0]["content"]
        parts = ["[the picture]" if part["type"] == "image" else part["text"] for part in content]
        turns.append("".join(parts))
    return "```text\n" + "\n\n---\n\n".join(turns) + "\n```\n\n" + f"Answers: {_list(ANSWERS)}."


def vocabulary_block() -> str:
    """The words of the embedded models."""
    articles = _list(vocabulary.ARTICLES)
    others = [f"{c.word}: `{c.also}`" for c in vocabulary.CONCEPTS if c.also]
    coloured = [c.word for c in vocabulary.CONCEPTS if c.unseen]
    return (
        f"- **Things to paint ({len(vocabulary.WORDS)}):** {', '.join(vocabulary.WORDS)}.\n"
        f"- **Words to write ({len(vocabulary.TEXT_WORDS)}):** "
        f"{', '.join(vocabulary.TEXT_WORDS)}.\n"
        f"- **Other names:** {', '.join(others)}.\n"
        f"- **Before a thing, if you like:** {articles}; {_list(vocabulary.SIZES)}; "
        f"{_list(vocabulary.COUNTS)} of them (`two cats`).\n"
        f"- **Colours:** {_list(vocabulary.HUES)} of a {', '.join(coloured)}."
    )


def sources_table() -> str:
    """Every package that pictures or fonts were taken from."""
    rows = [
        (f"`{s.package}`", s.version, s.client, s.licence, s.credit, s.takes)
        for s in sources.SOURCES
    ]
    return _table(("package", "version", "from", "licence", "credit", "used as"), rows)


def split_table() -> str:
    """What training sees and what is kept for measuring."""
    train, held_out = sources.TRAIN, sources.HELD_OUT
    photographs = {s: _photographs(s) for s in (train, held_out)}
    fonts = {s: ", ".join(f"`{p}`" for p, _ in sources.FONTS[s]) for s in (train, held_out)}
    scenes = {
        s: ", ".join(f"{count} {task}" for task, count in COUNTS[s].items())
        for s in (train, held_out)
    }
    kept = [f"{c.unseen} {c.word}" for c in vocabulary.CONCEPTS if c.unseen]
    scenes[held_out] += f", {UNSEEN_EACH * len(kept)} in colours never trained"
    sets = {
        train: ", ".join(f"`{name}`" for name in vocabulary.DRAWING_SETS),
        held_out: f"`{vocabulary.HELD_OUT_SET}`",
    }
    rows = [
        ("drawing sets", sets[train], sets[held_out]),
        ("photographs", photographs[train], photographs[held_out]),
        ("fonts", fonts[train], fonts[held_out]),
        ("colours of things", "all others", ", ".join(kept)),
        ("scenes in the package", scenes[train], scenes[held_out]),
    ]
    return _table(("", "training", "held out"), rows)


def policy_score() -> str:
    """The embedded policy's score table, as it was last measured."""
    if not SCORE.is_file():
        return "Not measured yet: `onefill pocket score` does."
    score = json.loads(SCORE.read_text(encoding="utf-8"))
    rows = []
    for row in score["rows"]:
        measured = "; ".join(filter(None, (row["measured"], row.get("note"))))
        rows.append((row["what"], measured, row["floor"], row["aim"]))
    return _table(("what", "measured (95 % interval)", "floor", "aim"), rows)


def rl_evidence(table: str) -> str:
    """What RL runs were measured by: the ``headline``, its ``cells``, or the ``table`` of all."""
    if not EVIDENCE.is_file():
        return "Not measured yet: `bench/rl_evidence.py` does."
    found = json.loads(EVIDENCE.read_text(encoding="utf-8"))[table]
    return _table(found["head"], found["rows"])


def judge_accuracy() -> str:
    """The embedded judge's accuracy on held-out pairs, by task and dimension, from its card."""
    (judge,) = (model for model in embedded.describe("judges") if model.name == "pocket")
    cells = judge.card["dimensions"]
    tasks = _built_in_tasks()
    dimensions = dict.fromkeys(d.name for task in tasks for d in task.dimensions)
    rows = []
    for dimension in dimensions:
        found = [cells.get(f"{task.name}/{dimension}") for task in tasks]
        shares = [f"{100 * cell['accuracy']:.1f}" if cell else "–" for cell in found]
        rows.append((dimension, *shares))
    (pairs,) = {cell["n"] for cell in cells.values()}
    heading = f"judge accuracy, % of {pairs} held-out pairs"
    return _table((heading, *(task.name for task in tasks)), rows)


def judges_compared() -> str:
    """Judges on the same held-out pairs, by task and dimension."""
    if not all(file.is_file() for file in JUDGES.values()):
        return "Not measured yet: `onefill judge-eval --json` does."
    found = [json.loads(file.read_text(encoding="utf-8")) for file in JUDGES.values()]
    cells = {
        name: [judge["dimensions"][name] for judge in found] for name in found[0]["dimensions"]
    }
    cells["**all**"] = [judge["overall"] for judge in found]
    rows = [
        (name, str(judged[0]["accuracy"]["n"]), *map(_share, judged))
        for name, judged in cells.items()
    ]
    for key, name in (("order_gap", "order gap"), ("ece", "ECE")):
        rows.append((name, "", *(f"{judge['overall'][key]:.3f}" for judge in found)))
    heads = ("task / dimension", "pairs", *(f"{name}, %" for name in JUDGES))
    return _table(heads, rows)


def _share(cell: dict[str, Any]) -> str:
    accuracy = cell["accuracy"]
    rate, low, high = (100 * accuracy[key] for key in ("rate", "low", "high"))
    return f"{rate:.0f} [{low:.0f} to {high:.0f}]"


def example_module() -> str:
    """The example plugin's module."""
    return f"```python\n{(EXAMPLE / 'onefill_restore.py').read_text(encoding='utf-8')}```"


def example_project() -> str:
    """The example plugin's pyproject.toml."""
    return f"```toml\n{(EXAMPLE / 'pyproject.toml').read_text(encoding='utf-8')}```"


BLOCKS: dict[str, Callable[[], str]] = {
    "settings": settings_table,
    "tasks": tasks_table,
    "dimensions": dimensions_table,
    "judge-turn": judge_turn,
    "vocabulary": vocabulary_block,
    "sources": sources_table,
    "split": split_table,
    "policy-score": policy_score,
    "judge-accuracy": judge_accuracy,
    "judges-compared": judges_compared,
    **{f"rl-{table}": partial(rl_evidence, table) for table in ("headline", "cells", "table")},
    "example-module": example_module,
    "example-project": example_project,
}


def _built_in_tasks() -> list[Task]:
    found = load_tasks().tasks.values()
    return [entry.task for entry in found if entry.distribution == BUILT_IN]


def _prompt(task: Task) -> str:
    prompt = task.prompt
    if prompt.without_words is None:
        return f"`{prompt.with_words}` (words needed)"
    if prompt.without_words == prompt.with_words:
        return f"always `{prompt.with_words}`"
    return f"`{prompt.with_words}`; without words `{prompt.without_words}`"


def _photographs(split: str) -> str:
    counts = Counter(package for package, _ in sources.PHOTOGRAPHS[split])
    of_each = ", ".join(f"{count} of `{package}`" for package, count in counts.items())
    return f"{sum(counts.values())}: {of_each}"


def _attributes(model: type) -> dict[str, str]:
    """Name to meaning, from the Attributes section of a docstring."""
    lines = inspect.cleandoc(model.__doc__ or "").split("Attributes:\n", 1)[1].splitlines()
    found: dict[str, str] = {}
    name = ""
    for line in lines:
        if match := _ATTRIBUTE.match(line):
            name = match[1]
            found[name] = line[match.end() :]
        else:
            found[name] += " " + line.strip()
    return {name: _NONE.sub("`null`", _one_line(text)) for name, text in found.items()}


def _allowed(model: type[BaseModel], name: str) -> str:
    """The values a setting takes, in words, from the model's own schema."""
    schema = model.model_json_schema()
    return _in_words(schema["properties"][name], schema.get("$defs", {}))


def _in_words(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_in_words(s, definitions) for s in schema["anyOf"]))
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    kinds = {"integer": "whole number", "number": "number", "string": "text", "null": "none"}
    kind = schema["type"]
    if kind == "boolean":
        return "`true` or `false`"
    if kind == "array":
        count = f"{schema['minItems']} " if "minItems" in schema else ""
        return f"list of {count}{_in_words(schema['items'], definitions)}".replace(
            "number", "numbers", 1
        )
    if kind == "object":
        return f"name to {_in_words(schema['additionalProperties'], definitions)}"
    limits = [f"{sign} {schema[key]:g}" for key, sign in _LIMITS if key in schema]
    return " ".join([kinds[kind], ", ".join(limits)]).strip()


def _value(value: object) -> str:
    """A value as it is written in YAML."""
    if isinstance(value, dict):
        return "`{" + ", ".join(f"{key}: {number:g}" for key, number in value.items()) + "}`"
    if value is None:
        return "`null`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value}`"


def _list(texts: tuple[str, ...]) -> str:
    return ", ".join(f"`{text}`" for text in texts)


def _one_line(text: str) -> str:
    return " ".join(text.replace("``", "`").split())


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headings, ("---",) * len(headings), *rows]
    return "\n".join(
        "| " + " | ".join(c.replace("|", "\\|") for c in line) + " |" for line in lines
    )


def fill_page(text: str) -> str:
    """A page with every generated block made anew."""
    return _BLOCK.sub(lambda match: f"{match[1]}\n{BLOCKS[match[2]]()}\n\n{match[3]}", text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when stale")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs")
    options = parser.parse_args()
    stale = []
    pages = (*sorted(options.docs.glob("*.md")), options.docs.parent / "README.md")
    for page in filter(Path.is_file, pages):
        text = page.read_text(encoding="utf-8")
        if (filled := fill_page(text)) != text:
            stale.append(page.name)
            if not options.check:
                page.write_text(filled, encoding="utf-8")
    if options.check and stale:
        sys.exit(f"{', '.join(stale)}: stale; run {REMAKE}")


if __name__ == "__main__":
    main()

"""``onefill models``: the embedded models, how they were made, and published ones by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onefill.cli import console
from onefill.cli.options import JsonFlag, Seed
from onefill.errors import BadInput

if TYPE_CHECKING:
    from rich.table import Table

    from onefill.pocket.embedded import EmbeddedModel, Kind

app = typer.Typer(add_completion=False)


@app.callback(invoke_without_command=True)
def models(ctx: typer.Context, json_output: JsonFlag = False) -> None:
    """List the embedded models, what they know and how they were made, and published ones.

    Their names go after --model, --judge and --adapter of the other commands; a folder does too,
    and after the first two a hub id.
    Published ones are for `onefill edit`, and are downloaded when they are first used.
    """
    if ctx.invoked_subcommand is not None:
        return
    from onefill.pocket.embedded import describe
    from onefill.policy.published import PUBLISHED

    found = {kind: describe(kind) for kind in _KINDS}
    for kind, of_kind in found.items():
        if not of_kind:
            console.warn(
                f"no embedded {_KINDS[kind][0]} in this installation; "
                "make it with `onefill pocket build`"
            )
    if json_output:
        published = [
            {"name": name, "about": model.about, "licence": model.licence, "page": model.page}
            for name, model in PUBLISHED.items()
        ]
        entries: dict[str, Any] = {kind: _entries(of_kind) for kind, of_kind in found.items()}
        console.print_json({**entries, "published": published})
        return
    _print_tables(found)
    rows = {name: f"{model.about}; licence {model.licence}" for name, model in PUBLISHED.items()}
    console.stdout().print(_rows("published, of full size", rows))


@app.command()
def show(
    name: Annotated[
        str, typer.Argument(metavar="NAME", show_default=False, help="An embedded model's name.")
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="FILE", show_default="models-NAME.png", help="Where to save."
        ),
    ] = None,
    seed: Seed = 0,
) -> None:
    """Say what one model knows and how it was made, and draw a contact sheet of its edits.

    The scenes of the sheet are held out from its training, and none is picked by eye.
    """
    from onefill.pocket.embedded import describe

    found = {kind: [model for model in describe(kind) if model.name == name] for kind in _KINDS}
    if not any(found.values()):
        raise BadInput(f"{name}: no embedded model has this name; see `onefill models`")
    target = _sheet_target(output, name) if found["policies"] else None
    _print_tables(found)
    for model in found["policies"]:
        assert target is not None
        _draw_sheet(model, target, seed)
        typer.echo(target)


def _sheet_target(output: Path | None, name: str) -> Path:
    from onefill.images import check_target

    return check_target(output or Path(f"models-{name}.png"))


def _draw_sheet(model: EmbeddedModel, target: Path, seed: int) -> None:
    from onefill.images import save_image
    from onefill.pocket.contact_sheet import contact_sheet
    from onefill.policy.loading import load_policy

    console.say("painting held-out scenes")
    save_image(contact_sheet(load_policy(str(model.path)), model.name, seed), target)


def _entries(found: Sequence[EmbeddedModel]) -> list[dict[str, Any]]:
    # The card comes first, so that it can never stand in for the name or the path.
    return [{**model.card, "name": model.name, "path": str(model.path)} for model in found]


def _policy_rows(card: Mapping[str, Any]) -> dict[str, str]:
    vocabulary, text_words = card.get("vocabulary", []), card.get("text_words", [])
    looks = [*sorted({c for known in card.get("colours", {}).values() for c in known})]
    looks += [*card.get("sizes", []), *card.get("counts", [])]
    others = [f"{other} ({word})" for word, other in card.get("other_names", {}).items()]
    return {
        f"can paint ({len(vocabulary)})": ", ".join(vocabulary),
        "by other names": ", ".join(others),
        "in colours": ", ".join(card.get("colours", {})),
        "looks and numbers": ", ".join(looks),
        f"can write ({len(text_words)})": ", ".join(text_words),
        "works at": f"{card['size']}x{card['size']} pixels" if "size" in card else "",
        "steps, guidance": f"{card.get('steps', '?')}, {card.get('guidance', '?')}",
    }


def _judge_rows(card: Mapping[str, Any]) -> dict[str, str]:
    return {
        f"judges {name}": f"right on {100 * float(facts['accuracy']):.1f} % of held-out pairs"
        if "accuracy" in facts
        else "accuracy not measured"
        for name, facts in card.get("dimensions", {}).items()
    }


_KINDS: dict[Kind, tuple[str, Callable[[Mapping[str, Any]], dict[str, str]]]] = {
    "policies": ("policy", _policy_rows),
    "judges": ("judge", _judge_rows),
    "adapters": ("adapter", lambda card: {}),
}
"""What one of a kind is called, and what its card says that it knows."""


def _print_tables(found: Mapping[Kind, Sequence[EmbeddedModel]]) -> None:
    for kind, of_kind in found.items():
        word, known = _KINDS[kind]
        for model in of_kind:
            console.stdout().print(_table(word, model, known(model.card)))


def _table(kind: str, model: EmbeddedModel, known: Mapping[str, str]) -> Table:
    rows = {"folder": str(model.path), **known}
    for name, fact in model.card.get("facts", {}).items():
        rows[name.replace("_", " ")] = _plain(fact)
    for source in model.card.get("sources", []):
        label = f"made from {source.get('name', '?')}"
        rows[label] = f"licence {source.get('licence', '?')}"
    return _rows(f"{kind} {model.name}", rows)


def _rows(title: str, rows: Mapping[str, str]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows.items():
        if value:
            table.add_row(Text(name), Text(value))
    return table


def _plain(fact: Any) -> str:
    if isinstance(fact, float):
        return f"{fact:.4g}"
    if isinstance(fact, Mapping):
        return ", ".join(f"{name} {_plain(value)}" for name, value in fact.items())
    if isinstance(fact, (list, tuple)):
        return ", ".join(_plain(value) for value in fact)
    return str(fact)

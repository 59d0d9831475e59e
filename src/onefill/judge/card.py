"""``onefill_judge.json``: what a judge says of itself, beside its weights."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from onefill.errors import BadInput
from onefill.judge.query import TEMPLATE, TEMPLATE_VERSION

CARD_NAME = "onefill_judge.json"

SIGHTS = ("source", "mask")
"""What a judge may have been trained to see of an edit besides its results."""


@dataclass(frozen=True)
class JudgeCard:
    """The part of the card that asking needs.

    Attributes:
        temperatures: "task/dimension" to the temperature fitted on held-out pairs, above 0.
        sees: what the judge was trained to be shown beside the results, of ``SIGHTS``.
    """

    temperatures: Mapping[str, float] = field(default_factory=dict)
    sees: tuple[str, ...] = ()


def read_card(folder: Path) -> JudgeCard:
    """The card of a judge folder; a plain one if there is none, as in folders from the hub.

    Raises:
        BadInput: it cannot be read, or the judge was trained with other words than ours.
    """
    path = folder / CARD_NAME
    if not path.exists():
        return JudgeCard()
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        version = document["template_version"]
        template = document.get("template", TEMPLATE)
        temperatures = {
            name: _temperature(entry) for name, entry in document.get("dimensions", {}).items()
        }
        sees = _sights(document.get("sees", []))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        reason = str(error).splitlines()[0]
        raise BadInput(
            f"{path}: not a judge's card ({reason}); copy the judge's folder again, or delete "
            "this file to ask without calibration"
        ) from error
    if version != TEMPLATE_VERSION:
        raise BadInput(
            f"{folder}: this judge was trained with query template {version}, and is asked here "
            f"with template {TEMPLATE_VERSION}: its answers would mean nothing; use the onefill "
            "it was made with, or another --judge"
        )
    if template != TEMPLATE:
        raise BadInput(
            f"{folder}: this judge was trained with other words than it is asked with here "
            f'("template" in {CARD_NAME}): its answers would mean nothing; use the onefill it was '
            "made with, or another --judge"
        )
    return JudgeCard(temperatures, sees)


def _temperature(entry: Any) -> float:
    value = float(entry.get("temperature", 1.0))
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"temperature {value} is not above 0")
    return value


def _sights(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not set(value) <= set(SIGHTS):
        raise ValueError(f"sees {value!r} is no list of {', '.join(SIGHTS)}")
    return tuple(sight for sight in SIGHTS if sight in value)

"""Full-size models by short names: where their weights are published, and how they are run.

From the paper's public repository: its transformers go into FLUX.1-Fill-dev, and the adapter that
removes objects goes on top of the first of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

FLUX_FILL = "black-forest-labs/FLUX.1-Fill-dev"
ONEREWARD = "bytedance-research/OneReward"

GATED = frozenset({FLUX_FILL})
"""Hub ids of weights that are given only to those who have accepted their licence there."""

_FLUX_LICENCE = "FLUX.1 [dev] Non-Commercial License"
_BOTH_LICENCES = f"CC BY-NC 4.0, and of the model below it the {_FLUX_LICENCE}"
_TRANSFORMER = "flux.1-fill-dev-OneReward-transformer"

_DISTILLED = {"guidance": 1.0, "distilled_guidance": 30.0, "negative_prompt": ""}
"""FLUX.1-Fill-dev as its makers run it: told a guidance scale, without a second prediction."""


@dataclass(frozen=True, kw_only=True)
class Published:
    """Weights on the hub.

    Attributes:
        about: one line for people.
        licence: of the weights.
        page: where it can be read.
        model: hub id of the pipeline.
        transformer: hub id of the transformer that replaces the pipeline's own.
        transformer_subfolder: where it is in there.
        adapter: hub id of an adapter on top.
        adapter_subfolder: where it is in there.
        settings: differences from ``PolicySettings``, whose defaults are the paper's.
    """

    about: str
    licence: str = _BOTH_LICENCES
    page: str = f"https://huggingface.co/{ONEREWARD}"
    model: str = FLUX_FILL
    transformer: str | None = ONEREWARD
    transformer_subfolder: str | None = _TRANSFORMER
    adapter: str | None = None
    adapter_subfolder: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


PUBLISHED = {
    "onereward": Published(about="OneReward, trained against a fixed reference (Algorithm 1)"),
    "onereward-dynamic": Published(
        about="OneReward, trained against a moving reference (Algorithm 2)",
        transformer_subfolder="flux.1-fill-dev-OneRewardDynamic-transformer",
    ),
    "onereward-removal": Published(
        about="OneReward with the adapter that removes objects",
        adapter=ONEREWARD,
        adapter_subfolder="flux.1-fill-dev-object-removal-lora",
    ),
    "flux-fill": Published(
        about="FLUX.1-Fill-dev, the model that OneReward began from",
        licence=_FLUX_LICENCE,
        page=f"https://huggingface.co/{FLUX_FILL}",
        transformer=None,
        transformer_subfolder=None,
        settings=_DISTILLED,
    ),
}
"""What ``--model`` takes beside embedded names, folders and hub ids."""


def find_published(model: str) -> Published | None:
    """The published weights of that short name, or of the hub id of FLUX.1-Fill-dev."""
    return PUBLISHED.get("flux-fill" if model == FLUX_FILL else model)


def licence_of(model: str, transformer: str | None) -> str | None:
    """One line about the licence of published weights, by their hub ids; None for any others."""
    for published in PUBLISHED.values():
        weights = published.transformer or published.model
        if weights == (transformer or model):
            return f"{weights}: licence {published.licence}; see {published.page}"
    return None

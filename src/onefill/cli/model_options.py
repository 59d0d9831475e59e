"""Options that say which policy paints and how it is kept in memory, and the choice they make.

Everything that can be wrong with the words is found here, before a model library is imported.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onefill.cli import console
from onefill.errors import BadInput

if TYPE_CHECKING:
    from onefill.policy.choice import Memory, ModelChoice
    from onefill.policy.flux_fill import FluxFillPolicy

_PANEL = "Model"

PolicyName = Annotated[
    str,
    typer.Option(
        "--model",
        metavar="NAME|FOLDER|HUB-ID",
        help="What paints: an embedded name, a published one (onereward, onereward-dynamic, "
        "onereward-removal, flux-fill), a diffusers folder, or a hub id.",
        rich_help_panel=_PANEL,
    ),
]
TransformerName = Annotated[
    str | None,
    typer.Option(
        "--transformer",
        metavar="FOLDER|HUB-ID",
        help="Other transformer weights for the model.",
        rich_help_panel=_PANEL,
    ),
]
TransformerSubfolder = Annotated[
    str | None,
    typer.Option(
        "--transformer-subfolder",
        metavar="NAME",
        help="Where they are in there.",
        rich_help_panel=_PANEL,
    ),
]
AdapterScale = Annotated[
    float,
    typer.Option(
        "--adapter-scale",
        help="How strongly the adapter acts: 1 as trained, 0 not at all.",
        rich_help_panel=_PANEL,
    ),
]
PolicyDtype = Annotated[
    str | None,
    typer.Option(
        "--dtype",
        metavar="NAME",
        help="Precision of the model: float32, bfloat16, float16. Default: float32; bfloat16 for "
        "published names.",
        rich_help_panel=_PANEL,
    ),
]
Offload = Annotated[
    str | None,
    typer.Option(
        "--offload",
        metavar="HOW",
        help="What waits in the machine's memory to spare the GPU's: none, model, sequential, "
        "group.",
        rich_help_panel=_PANEL,
    ),
]
PolicyQuantize = Annotated[
    str | None,
    typer.Option(
        "--quantize",
        metavar="NAME",
        help="Fewer bits for the transformer's weights: bnb-8bit, bnb-4bit, torchao-int8.",
        rich_help_panel=_PANEL,
    ),
]
Vram = Annotated[
    int | None,
    typer.Option(
        "--vram",
        metavar="GIB",
        help="Set --dtype, --offload and --quantize for FLUX.1-Fill on a card of 12, 16, 24, 48 or "
        "80 GiB.",
        rich_help_panel=_PANEL,
    ),
]


def choose_model(
    model: str,
    *,
    transformer: str | None = None,
    transformer_subfolder: str | None = None,
    adapter: Path | None = None,
    adapter_scale: float = 1.0,
    dtype: str | None = None,
    offload: str | None = None,
    quantize: str | None = None,
    vram: int | None = None,
    device: str = "cpu",
    offline: bool = False,
) -> ModelChoice:
    """What was typed, as one choice; what contradicts itself is refused.

    Raises:
        BadInput: an unknown name, or options that do not go together.
    """
    from onefill.pocket.embedded import resolve
    from onefill.policy.choice import ModelChoice
    from onefill.policy.published import find_published

    if transformer_subfolder is not None and transformer is None:
        raise BadInput("--transformer-subfolder: of what? add --transformer FOLDER or a hub id")
    published = find_published(model)
    if adapter_scale != 1 and adapter is None and getattr(published, "adapter", None) is None:
        raise BadInput("--adapter-scale: of what? add --adapter FOLDER")
    memory = _choose_memory(dtype, offload, quantize, vram, large=published is not None)
    if vram is not None and device == "cpu":
        device = "cuda"
    if memory.offload != "none" and device == "cpu":
        raise BadInput(
            f"--offload {memory.offload}: spares a GPU's memory, and this model is to run on the "
            "CPU; add --device cuda or leave it out"
        )
    choice = ModelChoice(
        model=resolve("policies", model) if published is None else published.model,
        transformer=transformer,
        transformer_subfolder=transformer_subfolder,
        adapter=adapter,
        adapter_scale=adapter_scale,
        device=device,
        memory=memory,
        offline=offline,
    )
    if published is None:
        return choice
    if published.transformer is None:
        # With other weights in it, it is no longer the distilled model that its makers run so.
        return choice if transformer else replace(choice, settings=published.settings)
    if transformer is not None:
        raise BadInput(f"--transformer: {model} brings its own; use --model flux-fill with it")
    choice = replace(
        choice,
        transformer=published.transformer,
        transformer_subfolder=published.transformer_subfolder,
        settings=published.settings,
    )
    if published.adapter is None:
        return choice
    if adapter is not None:
        raise BadInput(f"--adapter: {model} brings its own; use --model onereward with it")
    return replace(choice, adapter=published.adapter, adapter_subfolder=published.adapter_subfolder)


def load_model(choice: ModelChoice) -> FluxFillPolicy:
    """Load the choice; the licence of published weights is said the first time on this machine.

    Raises:
        BadInput: see ``onefill.policy.loading.load_chosen``.
    """
    from onefill.policy.loading import load_chosen

    policy = load_chosen(choice)
    _say_licence(choice)
    return policy


def name_model(model: str, transformer: str | None, transformer_subfolder: str | None) -> str:
    """What painted, for the record in a result: all weights that are not the model's own too."""
    if transformer is None:
        return model
    from onefill.edit.record import own_name

    inside = f"/{transformer_subfolder}" if transformer_subfolder else ""
    return f"{own_name(model)} with transformer {own_name(transformer)}{inside}"


def name_adapter(adapter: Path | None, scale: float) -> str | None:
    """The adapter likewise, and how strongly it acted if not as trained."""
    if adapter is None or scale == 1:
        return None if adapter is None else str(adapter)
    from onefill.edit.record import own_name

    return f"{own_name(str(adapter))} at {scale:g}"


def deciding_weights(choice: ModelChoice, model: str) -> dict[str, Any]:
    """What of a choice decides how results look, by name; see ``onefill.edit.key``.

    An adapter that was trained counts by its weights, all others by name or place. Where they
    wait and what computes does not count.

    Args:
        choice: the choice.
        model: as typed; an embedded or published name means the same wherever it is kept.
    """
    from onefill.policy.choice import ADAPTER_FILE

    trained = choice.adapter if isinstance(choice.adapter, Path) else None
    return {
        "model": _place(model),
        "transformer": _place(choice.transformer),
        "transformer_subfolder": choice.transformer_subfolder,
        "adapter": None if trained is None else trained / ADAPTER_FILE,
        "adapter_scale": choice.adapter_scale,
        "dtype": choice.memory.dtype,
        "quantize": choice.memory.quantize,
    }


def _place(name: str | None) -> Path | str | None:
    """A folder as a path, anything else as it is."""
    if name is None:
        return None
    folder = Path(name).expanduser()
    return folder if folder.is_dir() else name


def _choose_memory(
    dtype: str | None, offload: str | None, quantize: str | None, vram: int | None, *, large: bool
) -> Memory:
    from onefill.policy.choice import DTYPES, OFFLOADS, PRESETS, Memory
    from onefill.quantizers import QUANTIZERS

    known = {"dtype": DTYPES, "offload": OFFLOADS, "quantize": QUANTIZERS, "vram": tuple(PRESETS)}
    typed = {"dtype": dtype, "offload": offload, "quantize": quantize, "vram": vram}
    for name, value in typed.items():
        if value is not None and value not in known[name]:
            choices = ", ".join(map(str, known[name]))
            raise BadInput(f"--{name} {value}: unknown; choose from {choices}")
    memory = Memory(dtype="bfloat16" if large else "float32") if vram is None else PRESETS[vram]
    memory = Memory(
        dtype=dtype or memory.dtype,
        offload=offload or memory.offload,
        quantize=quantize or memory.quantize,
    )
    if memory.quantize is not None and memory.offload in ("sequential", "group"):
        raise BadInput(
            f"--quantize {memory.quantize}: its weights cannot come and go in parts; "
            "use --offload model or none with it"
        )
    return memory


def _say_licence(choice: ModelChoice) -> None:
    from onefill.policy.published import licence_of

    licence = licence_of(choice.model, choice.transformer)
    if licence is None:
        return
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    shown = cache / "onefill" / "licences-shown.txt"
    try:
        said = shown.read_text(encoding="utf-8").splitlines() if shown.exists() else []
        if licence in said:
            return
        console.say(licence)
        shown.parent.mkdir(parents=True, exist_ok=True)
        shown.write_text("\n".join([*said, licence]) + "\n", encoding="utf-8")
    except OSError:
        pass  # where nothing can be kept it is said every time

"""What a policy wants to be run with: sizes, steps, guidance and the words it knows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from onefill.errors import BadInput

SETTINGS_FILE = "onefill.json"

USUAL_CONTEXT = 0.5
"""With it a square mask fills about a quarter of the crop that an edit shows the model."""


class PolicySettings(BaseModel):
    """How a model was trained, and so how it is best run.

    The defaults are those of FLUX.1-Fill-dev as the paper's published models are used: 50 steps,
    true guidance 4.0 against the prompt "nsfw", distilled guidance 1.0.

    Attributes:
        size: pixels a side of the square the model works at.
        multiple: height and width in pixels must divide by it; twice the VAE's factor.
        max_sequence_length: T5 tokens of a prompt, its end token included.
        steps: Euler steps of a full denoising.
        task_steps: task to Euler steps where they are others. The fewer, the nearer a result is
            to the mean of all that could stand there.
        guidance: true classifier-free guidance scale; 1.0 is off.
        task_guidance: task to the scale where it is another.
        distilled_guidance: the scale a guidance-distilled transformer is told.
        negative_prompt: what guidance leads away from.
        strength: task to the noise level at which an edit begins, from the surroundings carried
            into the mask; a task that is not named begins from noise alone, 1.0.
        context: task to what an edit shows round the mask on each side, as a share of the mask's
            mean side; 0.5 for a task that is not named. A model made on scenes with large things
            paints them best where the mask fills most of the crop.
        detail: tasks whose results are given the fine detail of their surroundings.
        pieces: tasks whose edits are laid with pieces of their surroundings, led by what was
            painted.
        vocabulary: the words a model of closed vocabulary was trained on; empty for an open one.
        text_words: words it can write into a picture.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    size: int = Field(default=1024, gt=0)
    multiple: int = Field(default=16, gt=0)
    max_sequence_length: int = Field(default=512, gt=1, le=512)
    steps: int = Field(default=50, gt=0)
    task_steps: dict[str, Annotated[int, Field(gt=0)]] = {}
    guidance: float = Field(default=4.0, ge=1.0)
    task_guidance: dict[str, Annotated[float, Field(ge=1)]] = {}
    distilled_guidance: float = Field(default=1.0, ge=0.0)
    negative_prompt: str = "nsfw"
    strength: dict[str, Annotated[float, Field(gt=0, le=1)]] = {}
    context: dict[str, Annotated[float, Field(gt=0, le=8)]] = {}
    detail: tuple[str, ...] = ()
    pieces: tuple[str, ...] = ()
    vocabulary: tuple[str, ...] = ()
    text_words: tuple[str, ...] = ()

    @property
    def max_prompt_tokens(self) -> int:
        """Tokens left for the prompt itself once the end token has its place."""
        return self.max_sequence_length - 1

    def steps_for(self, task: str) -> int:
        """Euler steps of a full denoising when the task is that one."""
        return self.task_steps.get(task, self.steps)

    def guidance_for(self, task: str) -> float:
        """True guidance scale when the task is that one."""
        return self.task_guidance.get(task, self.guidance)

    def strength_for(self, task: str) -> float:
        """Noise level at which an edit begins when the task is that one; 1.0 is noise alone."""
        return self.strength.get(task, 1.0)

    def context_for(self, task: str) -> float:
        """What an edit shows round the mask when the task is that one, in mean sides of it."""
        return self.context.get(task, USUAL_CONTEXT)


def settings_with_adapter(settings: PolicySettings, file: Path) -> PolicySettings:
    """The settings of a model under an adapter that wants some of them otherwise.

    Args:
        settings: the model's own.
        file: the adapter's ``onefill.json``, with those that are other; most adapters have none.

    Raises:
        BadInput: the file is no JSON object, or a value is out of range.
    """
    own = _parse(file)
    named = own.model_fields_set & set(PolicySettings.model_fields) - {"multiple"}
    return settings.model_copy(update={name: getattr(own, name) for name in named})


def read_settings(file: Path, multiple: int) -> PolicySettings:
    """The settings in ``file``, or FLUX.1-Fill-dev's if there is no such file.

    Args:
        file: an ``onefill.json``; keys that are no setting (facts, sources) are kept as they are.
        multiple: the model's own, which no file may contradict.

    Raises:
        BadInput: the file is no JSON object, a value is out of range, or the size does not
            divide by ``multiple``.
    """
    settings = _parse(file)
    if settings.size % multiple:
        raise BadInput(
            f"{file}: size {settings.size} does not divide by {multiple}, as this model needs; "
            f"try {max(1, round(settings.size / multiple)) * multiple}"
        )
    return settings.model_copy(update={"multiple": multiple})


def _parse(file: Path) -> PolicySettings:
    try:
        text = file.read_text(encoding="utf-8") if file.is_file() else "{}"
        return PolicySettings.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise BadInput(f"{file}: {where}: {first['msg']}; correct it or remove the file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(
            f"{file}: cannot be read ({error}); correct it or remove the file"
        ) from error

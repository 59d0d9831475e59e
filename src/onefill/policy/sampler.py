"""How a policy denoises for a task: what was asked for, and the policy's own settings elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

from onefill.policy.flux_fill import FluxFillPolicy


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How the policy denoises; None takes the policy's own setting.

    Attributes:
        steps: Euler steps, at least 1.
        guidance: true classifier-free guidance scale; 1.0 is off.
        negative: what guidance leads away from.
        strength: noise level in (0, 1] at which painting begins from the surroundings carried
            into the mask; 1.0 begins from noise alone.
    """

    steps: int | None = None
    guidance: float | None = None
    negative: str | None = None
    strength: float | None = None

    def settle(self, policy: FluxFillPolicy, task: str) -> SettledSampling:
        """What holds for a task, the policy's settings put where nothing was said."""
        own = policy.settings
        return SettledSampling(
            steps=own.steps_for(task) if self.steps is None else self.steps,
            guidance=own.guidance_for(task) if self.guidance is None else self.guidance,
            negative=own.negative_prompt if self.negative is None else self.negative,
            strength=own.strength_for(task) if self.strength is None else self.strength,
            detail=task in own.detail,
            pieces=task in own.pieces,
        )


@dataclass(frozen=True, kw_only=True)
class SettledSampling:
    """``Sampling`` with nothing left open; equal ones can be painted together.

    Attributes:
        detail: whether a result is given the fine detail of its surroundings.
        pieces: whether an edit is laid with pieces of its surroundings.
    """

    steps: int
    guidance: float
    negative: str
    strength: float
    detail: bool = False
    pieces: bool = False

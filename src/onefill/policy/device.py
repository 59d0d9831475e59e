"""The device that a flag names."""

from __future__ import annotations

import torch

from onefill.errors import BadInput


def find_device(name: str) -> torch.device:
    """The device.

    Args:
        name: as torch names it.

    Raises:
        BadInput: there is no such device.
    """
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        raise BadInput(
            f"--device {name}: this machine has none; try --device cpu, and leave --vram out"
        ) from error

"""What kind of background a removal has to restore: smooth, textured or structured."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from onefill.tasks.types import Mask

KINDS = ("smooth", "textured", "structured")

_SMOOTH, _ONE_WAY = 5.0, 0.4


def kind_of(background: NDArray[np.uint8], mask: Mask) -> str:
    """One of ``KINDS``, by the gradients of the colours inside the mask.

    With C the covariance of the gradients (an even slope counts nothing), its mean over the three
    channels: smooth where the root of C's trace is below 5 grey levels per pixel; elsewhere
    structured where most lie along one direction, (l1 - l2) / (l1 + l2) of C's eigenvalues at
    least 0.4, as at horizons, edges and stripes; else textured. Both limits were set by eye on
    training scenes.

    Args:
        background: uint8 (H, W, 3), the true background.
        mask: (H, W), where it is hidden.
    """
    slopes = [np.gradient(background.astype(np.float64), axis=axis) for axis in (0, 1)]
    gradients = np.stack(slopes)[:, mask]
    gradients -= gradients.mean(1, keepdims=True)
    covariance = np.einsum("ipc,jpc->ij", gradients, gradients) / gradients[0].size
    smaller, larger = np.linalg.eigvalsh(covariance)
    energy = smaller + larger
    if energy < _SMOOTH**2:
        return "smooth"
    return "structured" if larger - smaller >= _ONE_WAY * energy else "textured"

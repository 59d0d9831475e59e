"""What can make weights of 8 or 4 bits, for policies and judges alike; imports none of it."""

from __future__ import annotations

import logging
from importlib.util import find_spec

from onefill.errors import BadInput

_PACKAGES = {"bnb-8bit": "bitsandbytes", "bnb-4bit": "bitsandbytes", "torchao-int8": "torchao"}

QUANTIZERS = tuple(_PACKAGES)
"""What ``--quantize`` takes: a package, and what it makes of the weights."""

_REMARKS = "bitsandbytes.backends.cpu.ops"


def hush_bitsandbytes() -> None:
    """Keep its remark on a kernel that it misses on a CPU off the screen; errors are still told.

    diffusers and peft import bitsandbytes wherever it is installed, and nobody who paints without
    it can do anything about the remark.
    """
    logging.getLogger(_REMARKS).setLevel(logging.ERROR)


def check_package(name: str) -> None:
    """Refuse a quantizer whose package is not here.

    Args:
        name: one of ``QUANTIZERS``.

    Raises:
        BadInput: its package is not installed.
    """
    package = _PACKAGES[name]
    if find_spec(package) is None:
        raise BadInput(f"--quantize {name}: needs the package {package}; `pip install {package}`")

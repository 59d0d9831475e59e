"""Keep the model libraries' own talk off the user's screen."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Inside, diffusers and transformers print errors only: no bars, no remarks on a tiny VAE."""
    loggers = (diffusers_logging, transformers_logging)
    levels = [logger.get_verbosity() for logger in loggers]
    bars = [logger.is_progress_bar_enabled() for logger in loggers]
    try:
        for logger in loggers:
            logger.set_verbosity_error()
            logger.disable_progress_bar()
        yield
    finally:
        for logger, level, bar in zip(loggers, levels, bars, strict=True):
            logger.set_verbosity(level)
            if bar:
                logger.enable_progress_bar()

"""Sparkle: direction, distance and localisation in drawn pictures, paths and tours; no data is published."""

from __future__ import annotations

from typing import NoReturn

from allocentric.core import config
from allocentric.eval.benchmarks._published import refuse

REASON = (
    "YihongT/Sparkle says that code will be released soon: neither data nor prompts are published (arXiv 2410.16162)"
)


class Settings(config.Settings):
    """None: there is nothing to ask."""


def build(settings: Settings) -> NoReturn:
    """Refuse with the reason."""
    del settings
    refuse("sparkle", REASON)

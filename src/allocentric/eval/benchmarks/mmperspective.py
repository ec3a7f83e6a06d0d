"""MMPerspective: vanishing points, lens distortion and other matters of perspective; no data is published."""

from __future__ import annotations

from typing import NoReturn

from allocentric.core import config
from allocentric.eval.benchmarks._published import refuse

REASON = (
    "its repository (yunlong10/MMPerspective) holds a README with an empty link: neither data nor prompts"
    " nor a scorer are published (arXiv 2505.20426: 2,711 pictures, 5,083 questions)"
)


class Settings(config.Settings):
    """None: there is nothing to ask."""


def build(settings: Settings) -> NoReturn:
    """Refuse with the reason."""
    del settings
    refuse("mmperspective", REASON)

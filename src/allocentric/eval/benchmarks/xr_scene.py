"""XR-Scene: questions, plans and captions over point clouds of several rooms; asks for 3D input."""

from __future__ import annotations

from typing import NoReturn

from allocentric.core import config
from allocentric.eval.benchmarks._published import refuse

REASON = (
    "its questions are about point clouds (Hoyard/XR-Scene, LSceneLLM), which no model here takes, and "
    "its captions are scored by overlap of words"
)


class Settings(config.Settings):
    """None: there is nothing to ask."""


def build(settings: Settings) -> NoReturn:
    """Refuse with the reason."""
    del settings
    refuse("xr_scene", REASON)

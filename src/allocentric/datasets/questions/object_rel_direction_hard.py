"""In which quadrant a third object lies, seen from one object and facing another.

Template as VSI-Bench publishes it; geometry, filters and profiles are those of all three levels (`_direction`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from allocentric.core.types import Item, Scene, View
from allocentric.datasets.questions import _direction
from allocentric.datasets.questions._context import context_of, settings_of
from allocentric.datasets.questions._direction import PROFILES, Settings

__all__ = ["KIND", "PROFILES", "TEMPLATE", "Settings", "ask"]

KIND = "object_rel_direction_hard"
TEMPLATE = (
    "If I am standing by the {stand} and facing the {face}, is the {target} to my front-left, front-right, back-left, "
    "or back-right?\nThe directions refer to the quadrants of a Cartesian plane (if I am standing at the origin and "
    "facing along the positive y-axis)."
)


def ask(scene: Scene, views: Sequence[View], rng: np.random.Generator, profile: str | Settings = "vsi") -> list[Item]:
    """Questions about triples of shown objects that are each the only one of their category."""
    settings = settings_of(PROFILES, profile)
    return _direction.ask_direction(context_of(scene, views, settings.seen), rng, settings, KIND, TEMPLATE)

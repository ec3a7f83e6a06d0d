"""The floor area of what is shown, in square metres.

Template and answer as VSI-Bench publishes them: the area to 0.1 m2, rooms combined.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from allocentric.core import config
from allocentric.core.geometry import point_in_polygon
from allocentric.core.types import Item, Number, Room, Scene, View
from allocentric.datasets.derivation import Derivation
from allocentric.datasets.questions._context import Seen, context_of, settings_of

KIND = "room_size_estimation"
TEMPLATE = (
    "What is the size of this room (in square meters)? \n"
    "If multiple rooms are shown, estimate the size of the combined space."
)


class Settings(config.Settings):
    """Which floors are asked about."""

    max_rooms: int | None = None
    """Scenes with more rooms are left out; None asks about all."""


PROFILES: Mapping[str, Settings] = {"vsi": Settings(), "revsi": Settings(max_rooms=4)}
"""`vsi`: every scene. `revsi`: up to four rooms, which a viewer can still add up (ReVSI asks about
one or several; the bound is ours)."""


def ask(
    scene: Scene,
    views: Sequence[View],
    rng: np.random.Generator,  # noqa: ARG001 - one question at most, nothing to draw
    profile: str | Settings = "vsi",
) -> list[Item]:
    """One question where the area is known; with views, only where some camera stands in every room."""
    settings = settings_of(PROFILES, profile)
    if scene.floor_area_m2 is None or (settings.max_rooms is not None and len(scene.rooms) > settings.max_rooms):
        return []
    if views and len(scene.rooms) > 1 and not all(_is_entered(room, views) for room in scene.rooms):
        return []
    context = context_of(scene, views, Seen())
    area_m2 = float(scene.floor_area_m2)
    derivation = Derivation()
    area = derivation.add("floor_area", area_m2)
    answer = round(area_m2, 1)
    derivation.add("round", answer, value=area, digits=1)
    item = context.item(
        kind=KIND,
        prompt=TEMPLATE,
        gold=Number(answer, "m2"),
        derivation=derivation,
        objects=[],
        label=f"{answer:.1f}",
    )
    return [item]


def _is_entered(room: Room, views: Sequence[View]) -> bool:
    eyes = [view.camera.world_from_camera[:2, 3] for view in views if view.camera is not None]
    return bool(eyes) and bool(np.any(point_in_polygon(np.array(eyes), room.floor_polygon_m)))

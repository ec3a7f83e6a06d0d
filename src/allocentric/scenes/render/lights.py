"""Lights of a scene: a sun, a sky, and one lamp under the ceiling of each room. The same numbers in every backend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from allocentric.core.geometry import polygon_area
from allocentric.core.types import Room, Scene

Array = NDArray[np.float64]

SUN_DIRECTION: Array = np.array([0.48, 0.36, 0.80]) / np.linalg.norm([0.48, 0.36, 0.80])
"""Towards the sun."""
SUN = (1.10, 1.02, 0.88)
"""Linear colour of full sunlight."""
FILL = 0.30
"""Share of the sun that is left where shadows are not computed: a soft key light instead of a hard one."""
SKY = (0.50, 0.53, 0.58)
"""Linear ambient light on surfaces that look up."""
GROUND = (0.40, 0.37, 0.33)
"""Linear ambient light on surfaces that look down."""
LAMP = (1.0, 0.93, 0.82)
"""Linear colour of a lamp on a surface that faces it from near."""
HORIZON = (1.15, 1.35, 1.6)
"""Linear background colour at the horizon."""
ZENITH = (0.35, 0.62, 1.15)
"""Linear background colour overhead."""
EXPOSURE = 1.0
"""Multiplies light before it is shown."""
SHOULDER = 0.55
"""How early bright light is compressed."""
WHITE = 0.10
"""How much of it is kept."""
GLOSS = 0.35
"""Strength of the highlight of a lamp on a surface of roughness 0."""
LAMP_TANGENT = 6.0
"""Steepest slope (sideways over down) at which a lamp's shadows are computed; higher up the walls all is lit."""
SHADOW_LIFT_M = 0.02
"""Shadows are looked up this far above a surface, so that thin things do not shade themselves."""
OUTDOORS = frozenset({"sidewalk", "crossing", "square"})
"""Kinds of rooms under the sky: they have no lamp."""
_FIXTURE_M = 0.15
_PANES = ("window", "glass", "skylight")
_GROUND = OUTDOORS | {"ground", "road"}  # nothing lies below it; far wider than a house, it would only shade itself
_DROP_M = 0.30
"""How far a lamp hangs below the ceiling."""


@dataclass(frozen=True, slots=True, eq=False)
class Lamps:
    """Room lights; lamp k belongs to room k of `lit_rooms`."""

    position_m: Array
    """(L, 3) world."""
    reach_m: Array
    """(L,) distance at which the light has halved; grows with the room."""


def lit_rooms(scene: Scene) -> tuple[Room, ...]:
    """The rooms that have a lamp, in order."""
    return tuple(room for room in scene.rooms if room.kind not in OUTDOORS)


def lamps_of(scene: Scene) -> Lamps:
    """One lamp per lit room, over the middle of its floor."""
    rooms = lit_rooms(scene)
    position = [_lamp_position(room) for room in rooms]
    reach = [max(1.6, 0.75 * polygon_area(room.floor_polygon_m) ** 0.5) for room in rooms]
    return Lamps(np.array(position).reshape(-1, 3), np.array(reach))


def _lamp_position(room: Room) -> tuple[float, float, float]:
    import shapely

    polygon = shapely.Polygon(np.asarray(room.floor_polygon_m, dtype=float))
    middle = polygon.centroid if polygon.contains(polygon.centroid) else polygon.representative_point()
    return middle.x, middle.y, room.floor_z_m + max(room.height_m - _DROP_M, 0.5 * room.height_m)


class Casters(NamedTuple):
    """Which objects and structure parts cast shadows."""

    sun: NDArray[np.bool_]
    """(M,) all but panes and the ground outdoors."""
    lamps: NDArray[np.bool_]
    """(M,) all but panes and what hangs where a lamp is, which is the lamp itself."""


def casters_of(scene: Scene, bounds_m: NDArray[np.float32], lamps: Lamps) -> Casters:
    """Casters among things with world bounds (M, 2, 3)."""
    things = (*scene.objects, *scene.structure)
    solid = np.array([not any(word in thing.label.lower() for word in _PANES) for thing in things], dtype=bool)
    solid &= np.array([thing.label not in _GROUND for thing in things], dtype=bool)
    fixture = np.zeros(len(things), dtype=bool)
    for position in lamps.position_m:
        gap = np.maximum(np.maximum(bounds_m[:, 0] - position, position - bounds_m[:, 1]), 0)
        fixture |= np.linalg.norm(gap, axis=1) < _FIXTURE_M
    return Casters(solid, solid & ~fixture)


def to_display(light: NDArray[np.float32]) -> NDArray[np.float32]:
    """Linear light to display values in [0, 1]: a curve that keeps highlights, then gamma 2."""
    x = light * np.float32(EXPOSURE)
    return np.asarray(np.sqrt(np.clip(x * (1 + WHITE * x) / (1 + (WHITE + SHOULDER) * x), 0, 1)), np.float32)

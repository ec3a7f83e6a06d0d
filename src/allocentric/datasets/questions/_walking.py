"""How a robot that only turns on the spot and walks straight gets from object to object."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from allocentric.core.geometry import box_corners, invert, transform_points
from allocentric.core.types import FloatArray, Object, Scene
from allocentric.scenes.walkable import HEAD_M, STEP_M, WalkableMap, walkable_map

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Walker:
    """The connected free floor of a scene, and straight walks over it."""

    floor: WalkableMap
    """The grid."""
    reachable: NDArray[np.bool_]
    """(R, C) cells of its largest connected part."""
    floor_z_m: float
    """Height of the lowest floor."""

    def can_be_reached(self, thing: Object) -> bool:
        """Whether one can walk up to an object: neither flat on the floor nor above head height."""
        heights = box_corners(thing.world_from_object, thing.size_m)[:, 2] - self.floor_z_m
        return bool(heights.min() < HEAD_M and heights.max() > STEP_M)

    def stand(self, thing: Object, reach_m: float) -> Array | None:
        """(2,) the free cell nearest to the object's centre; None where it is not within `reach_m` of its box."""
        cells = np.argwhere(self.reachable)
        if not len(cells):
            return None
        points = self.floor.world_from_cell(cells)
        nearest = points[int(np.argmin(np.sum((points - _centre(thing)) ** 2, axis=1)))]
        return nearest if _ground_gap(nearest, thing) <= reach_m else None

    def walk(self, start_m: FloatArray, thing: Object, reach_m: float) -> Array | None:
        """(2,) where a straight walk from `start_m` (2,) towards the object's centre ends: the last free point.

        None where something is in the way, so that the walk ends farther than `reach_m` from the object's box.
        """
        start, centre = np.asarray(start_m, dtype=float), _centre(thing)
        length = float(np.linalg.norm(centre - start))
        count = int(np.ceil(length / (self.floor.cell_m / 2))) + 1
        points = start + np.linspace(0.0, 1.0, count)[:, None] * (centre - start)
        rows, columns = self.floor.cell_from_world(points).T
        inside = (rows >= 0) & (columns >= 0) & (rows < self.reachable.shape[0]) & (columns < self.reachable.shape[1])
        free = np.zeros(count, dtype=bool)
        free[inside] = self.reachable[rows[inside], columns[inside]]
        if not free[0]:
            return None
        last = points[count - 1 if free.all() else int(np.argmin(free)) - 1]
        return last if _ground_gap(last, thing) <= reach_m else None


@lru_cache(maxsize=2)
def walker_of(scene: Scene) -> Walker:
    """The walker of a scene with rooms."""
    floor = walkable_map(scene)
    return Walker(floor, floor.components() == 1, min(room.floor_z_m for room in scene.rooms))


def _centre(thing: Object) -> Array:
    return np.asarray(thing.world_from_object, dtype=float)[:2, 3]


def _ground_gap(point: Array, thing: Object) -> float:
    """Distance in the ground plane from a point (2,) to an upright box."""
    at_height = np.array([*point, float(np.asarray(thing.world_from_object)[2, 3])])
    local = transform_points(invert(thing.world_from_object), at_height)
    outside = np.maximum(np.abs(local) - np.asarray(thing.size_m) / 2, 0.0)
    return float(np.hypot(outside[0], outside[1]))

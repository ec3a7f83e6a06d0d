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

_TURNING_SPACE_M = 0.15  # kept before an object, so that one can leave sideways without brushing it


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

    def stand(self, thing: Object, towards_m: FloatArray, reach_m: float) -> Array | None:
        """(2,) the free cell within `reach_m` of the object's box that is nearest to `towards_m` (2,), if any."""
        corners = box_corners(thing.world_from_object, thing.size_m)[:, :2]
        low = np.maximum(self.floor.cell_from_world(corners.min(axis=0) - reach_m), 0)
        high = np.maximum(self.floor.cell_from_world(corners.max(axis=0) + reach_m) + 1, 0)
        cells = np.argwhere(self.reachable[low[0] : high[0], low[1] : high[1]]) + low
        points = self.floor.world_from_cell(cells)
        points = points[_ground_gap(points, thing) <= reach_m]
        if not len(points):
            return None
        return np.asarray(points[int(np.argmin(np.sum((points - np.asarray(towards_m)) ** 2, axis=1)))])

    def walk(self, start_m: FloatArray, thing: Object, reach_m: float) -> Array | None:
        """(2,) where a straight walk from `start_m` (2,) to the object ends, a step short of the last free point.

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
        end = count if free.all() else int(np.argmin(free))
        last = points[max(end - 1 - int(_TURNING_SPACE_M / (self.floor.cell_m / 2)), 0)]
        return last if _ground_gap(last, thing) <= reach_m else None


@lru_cache(maxsize=2)
def walker_of(scene: Scene) -> Walker:
    """The walker of a scene with rooms."""
    floor = walkable_map(scene)
    return Walker(floor, floor.components() == 1, min(room.floor_z_m for room in scene.rooms))


def _centre(thing: Object) -> Array:
    return np.asarray(thing.world_from_object, dtype=float)[:2, 3]


def _ground_gap(points: Array, thing: Object) -> Array:
    """(...,) distances in the ground plane from points (..., 2) to an upright box."""
    height = np.broadcast_to(float(np.asarray(thing.world_from_object)[2, 3]), (*points.shape[:-1], 1))
    local = transform_points(invert(thing.world_from_object), np.concatenate([points, height], axis=-1))
    outside = np.maximum(np.abs(local) - np.asarray(thing.size_m) / 2, 0.0)
    return np.asarray(np.hypot(outside[..., 0], outside[..., 1]))

"""What there is to reach: something of a kind, or a point."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from allocentric.core.geometry import invert
from allocentric.core.types import Object, Scene
from allocentric.envs.exploration.floor import Array, Floor, Mask

_INTO_WALL_M = 0.15
"""A thing's nearest point may lie this deep in the wall it hangs on."""
_SIGHT_SAMPLE_M = 0.025


class Goal(Protocol):
    """A place to reach on one floor."""

    name: str
    """Category or "point"."""
    cells: Mask
    """(R, C) cells that distances are measured to."""
    object_indices: tuple[int, ...]
    """Indices into scene.objects of the things looked for; empty for a point."""

    def is_near(self, point_m: Array) -> bool:
        """Whether standing at a world point (2,) is near enough."""
        ...

    def target_m(self, point_m: Array) -> Array:
        """(2,) what to look at from a world point."""
        ...


class PointGoal:
    """A point of the floor; near is closer than a distance as the crow flies, and distances lead to the point."""

    name = "point"
    object_indices: tuple[int, ...] = ()

    def __init__(self, floor: Floor, cell: NDArray[np.int64], distance_m: float) -> None:
        self.point_m = floor.grid.world_from_cell(cell)
        self.cells = np.zeros_like(floor.free)
        self.cells[tuple(cell)] = True
        self._distance_m = distance_m

    def is_near(self, point_m: Array) -> bool:
        """Closer than the distance."""
        return bool(np.hypot(*(self.point_m - point_m)) < self._distance_m)

    def target_m(self, point_m: Array) -> Array:  # noqa: ARG002 - the same from everywhere
        """The point."""
        return self.point_m


class ObjectGoal:
    """Any instance of a category; near is closer than a distance to its box, seen from above, with no wall between.

    Distances lead to the nearest place that is near: stopping there is the shortest success.
    """

    def __init__(self, floor: Floor, scene: Scene, name: str, distance_m: float) -> None:
        self.name = name
        self.object_indices = tuple(k for k, thing in enumerate(scene.objects) if thing.label == name)
        things = [scene.objects[k] for k in self.object_indices]
        self._boxes = _Footprints(things)
        self._floor, self._distance_m = floor, distance_m
        self._open = (floor.grid.room >= 0) | floor.grid.free
        self.cells = self._near_cells(things)

    def is_near(self, point_m: Array) -> bool:
        """Closer to an instance than the distance, and no wall between."""
        nearest = self._boxes.nearest_m(point_m[None])[:, 0]
        away = np.hypot(*(nearest - point_m).T)
        return any(self._no_wall(point_m[None], nearest[k][None])[0] for k in np.flatnonzero(away < self._distance_m))

    def target_m(self, point_m: Array) -> Array:
        """The middle of the nearest instance."""
        nearest = self._boxes.nearest_m(point_m[None])[:, 0]
        return np.asarray(self._boxes.centres_m[int(np.argmin(np.hypot(*(nearest - point_m).T)))])

    def _near_cells(self, things: Sequence[Object]) -> Mask:
        cells, centres = self._floor.cells, self._floor.centres_m
        reach = self._distance_m + np.array([np.linalg.norm(thing.size_m) / 2 for thing in things])
        near = np.zeros_like(self._floor.free)
        for k in range(len(things)):
            close = np.flatnonzero(np.hypot(*(centres - self._boxes.centres_m[k]).T) < reach[k])
            nearest = self._boxes.nearest_m(centres[close])[k]
            within = np.hypot(*(nearest - centres[close]).T) < self._distance_m
            close, nearest = close[within], nearest[within]
            seen = close[self._no_wall(centres[close], nearest)]
            near[tuple(cells[seen].T)] = True
        return near

    def _no_wall(self, from_m: Array, to_m: Array) -> Mask:
        """(N,) whether the straight lines between points (N, 2) on the plan stay on floors and in doorways."""
        length = np.hypot(*(to_m - from_m).T)
        reach = np.clip(1.0 - _INTO_WALL_M / np.maximum(length, 1e-9), 0.0, 1.0)
        count = max(int(np.ceil(self._distance_m / _SIGHT_SAMPLE_M)), 2)
        share = np.linspace(0.0, 1.0, count)[:, None, None] * reach[:, None]
        cells = self._floor.grid.cell_from_world(from_m + share * (to_m - from_m))
        cells = np.clip(cells, 0, np.array(self._open.shape) - 1)
        return np.asarray(self._open[cells[..., 0], cells[..., 1]].all(axis=0))


class _Footprints:
    """Boxes seen from above."""

    def __init__(self, things: Sequence[Object]) -> None:
        self._world = np.array([thing.world_from_object for thing in things], dtype=float)
        self._local = invert(self._world)
        self._half_m = np.array([thing.size_m for thing in things], dtype=float) / 2
        self.centres_m = self._world[:, :2, 3]

    def nearest_m(self, points_m: ArrayLike) -> Array:
        """(K, N, 2) the nearest point of each box to world points (N, 2), at the height of the box's centre."""
        points = np.asarray(points_m, dtype=float)
        away = np.zeros((len(self._world), len(points), 3))
        away[..., :2] = points - self.centres_m[:, None]
        local = np.einsum("kij,knj->kni", self._local[:, :3, :3], away)
        inside = np.clip(local, -self._half_m[:, None], self._half_m[:, None])
        return np.asarray(np.einsum("kij,knj->kni", self._world[:, :3, :3], inside)[..., :2] + self.centres_m[:, None])

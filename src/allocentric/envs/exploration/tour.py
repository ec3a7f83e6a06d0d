"""A walk over the whole floor, whatever is looked for."""

from __future__ import annotations

import numpy as np

from allocentric.envs.exploration.floor import Array, DistanceField, Floor

_LEAST_REACH_M = 0.2
_REACH = 1.5


class Tour:
    """Stations all over a floor, each done once the walker came near it, as walked.

    From any free cell it is at most 1.5 times `near_m` to a station, and done is one at half that distance: few
    stations, few goals missed. After the last one the tour begins again, twice as dense, down to 0.2 m.
    """

    def __init__(self, floor: Floor, near_m: float) -> None:
        """`near_m` is how close to a goal its seeker has to come."""
        self._floor, self._reach_m = floor, _REACH * near_m
        self._left = floor.stations(self._reach_m).copy()

    def pass_by(self, point_m: Array) -> None:
        """The walker stands at a world point (2,)."""
        for _ in range(int(self._left.sum())):
            field = self._floor.field(self._left)
            if self._floor.distance_m(field, point_m) > self._reach_m / 2:
                return
            self._left[tuple(self._nearest(field, point_m))] = False
            if not self._left.any():
                self._reach_m = max(self._reach_m / 2, min(self._reach_m, _LEAST_REACH_M))
                self._left = self._floor.stations(self._reach_m).copy()

    def field(self) -> DistanceField:
        """Shortest ways to the nearest station that is left."""
        return self._floor.field(self._left)

    def _nearest(self, field: DistanceField, point_m: Array) -> Array:
        """The cell of the station that is nearest to a world point."""
        way_m = self._floor.way_m(field, point_m)
        return np.asarray(self._floor.grid.cell_from_world(way_m[-1]))

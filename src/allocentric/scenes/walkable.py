"""Where a walker can stand: a grid over the floors of a scene, for any source whose scenes have rooms."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from allocentric.core.errors import DataError
from allocentric.core.geometry import box_corners, invert, point_in_polygon, transform_points
from allocentric.core.types import FloatArray, Object, Opening, Room, Scene

HEAD_M = 1.8
"""Things that begin above this height do not stop a walker."""
STEP_M = 0.06
"""Things that end below this height (rugs, mats) are walked over."""
# A doorway's floor reaches this far to either side of the wall's centre line, so through walls up to 0.8 m thick.
_WALL_REACH_M = 0.4


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class WalkableMap:
    """A grid seen from above: row = y, column = x."""

    free: NDArray[np.bool_]
    """(R, C): a walker's centre may be at this cell's centre."""
    room: NDArray[np.int32]
    """(R, C): index of the room whose floor holds the cell's centre; -1 elsewhere (walls, doorways)."""
    room_ids: tuple[str, ...]
    """Ids by index."""
    origin_m: FloatArray
    """(2,) world xy of the outer corner of cell (0, 0)."""
    cell_m: float
    """Edge of a cell."""

    def cell_from_world(self, xy_m: ArrayLike) -> NDArray[np.int64]:
        """(..., 2) world xy -> (..., 2) row, column of the cell that holds it; may lie outside the grid."""
        cells = np.floor((np.asarray(xy_m, dtype=float) - self.origin_m) / self.cell_m).astype(np.int64)
        return np.asarray(cells[..., ::-1])

    def world_from_cell(self, cells: ArrayLike) -> NDArray[np.float64]:
        """(..., 2) row, column -> (..., 2) world xy of the cell's centre."""
        return np.asarray((np.asarray(cells)[..., ::-1] + 0.5) * self.cell_m + self.origin_m)

    def room_cells(self, room_id: str) -> NDArray[np.int64]:
        """(N, 2) row, column of the free cells on the floor of a room."""
        return np.argwhere(self.free & (self.room == self.room_ids.index(room_id)))

    def components(self) -> NDArray[np.int32]:
        """(R, C): 4-connected parts of the free floor numbered from 1, largest first; 0 is not free."""
        from scipy import ndimage

        labels, count = ndimage.label(self.free)
        sizes = np.bincount(labels.ravel(), minlength=count + 1)
        sizes[0] = labels.size + 1
        rank = np.empty(count + 1, dtype=np.int32)
        rank[np.argsort(-sizes, kind="stable")] = np.arange(count + 1)
        return np.asarray(rank[labels], dtype=np.int32)


def walkable_map(scene: Scene, radius_m: float = 0.2, cell_m: float = 0.05) -> WalkableMap:
    """The free floor of a scene for a round walker of `radius_m`, on a grid of `cell_m`.

    Floors are the room polygons joined by doors and passages between rooms; walls come from the polygons (exact to
    half a cell), objects and door leaves from their boxes (exact). Raises DataError where the scene has no rooms.
    """
    from scipy import ndimage

    if not scene.rooms:
        raise DataError(f"scene {scene.id!r} has no rooms, so there is no floor to walk on; use a source with rooms")
    corners = np.concatenate([room.floor_polygon_m for room in scene.rooms])
    origin = np.min(corners, axis=0) - 2 * cell_m
    columns, rows = np.ceil((np.max(corners, axis=0) + 2 * cell_m - origin) / cell_m).astype(int)
    x = origin[0] + (np.arange(columns) + 0.5) * cell_m
    y = origin[1] + (np.arange(rows) + 0.5) * cell_m
    room = _rooms_of_cells(scene.rooms, x, y)
    floor = room >= 0
    for opening in _ways_between(scene.rooms):
        _open_way(floor, opening, x, y)
    free = ndimage.distance_transform_edt(floor) * cell_m - cell_m / 2 >= radius_m
    floor_z = {r.id: r.floor_z_m for r in scene.rooms}
    ground = min(floor_z.values())
    leaves = [part for part in scene.structure if part.label == "door"]
    for obstacle in [*scene.objects, *leaves]:
        _block(free, obstacle, floor_z.get(obstacle.room_id or "", ground), radius_m, x, y)
    return WalkableMap(free=free, room=room, room_ids=tuple(r.id for r in scene.rooms), origin_m=origin, cell_m=cell_m)


def _rooms_of_cells(rooms: Iterable[Room], x: FloatArray, y: FloatArray) -> NDArray[np.int32]:
    out = np.full((len(y), len(x)), -1, dtype=np.int32)
    for index, room in enumerate(rooms):
        (x0, y0), (x1, y1) = room.floor_polygon_m.min(axis=0), room.floor_polygon_m.max(axis=0)
        columns, rows = _window(x, x0, x1), _window(y, y0, y1)
        grid_x, grid_y = np.meshgrid(x[columns], y[rows])
        inside = point_in_polygon(np.column_stack([grid_x.ravel(), grid_y.ravel()]), room.floor_polygon_m)
        out[rows, columns][inside.reshape(grid_x.shape)] = index
    return out


def _window(centres: FloatArray, low: float, high: float) -> slice:
    return slice(int(np.searchsorted(centres, low)), int(np.searchsorted(centres, high, side="right")))


def _ways_between(rooms: Iterable[Room]) -> list[Opening]:
    return [o for room in rooms for o in room.openings if o.kind != "window" and None not in o.connects]


def _open_way(floor: NDArray[np.bool_], opening: Opening, x: FloatArray, y: FloatArray) -> None:
    """Add the floor of a doorway, from one room to the other through the wall."""
    start, end = np.asarray(opening.segment_m, dtype=float)
    width = float(np.linalg.norm(end - start))
    along = (end - start) / width
    reach = width / 2 + _WALL_REACH_M
    middle = (start + end) / 2
    columns = _window(x, middle[0] - reach, middle[0] + reach)
    rows = _window(y, middle[1] - reach, middle[1] + reach)
    dx, dy = x[columns][None, :] - middle[0], y[rows][:, None] - middle[1]
    beside = np.abs(dx * along[0] + dy * along[1]) <= width / 2
    across = np.abs(dx * -along[1] + dy * along[0])
    floor[rows, columns] |= beside & (across <= _WALL_REACH_M)


def _block(
    free: NDArray[np.bool_], body: Object, floor_z_m: float, radius_m: float, x: FloatArray, y: FloatArray
) -> None:
    """Clear the cells within `radius_m` of a box that stands in a walker's way."""
    corners = box_corners(body.world_from_object, body.size_m)
    low, high = corners.min(axis=0), corners.max(axis=0)
    if low[2] - floor_z_m >= HEAD_M or high[2] - floor_z_m <= STEP_M:
        return
    columns = _window(x, low[0] - radius_m, high[0] + radius_m)
    rows = _window(y, low[1] - radius_m, high[1] + radius_m)
    grid_x, grid_y = np.meshgrid(x[columns], y[rows])
    centre = body.world_from_object[:3, 3]
    points = np.stack([grid_x, grid_y, np.full_like(grid_x, centre[2])], axis=-1)
    local = transform_points(invert(body.world_from_object), points.reshape(-1, 3))[:, :2].reshape(*grid_x.shape, 2)
    outside = np.maximum(np.abs(local) - np.asarray(body.size_m)[:2] / 2, 0.0)
    free[rows, columns] &= np.hypot(outside[..., 0], outside[..., 1]) > radius_m

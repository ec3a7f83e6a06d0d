"""Finding room for things: what is taken, what must stay free, and whether one can still walk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from allocentric.scenes.houses.openings import Edge, Hole, door_zones, holes_in, leaf_box, room_edges
from allocentric.scenes.houses.plan import Plan
from allocentric.scenes.walkable import HEAD_M, STEP_M

Array = NDArray[np.float64]

WALKER_M = 0.3
"""Half the width of the ways kept free: a walker of 0.2 m on a coarse grid, with something to spare."""
WALL_GAP_M = 0.02
"""Between furniture and the wall; skirting fits in."""
_CELL_M = 0.1
_AIR_M = 0.015
# Least horizontal gap between neighbours.
_KEPT_SHARE = 0.85
# Share of a room's free floor that has to stay in reach of its doors.


class Spots(NamedTuple):
    """N candidate places."""

    centre_m: Array
    """(N, 2)."""
    yaw_rad: Array
    """(N,)."""


class Spot(NamedTuple):
    """A chosen place."""

    x_m: float
    y_m: float
    bottom_m: float
    yaw_rad: float
    rug: int | None
    """Obstacle that is the rug below, where it stands on one."""


class RoomSpace:
    """What is taken in one room."""

    def __init__(self, plan: Plan, index: int, holes: Sequence[Hole], height_m: float) -> None:
        room = plan.rooms[index]
        self.id, self.kind, self.height_m = room.id, room.kind, height_m
        self.floor_m = room.floor_m
        self.low, self.high = self.floor_m.min(axis=0), self.floor_m.max(axis=0)
        self.walls = _inner_walls(room.outline_m, self.floor_m)
        self.outline_walls = room_edges(room.outline_m)
        self._boxes = np.empty((512, 6))
        self.count = 0
        self._rugs: list[int] = []
        self._make_grid()
        self._keep_notch_free()
        zones = door_zones(plan, index, holes)
        self.landings = [zone.landing for zone in zones]
        for hole in holes:
            if hole.leaf is not None and hole.leaf.room == index and hole.rooms[1] is not None:
                leaf_low, leaf_high = leaf_box(hole.leaf)
                self.take((*leaf_low, 0.0, *leaf_high, 2.1), blocks=True)
        for zone in zones:
            self.take((*zone.low, STEP_M, *zone.high, 2.2), blocks=False)
        self.windows = [
            (edge, low, high, hole) for edge in self.outline_walls for low, high, hole in holes_in(edge, holes)
            if hole.kind == "window"
        ]  # fmt: skip
        for edge, low, high, hole in self.windows:
            corner = edge.start + edge.along * (low - 0.05)
            other = edge.start + edge.along * (high + 0.05) + edge.inward * 0.25
            lowest, highest = np.minimum(corner, other), np.maximum(corner, other)
            self.take((*lowest, hole.bottom_m + 0.1, *highest, hole.top_m + 0.1), blocks=False)

    # ------------------------------------------------------------------------------------------------- what is taken

    def take(self, box: Sequence[float] | Array, *, blocks: bool, rug: bool = False) -> int:
        """Mark a box (x0, y0, z0, x1, y1, z1) as taken; `blocks` also takes its floor from walkers."""
        if self.count == len(self._boxes):
            self._boxes = np.concatenate([self._boxes, np.empty_like(self._boxes)])
        self._boxes[self.count] = box
        if blocks:
            self._free[self._cells(np.asarray(box))] = False
        if rug:
            self._rugs.append(self.count)
        self.count += 1
        return self.count - 1

    def clear(self, boxes: ArrayLike, *, air_m: float = _AIR_M, ignore: Sequence[int] = ()) -> NDArray[np.bool_]:
        """(N,) whether boxes (N, 6) lie in the room and meet nothing that is taken."""
        box = np.atleast_2d(np.asarray(boxes, dtype=float))
        inside = np.all(box[:, :2] >= self.low + 0.005, axis=1) & np.all(box[:, 3:5] <= self.high - 0.005, axis=1)
        inside &= box[:, 5] <= self.height_m
        taken = self._boxes[: self.count]
        air = np.array([air_m, air_m, -1e-6])
        apart = np.any(box[:, None, :3] >= taken[:, 3:] + air, axis=-1)
        apart |= np.any(box[:, None, 3:] <= taken[:, :3] - air, axis=-1)
        for index in ignore:
            apart[:, index] = True
        return np.asarray(inside & apart.all(axis=1))

    def leaves_a_way(self, box: Array) -> bool:
        """Whether the doors stay joined, and most of the free floor in their reach, if a box blocked its floor."""
        if box[2] >= HEAD_M or box[5] <= STEP_M:
            return True
        free = self._free.copy()
        free[self._cells(box)] = False
        labels, _ = ndimage.label(free)
        rows = [self._cell(landing) for landing in self.landings]
        at_doors = {int(labels[cell]) for cell in rows}
        if len(at_doors) != 1 or 0 in at_doors:
            return False
        reached = np.count_nonzero(labels == at_doors.pop())
        return bool(reached >= _KEPT_SHARE * np.count_nonzero(labels))

    # -------------------------------------------------------------------------------------------------- finding spots

    def put(
        self, size_m: ArrayLike, spots: Spots, *, bottom_m: float | None = None, gap_m: float = 0.0,
        air_m: float = _AIR_M,
    ) -> Spot | None:  # fmt: skip
        """Take the first candidate that is clear and leaves a way; None where none is.

        `bottom_m` None stands it on the floor or on the rug that lies wholly under it. `gap_m` wants free floor before
        the front. The chosen box is the last one taken.
        """
        boxes, rugs = self.boxes_of(size_m, spots, bottom_m)
        good = self.clear(boxes, air_m=air_m)
        if gap_m > 0 and good.any():
            good &= self._front_clear(boxes, spots.yaw_rad, gap_m)
        for k in np.flatnonzero(good):
            if self.leaves_a_way(boxes[k]):
                self.take(boxes[k], blocks=boxes[k, 2] < HEAD_M and boxes[k, 5] > STEP_M)
                x, y = spots.centre_m[k]
                rug = int(rugs[k]) if rugs[k] >= 0 else None
                return Spot(float(x), float(y), float(boxes[k, 2]), float(spots.yaw_rad[k]), rug)
        return None

    def boxes_of(self, size_m: ArrayLike, spots: Spots, bottom_m: float | None) -> tuple[Array, NDArray[np.int64]]:
        """World boxes (N, 6) of a piece at candidate places, and the rug (N,) each would stand on or -1."""
        size = np.asarray(size_m, dtype=float)
        half = _half_extent(size, spots.yaw_rad)
        low, high = spots.centre_m - half, spots.centre_m + half
        rugs = np.full(len(half), -1)
        bottom = np.full(len(half), 0.0 if bottom_m is None else bottom_m)
        if bottom_m is None:
            for index in self._rugs:
                rug = self._boxes[index]
                under = np.all(low >= rug[:2], axis=1) & np.all(high <= rug[3:5], axis=1)
                rugs[under], bottom[under] = index, rug[5]
        return np.column_stack([low, bottom, high, bottom + size[2]]), rugs

    def wall_spots(
        self, rng: np.random.Generator, size_m: ArrayLike, count: int, *, snug: float = 0.3, gap_m: float = WALL_GAP_M,
        wall: int | None = None,
    ) -> Spots:  # fmt: skip
        """Places with the back to a wall; a share `snug` of them at a wall's end."""
        depth, width = float(np.asarray(size_m)[0]), float(np.asarray(size_m)[1])
        room = np.array([max(edge.length_m - width - 2 * WALL_GAP_M, 0.0) for edge in self.walls])
        weight = np.where(room > 0, room + 0.3, 0.0)
        if wall is not None:
            weight *= np.arange(len(weight)) == wall
        if weight.sum() == 0:
            return Spots(np.empty((0, 2)), np.empty(0))
        chosen = rng.choice(len(weight), size=count, p=weight / weight.sum())
        share = rng.random(count)
        ends = rng.random(count)
        share = np.where(ends < snug / 2, 0.0, np.where(ends < snug, 1.0, share))
        along = WALL_GAP_M + width / 2 + share * room[chosen]
        return self.on_walls(chosen, along, gap_m + depth / 2)

    def on_walls(self, walls: NDArray[np.int64], along_m: ArrayLike, inward_m: ArrayLike) -> Spots:
        """Places `along_m` from a wall's start and `inward_m` from its face, looking into the room."""
        start = np.array([edge.start for edge in self.walls])[walls]
        direction = np.array([edge.along for edge in self.walls])[walls]
        inward = np.array([edge.inward for edge in self.walls])[walls]
        along, away = np.broadcast_arrays(np.asarray(along_m, dtype=float), np.asarray(inward_m, dtype=float))
        centre = start + direction * along[:, None] + inward * away[:, None]
        return Spots(centre, np.asarray(np.arctan2(inward[:, 1], inward[:, 0]), dtype=float))

    def corner_spots(self, rng: np.random.Generator, size_m: ArrayLike, count: int) -> Spots:
        """Places in the room's corners, then along its walls."""
        snug = self.wall_spots(rng, size_m, count, snug=1.0)
        rest = self.wall_spots(rng, size_m, count // 2, snug=0.0)
        return Spots(np.concatenate([snug.centre_m, rest.centre_m]), np.concatenate([snug.yaw_rad, rest.yaw_rad]))

    def free_spots(self, rng: np.random.Generator, count: int, *, turned: bool = True) -> Spots:
        """Places anywhere, at any heading or one of four."""
        centre = rng.uniform(self.low, self.high, size=(count, 2))
        yaw = rng.uniform(-np.pi, np.pi, count) if turned else rng.integers(4, size=count) * (np.pi / 2)
        return Spots(centre, np.asarray(yaw, dtype=float))

    # ------------------------------------------------------------------------------------------------------ internals

    def _front_clear(self, boxes: Array, yaw_rad: Array, gap_m: float) -> NDArray[np.bool_]:
        forward = np.column_stack([np.cos(yaw_rad), np.sin(yaw_rad)]) * gap_m
        front = boxes.copy()
        front[:, :2] += np.minimum(forward, 0.0)
        front[:, 3:5] += np.maximum(forward, 0.0)
        front[:, 2] = STEP_M
        front[:, 5] = np.maximum(front[:, 5], 1.0)
        # Door zones are free floor too, so only solid things count.
        solid = self._boxes[: self.count][self._solid()]
        meets = np.all(front[:, None, :3] < solid[:, 3:], axis=-1) & np.all(front[:, None, 3:] > solid[:, :3], axis=-1)
        return np.asarray(~meets.any(axis=1))

    def _solid(self) -> NDArray[np.bool_]:
        return np.asarray(self._boxes[: self.count, 2] < STEP_M)

    def _make_grid(self) -> None:
        shape = np.ceil((self.high - self.low) / _CELL_M).astype(int)
        self._free = np.zeros((shape[0], shape[1]), dtype=bool)
        x = (np.arange(shape[0]) + 0.5) * _CELL_M
        y = (np.arange(shape[1]) + 0.5) * _CELL_M
        width, height = self.high - self.low
        near_x = (x >= WALKER_M) & (x <= width - WALKER_M)
        near_y = (y >= WALKER_M) & (y <= height - WALKER_M)
        self._free[np.ix_(near_x, near_y)] = True

    def _keep_notch_free(self) -> None:
        """The corner an L-shaped room lacks is taken from the start."""
        if len(self.floor_m) == 4:
            return
        (x0, y0), (x1, y1) = self.low, self.high
        inner = next(p for p in self.floor_m if x0 < p[0] < x1 and y0 < p[1] < y1)
        for corner in ((x0, y0), (x1, y0), (x1, y1), (x0, y1)):
            if not np.any(np.all(np.abs(self.floor_m - corner) < 1e-9, axis=1)):
                low, high = np.minimum(inner, corner), np.maximum(inner, corner)
                self.take((*low, -1.0, *high, 9.0), blocks=True)

    def _cells(self, box: Array) -> tuple[slice, slice]:
        """The cells whose centre is within a walker's half width of a box."""
        low = np.ceil((box[:2] - WALKER_M - self.low) / _CELL_M - 0.5).astype(int)
        high = np.floor((box[3:5] + WALKER_M - self.low) / _CELL_M - 0.5).astype(int) + 1
        low, high = np.maximum(low, 0), np.maximum(high, 0)
        return slice(int(low[0]), int(high[0])), slice(int(low[1]), int(high[1]))

    def _cell(self, xy: tuple[float, float]) -> tuple[int, int]:
        cell = np.floor((np.array(xy) - self.low) / _CELL_M).astype(int)
        return int(cell[0]), int(cell[1])


def _half_extent(size: Array, yaw_rad: Array) -> Array:
    """(N, 2) half edges of the axis-aligned box around a footprint turned by each yaw."""
    cos, sin = np.abs(np.cos(yaw_rad)), np.abs(np.sin(yaw_rad))
    return np.column_stack([cos * size[0] + sin * size[1], sin * size[0] + cos * size[1]]) / 2


def _inner_walls(outline: Array, floor: Array) -> list[Edge]:
    """The walls' inner faces."""
    return [
        Edge(p, edge.along, edge.inward, float(np.linalg.norm(q - p)))
        for p, q, edge in zip(floor, np.roll(floor, -1, axis=0), room_edges(outline), strict=True)
    ]

"""Floor plans: which rooms a house has, and how its rectangle is divided among them.

Coordinates are the centre lines of walls; a room's floor is its outline moved inwards by half a wall.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

WALL_M = 0.1
"""Thickness of inner walls."""
DOOR_WALL_M = 1.25
"""Shortest common wall that takes a door."""
_GRID_M = 0.05
_SLENDER_M = 2.4


class Rect(NamedTuple):
    """An axis-aligned rectangle."""

    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def size(self) -> tuple[float, float]:
        """Edges along x and y."""
        return self.x1 - self.x0, self.y1 - self.y0


class _Kind(NamedTuple):
    area_m2: tuple[float, float]
    shortest_m: float
    privacy: float
    """How much a way through this room is to be avoided."""


KINDS: dict[str, _Kind] = {
    "living room": _Kind((19, 32), 3.6, 0.0),
    "kitchen": _Kind((10, 16), 2.7, 1.0),
    "dining room": _Kind((13, 19), 3.2, 0.5),
    "bedroom": _Kind((13, 19), 3.2, 4.0),
    "kids room": _Kind((10, 15), 2.9, 4.0),
    "office": _Kind((9, 14), 2.7, 3.0),
    "bathroom": _Kind((5.5, 9), 2.1, 9.0),
    "laundry room": _Kind((5.5, 8), 2.0, 7.0),
    "storage room": _Kind((5, 8), 2.0, 7.0),
    "hallway": _Kind((6, 14), 1.5, -3.0),
}
_FIRST = ("living room", "bedroom", "kitchen", "bathroom")
_MORE = ("bedroom", "office", "dining room", "kids room", "bathroom", "laundry room", "storage room", "bedroom")
_ALONE = ("living room", "bedroom", "kitchen", "office", "kids room", "dining room")


@dataclass(frozen=True, slots=True, eq=False)
class RoomPlan:
    """One room of a plan."""

    id: str
    kind: str
    outline_m: NDArray[np.float64]
    """(P, 2) counter-clockwise on the centre lines; 4 or 6 corners."""

    @property
    def floor_m(self) -> NDArray[np.float64]:
        """(P, 2) the outline moved inwards by half a wall; corner k belongs to corner k."""
        return inset(self.outline_m, WALL_M / 2)


class SharedWall(NamedTuple):
    """A stretch of wall between two rooms."""

    a: int
    b: int
    start: tuple[float, float]
    end: tuple[float, float]

    @property
    def length_m(self) -> float:
        """Length on the centre line."""
        return abs(self.end[0] - self.start[0]) + abs(self.end[1] - self.start[1])


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """A divided rectangle."""

    outer: Rect
    rooms: tuple[RoomPlan, ...]
    doors: tuple[SharedWall, ...]
    """Walls that get a door; they connect all rooms."""


def inset(outline: NDArray[np.float64], distance: float) -> NDArray[np.float64]:
    """Move every edge of a counter-clockwise rectilinear polygon inwards."""
    step = np.roll(outline, -1, axis=0) - outline
    step /= np.linalg.norm(step, axis=1, keepdims=True)
    normal = np.column_stack([-step[:, 1], step[:, 0]])
    return np.asarray(outline + distance * (normal + np.roll(normal, 1, axis=0)))


def draw_plan(rng: np.random.Generator, room_count: int) -> Plan:
    """A connected plan with `room_count` rooms of plausible kinds and sizes."""
    roomier = 1.0
    while True:
        kinds = _draw_kinds(rng, room_count)
        areas = [roomier * float(rng.uniform(*KINDS[kind].area_m2)) for kind in kinds]
        outer, outlines = (
            _with_hallway(rng, kinds, areas) if "hallway" in kinds else _without_hallway(rng, kinds, areas)
        )
        doors = _doors(rng, kinds, outlines) if all(map(_is_usable, kinds, outlines)) else None
        if doors is not None:
            break
        roomier *= 1.0025  # a little more room makes every rule easier to keep, so this ends
    rooms = tuple(
        RoomPlan(f"room-{k}", kind, outline) for k, (kind, outline) in enumerate(zip(kinds, outlines, strict=True))
    )
    return Plan(outer, rooms, doors)


def _draw_kinds(rng: np.random.Generator, count: int) -> list[str]:
    if count == 1:
        return [_ALONE[int(rng.integers(len(_ALONE)))]]
    first = [_FIRST[0], *(_FIRST[k] for k in 1 + rng.permutation(3))]
    more = [_MORE[k] for k in rng.permutation(len(_MORE))]
    hallway = count >= 7 or (count in (5, 6) and bool(rng.random() < 0.5))
    kinds = (first + more)[: count - hallway]
    return kinds + ["hallway"] * hallway


def _is_usable(kind: str, outline: NDArray[np.float64]) -> bool:
    edges = np.abs(np.roll(outline, -1, axis=0) - outline).sum(axis=1)
    longest, shortest = np.sort(outline.max(axis=0) - outline.min(axis=0))[::-1]
    if kind == "hallway":
        return True
    if len(outline) == 6 and edges.min() < 0.7:
        return False
    return bool(shortest >= KINDS[kind].shortest_m and longest <= 2.4 * shortest)


# --------------------------------------------------------------------------------------------------------- dividing


def _snap(value: float) -> float:
    return round(round(value / _GRID_M) * _GRID_M, 4)


def _rectangle(rect: Rect) -> NDArray[np.float64]:
    return np.array([[rect.x0, rect.y0], [rect.x1, rect.y0], [rect.x1, rect.y1], [rect.x0, rect.y1]])


def _without_hallway(
    rng: np.random.Generator, kinds: list[str], areas: list[float]
) -> tuple[Rect, list[NDArray[np.float64]]]:
    total = sum(areas)
    aspect = float(rng.uniform(0.72, 1.4))
    outer = Rect(0.0, 0.0, _snap(np.sqrt(total * aspect)), _snap(np.sqrt(total / aspect)))
    outlines: list[NDArray[np.float64]] = [np.empty((0, 2))] * len(kinds)
    _divide(rng, outer, [int(k) for k in rng.permutation(len(kinds))], areas, outlines)
    return outer, outlines


def _divide(
    rng: np.random.Generator, rect: Rect, rooms: list[int], areas: list[float], outlines: list[NDArray[np.float64]]
) -> None:
    """Cut a rectangle across its longer side until every part is one room, or two of which one is L-shaped."""
    if len(rooms) == 1:
        outlines[rooms[0]] = _rectangle(rect)
        return
    if len(rooms) == 2 and rng.random() < 0.5 and _cut_corner(rng, rect, rooms, areas, outlines):
        return
    sums = np.cumsum([areas[k] for k in rooms])
    cut = 1 + int(np.argmin(np.abs(sums[:-1] - sums[-1] / 2)))
    share = float(sums[cut - 1] / sums[-1])
    if rect.size[0] >= rect.size[1]:
        x = _snap(rect.x0 + share * rect.size[0])
        parts = rect._replace(x1=x), rect._replace(x0=x)
    else:
        y = _snap(rect.y0 + share * rect.size[1])
        parts = rect._replace(y1=y), rect._replace(y0=y)
    _divide(rng, parts[0], rooms[:cut], areas, outlines)
    _divide(rng, parts[1], rooms[cut:], areas, outlines)


def _cut_corner(
    rng: np.random.Generator, rect: Rect, rooms: list[int], areas: list[float], outlines: list[NDArray[np.float64]]
) -> bool:
    """Give the smaller of two rooms a corner of the rectangle and the larger one the L that remains."""
    large, small = sorted(rooms, key=lambda k: -areas[k])
    width, height = rect.size
    wide = float(rng.uniform(0.45, 0.7))
    w = _snap(wide * width)
    h = _snap(areas[small] / (areas[small] + areas[large]) * width * height / max(w, 0.1))
    if min(width - w, height - h) < 1.7 or min(w, h) < 2.0:
        return False
    left, low = rng.random(2) < 0.5
    x0, x1 = (rect.x0, rect.x0 + w) if left else (rect.x1 - w, rect.x1)
    y0, y1 = (rect.y0, rect.y0 + h) if low else (rect.y1 - h, rect.y1)
    outlines[small] = _rectangle(Rect(x0, y0, x1, y1))
    outlines[large] = _l_shape(rect, Rect(x0, y0, x1, y1), left=bool(left), low=bool(low))
    return True


def _l_shape(rect: Rect, cut: Rect, *, left: bool, low: bool) -> NDArray[np.float64]:
    """The rectangle without one of its corners, counter-clockwise."""
    corner = {
        (True, True): [(cut.x0, cut.y1), (cut.x1, cut.y1), (cut.x1, cut.y0)],
        (False, True): [(cut.x0, cut.y0), (cut.x0, cut.y1), (cut.x1, cut.y1)],
        (False, False): [(cut.x1, cut.y0), (cut.x0, cut.y0), (cut.x0, cut.y1)],
        (True, False): [(cut.x1, cut.y1), (cut.x1, cut.y0), (cut.x0, cut.y0)],
    }[(left, low)]
    whole = [(rect.x0, rect.y0), (rect.x1, rect.y0), (rect.x1, rect.y1), (rect.x0, rect.y1)]
    place = {(True, True): 0, (False, True): 1, (False, False): 2, (True, False): 3}[(left, low)]
    return np.array([*whole[:place], *corner, *whole[place + 1 :]])


def _with_hallway(
    rng: np.random.Generator, kinds: list[str], areas: list[float]
) -> tuple[Rect, list[NDArray[np.float64]]]:
    """Rooms on both sides of a corridor along the house's length; the hallway is the last kind."""
    rooms = [int(k) for k in rng.permutation(len(kinds) - 1)]
    sums = np.cumsum([areas[k] for k in rooms])
    cut = 1 + int(np.argmin(np.abs(sums[:-1] - sums[-1] / 2)))
    corridor = _snap(float(rng.uniform(1.5, 1.9)))
    length = _snap(float(np.sqrt(sums[-1]) * rng.uniform(1.1, 1.4)))
    lower, upper = _snap(sums[cut - 1] / length), _snap((sums[-1] - sums[cut - 1]) / length)
    outer = Rect(0.0, 0.0, length, _snap(lower + corridor + upper))
    outlines: list[NDArray[np.float64]] = [np.empty((0, 2))] * len(kinds)
    outlines[-1] = _rectangle(Rect(0.0, lower, length, _snap(lower + corridor)))
    _slice(rng, Rect(0.0, 0.0, length, lower), rooms[:cut], areas, outlines)
    _slice(rng, Rect(0.0, _snap(lower + corridor), length, outer.y1), rooms[cut:], areas, outlines)
    return outer, outlines


def _slice(
    rng: np.random.Generator, rect: Rect, rooms: list[int], areas: list[float], outlines: list[NDArray[np.float64]]
) -> None:
    """Divide a strip along x, now and then giving two neighbours one part to share."""
    groups: list[list[int]] = []
    for k in rooms:
        # A room too small to be a slice of its own shares one.
        slender = min(areas[k], areas[groups[-1][0]] if groups else np.inf) < _SLENDER_M * rect.size[1]
        if groups and len(groups[-1]) == 1 and rng.random() < (0.9 if slender else 0.2):
            groups[-1].append(k)
        else:
            groups.append([k])
    total = sum(areas[k] for k in rooms)
    x, done = rect.x0, 0.0
    for group in groups:
        done += sum(areas[k] for k in group)
        end = rect.x1 if group is groups[-1] else _snap(rect.x0 + rect.size[0] * done / total)
        _divide(rng, rect._replace(x0=x, x1=end), group, areas, outlines)
        x = end


# ------------------------------------------------------------------------------------------------------------ doors


def shared_walls(outlines: list[NDArray[np.float64]]) -> list[SharedWall]:
    """The longest common stretch of wall of every two rooms that touch."""
    edges = [
        [(tuple(p), tuple(q)) for p, q in zip(outline, np.roll(outline, -1, axis=0), strict=True)]
        for outline in outlines
    ]
    found = []
    for a, b in combinations(range(len(outlines)), 2):
        common = [wall for p in edges[a] for q in edges[b] if (wall := _overlap(a, b, p, q)) is not None]
        if common:
            found.append(max(common, key=lambda wall: wall.length_m))
    return found


_Edge = tuple[tuple[float, ...], tuple[float, ...]]


def _overlap(a: int, b: int, p: _Edge, q: _Edge) -> SharedWall | None:
    for across in (0, 1):
        along = 1 - across
        level = p[0][across]
        if any(abs(point[across] - level) > 1e-6 for point in (p[1], q[0], q[1])):
            continue
        low = max(min(p[0][along], p[1][along]), min(q[0][along], q[1][along]))
        high = min(max(p[0][along], p[1][along]), max(q[0][along], q[1][along]))
        if high - low > 1e-6:
            start, end = [level, level], [level, level]
            start[along], end[along] = low, high
            return SharedWall(a, b, (float(start[0]), float(start[1])), (float(end[0]), float(end[1])))
    return None


def _doors(
    rng: np.random.Generator, kinds: list[str], outlines: list[NDArray[np.float64]]
) -> tuple[SharedWall, ...] | None:
    """Doors that connect all rooms, through living rooms and hallways rather than bathrooms; None if impossible."""
    walls = [wall for wall in shared_walls(outlines) if wall.length_m >= DOOR_WALL_M]
    cost = {wall: KINDS[kinds[wall.a]].privacy + KINDS[kinds[wall.b]].privacy + float(rng.random()) for wall in walls}
    group = list(range(len(kinds)))
    chosen = []
    for wall in sorted(walls, key=cost.__getitem__):
        if group[wall.a] != group[wall.b]:
            old, new = group[wall.b], group[wall.a]
            group = [new if g == old else g for g in group]
            chosen.append(wall)
        elif cost[wall] < 2.0 and rng.random() < 0.5:
            chosen.append(wall)  # a second way round through the public rooms
    return tuple(chosen) if len(set(group)) == 1 else None

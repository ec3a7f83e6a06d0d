"""Doors, passages and windows: where the holes in the walls of a plan are, and the floor they need kept free."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from allocentric.scenes.houses.plan import WALL_M, Plan, RoomPlan, SharedWall

DOOR_HEIGHT_M = 2.05
FRAME_M = 0.03
"""Thickness of door and window frames."""
_ZONE_M = 0.9
_CORNER_M = 0.16
"""Least distance between a hole and the centre line of the next wall."""


class Leaf(NamedTuple):
    """A door leaf that stands open in a room, or shut in the outer wall."""

    room: int
    centre_m: tuple[float, float]
    yaw_rad: float
    """Heading of the leaf's face."""
    width_m: float


class DoorZone(NamedTuple):
    """Floor before a door that stays free."""

    low: tuple[float, float]
    high: tuple[float, float]
    landing: tuple[float, float]
    """Where someone stands who has just come in."""


class Hole(NamedTuple):
    """A hole in a wall, on its centre line."""

    kind: Literal["door", "window", "passage"]
    start: tuple[float, float]
    end: tuple[float, float]
    bottom_m: float
    top_m: float
    rooms: tuple[int, int | None]
    """None is outside."""
    leaf: Leaf | None = None


class Edge(NamedTuple):
    """One wall of a room seen from inside: it runs along `along` with the room on its left."""

    start: NDArray[np.float64]
    along: NDArray[np.float64]
    inward: NDArray[np.float64]
    length_m: float
    """On the centre line."""


def room_edges(outline: NDArray[np.float64]) -> list[Edge]:
    """The walls of a counter-clockwise rectilinear outline."""
    out = []
    for p, q in zip(outline, np.roll(outline, -1, axis=0), strict=True):
        length = float(np.linalg.norm(q - p))
        along = (q - p) / length
        out.append(Edge(p, along, np.array([-along[1], along[0]]), length))
    return out


def holes_in(edge: Edge, holes: Sequence[Hole]) -> list[tuple[float, float, Hole]]:
    """The holes on one wall as (from, to) along it, in order."""
    found = []
    for hole in holes:
        ends = np.array([hole.start, hole.end]) - edge.start
        if np.max(np.abs(ends @ edge.inward)) < 1e-6:
            low, high = sorted(ends @ edge.along)
            if low > -1e-6 and high < edge.length_m + 1e-6:
                found.append((float(low), float(high), hole))
    return sorted(found, key=lambda item: item[0])


def draw_holes(rng: np.random.Generator, plan: Plan) -> tuple[Hole, ...]:
    """Doors between rooms, one entrance, and windows in the outer walls."""
    holes = [_inner_door(rng, plan, wall) for wall in plan.doors]
    holes = [_with_leaf(rng, plan, hole, holes) for hole in holes]
    holes.append(_entrance(rng, plan))
    for index, room in enumerate(plan.rooms):
        for edge in _outer_edges(plan, room):
            holes += _windows(rng, index, room.kind, edge, holes)
    return tuple(holes)


# ------------------------------------------------------------------------------------------------------------ doors

_OPEN_KINDS = ({"living room", "kitchen"}, {"living room", "dining room"}, {"kitchen", "dining room"},
               {"living room", "hallway"})  # fmt: skip


def _inner_door(rng: np.random.Generator, plan: Plan, wall: SharedWall) -> Hole:
    kinds = {plan.rooms[wall.a].kind, plan.rooms[wall.b].kind}
    width = round(float(rng.uniform(0.84, 0.94)), 2)
    kind: Literal["door", "passage"] = "door"
    if kinds in _OPEN_KINDS and rng.random() < 0.6:
        kind = "passage"
        width = round(min(float(rng.uniform(1.0, 1.8)), wall.length_m - 2 * _CORNER_M), 2)
    slack = wall.length_m - 2 * _CORNER_M - width
    place = _CORNER_M + slack * float(rng.choice([0.0, 0.0, 1.0, 1.0, rng.random()]))
    start, end = np.array(wall.start), np.array(wall.end)
    along = (end - start) / wall.length_m
    a, b = start + along * place, start + along * (place + width)
    return Hole(kind, _pair(a), _pair(b), 0.0, DOOR_HEIGHT_M, (wall.a, wall.b))


def _pair(point: NDArray[np.float64]) -> tuple[float, float]:
    return float(point[0]), float(point[1])


def _with_leaf(rng: np.random.Generator, plan: Plan, hole: Hole, others: Sequence[Hole]) -> Hole:
    """Hang a leaf that stands open along a wall; where no wall has room for it the door becomes a passage."""
    if hole.kind != "door":
        return hole
    candidates = []
    for room in hole.rooms:
        if room is not None and plan.rooms[room].kind != "hallway":
            zones = [zone for other in others if other is not hole for zone in door_zones(plan, room, [other])]
            leaves = _open_leaves(plan.rooms[room], room, hole, others)
            candidates += [leaf for leaf in leaves if not any(_meets(leaf, zone) for zone in zones)]
    if not candidates:
        return hole._replace(kind="passage")
    return hole._replace(leaf=candidates[int(rng.integers(len(candidates)))])


def door_zones(plan: Plan, room: int, holes: Sequence[Hole]) -> list[DoorZone]:
    """The floor inside a room that its doors and passages need."""
    found = []
    for edge in room_edges(plan.rooms[room].outline_m):
        for low, high, hole in holes_in(edge, holes):
            if hole.kind != "window":
                a = edge.start + edge.along * (low - 0.08)
                b = edge.start + edge.along * (high + 0.08) + edge.inward * (WALL_M / 2 + _ZONE_M)
                landing = edge.start + edge.along * ((low + high) / 2) + edge.inward * (WALL_M / 2 + 0.45)
                found.append(DoorZone(_pair(np.minimum(a, b)), _pair(np.maximum(a, b)), _pair(landing)))
    return found


def leaf_box(leaf: Leaf) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lowest and highest xy of an open leaf, handles included."""
    facing = np.abs(np.round([np.cos(leaf.yaw_rad), np.sin(leaf.yaw_rad)]))
    half = facing * 0.05 + (1 - facing) * leaf.width_m / 2
    return np.array(leaf.centre_m) - half, np.array(leaf.centre_m) + half


def _meets(leaf: Leaf, zone: DoorZone) -> bool:
    low, high = leaf_box(leaf)
    return bool(np.all(low < np.array(zone.high)) and np.all(high > np.array(zone.low)))


def _open_leaves(room: RoomPlan, index: int, hole: Hole, others: Sequence[Hole]) -> list[Leaf]:
    """Leaves folded back against the wall of the door, or at a right angle along the wall beside it."""
    edges = room_edges(room.outline_m)
    width = abs(hole.end[0] - hole.start[0]) + abs(hole.end[1] - hole.start[1]) - 2 * FRAME_M
    found = []
    for k, edge in enumerate(edges):
        here = [(low, high, other) for low, high, other in holes_in(edge, others)]
        mine = next(((low, high) for low, high, other in here if other is hole), None)
        if mine is None:
            continue
        corners = (_is_convex(edges, k), _is_convex(edges, (k + 1) % len(edges)))
        for end, hinge, corner in ((0, mine[0], corners[0]), (1, mine[1], corners[1])):
            to_corner = hinge if end == 0 else edge.length_m - hinge
            side = -1.0 if end == 0 else 1.0
            if corner and to_corner < 0.3:
                beside = edges[k - 1] if end == 0 else edges[(k + 1) % len(edges)]
                if _is_clear(beside, others, from_start=end == 1, reach=width + 0.3):
                    centre = edge.start + edge.along * (hinge + side * 0.02) + edge.inward * (0.1 + width / 2)
                    found.append(Leaf(index, _pair(centre), _heading(edge.along), width))
                continue
            span = sorted((hinge + side * 0.08, hinge + side * (0.08 + width)))
            free = all(high < span[0] or low > span[1] for low, high, other in here if other is not hole)
            if free and span[0] > 0.1 and span[1] < edge.length_m - 0.1:
                centre = edge.start + edge.along * (sum(span) / 2) + edge.inward * (WALL_M / 2 + 0.06)
                found.append(Leaf(index, _pair(centre), _heading(edge.inward), width))
    return found


def _is_convex(edges: Sequence[Edge], k: int) -> bool:
    """Whether the corner at the start of wall k points outwards."""
    before, after = edges[k - 1].along, edges[k].along
    return bool(before[0] * after[1] - before[1] * after[0] > 0)


def _is_clear(edge: Edge, holes: Sequence[Hole], *, from_start: bool, reach: float) -> bool:
    """Whether the first `reach` metres of a wall, from one of its ends, hold no hole."""
    if edge.length_m < reach:
        return False
    low, high = (0.0, reach) if from_start else (edge.length_m - reach, edge.length_m)
    return all(b < low or a > high for a, b, _ in holes_in(edge, holes))


def _heading(direction: NDArray[np.float64]) -> float:
    return float(np.arctan2(direction[1], direction[0]))


def _entrance(rng: np.random.Generator, plan: Plan) -> Hole:
    """The shut front door, in a hallway or living room where there is one at an outer wall."""
    order = {"hallway": 0, "living room": 1, "kitchen": 2, "dining room": 3}
    rooms = sorted(range(len(plan.rooms)), key=lambda k: order.get(plan.rooms[k].kind, 9))
    for index in rooms:
        edges = [edge for edge in _outer_edges(plan, plan.rooms[index]) if edge.length_m > 1.4]
        if not edges:
            continue
        edge = edges[int(rng.integers(len(edges)))]
        width = 0.95
        slack = edge.length_m - width - 2 * 0.25
        place = 0.25 + slack * float(rng.choice([0.0, 0.5, 1.0])) if slack > 0 else (edge.length_m - width) / 2
        a, b = edge.start + edge.along * place, edge.start + edge.along * (place + width)
        leaf = Leaf(index, _pair((a + b) / 2), _heading(edge.inward), width - 2 * FRAME_M)
        return Hole("door", _pair(a), _pair(b), 0.0, DOOR_HEIGHT_M, (index, None), leaf)
    raise AssertionError("a divided rectangle has rooms at its outside")


# ---------------------------------------------------------------------------------------------------------- windows

_WINDOWED = {"storage room": 0.2, "hallway": 0.3, "laundry room": 0.6, "bathroom": 0.7}


def _outer_edges(plan: Plan, room: RoomPlan) -> list[Edge]:
    """Walls of a room that lie on the outside of the house."""
    outer = plan.outer
    found = []
    for edge in room_edges(room.outline_m):
        end = edge.start + edge.along * edge.length_m
        for axis, level in ((0, outer.x0), (0, outer.x1), (1, outer.y0), (1, outer.y1)):
            if abs(edge.start[axis] - level) < 1e-6 and abs(end[axis] - level) < 1e-6:
                found.append(edge)
    return found


def _windows(rng: np.random.Generator, index: int, kind: str, edge: Edge, holes: Sequence[Hole]) -> list[Hole]:
    """Evenly spread windows on one outer wall, except where a door is."""
    if rng.random() > _WINDOWED.get(kind, 0.85):
        return []
    count = max(1, int(edge.length_m / 3.2))
    pitch = edge.length_m / count
    small = kind in ("bathroom", "storage room", "laundry room", "hallway")
    width = round(float(rng.uniform(0.6, 0.9) if small else rng.uniform(1.0, 1.6)), 2)
    bottom, top = (1.15, 2.0) if small or kind == "kitchen" else (0.85, 2.05)
    taken = [(low - 0.45, high + 0.45) for low, high, _ in holes_in(edge, holes)]
    found = []
    for k in range(count):
        low = (k + 0.5) * pitch - width / 2
        if pitch < width + 0.7 or any(a < low + width and b > low for a, b in taken):
            continue
        a, b = edge.start + edge.along * low, edge.start + edge.along * (low + width)
        found.append(Hole("window", _pair(a), _pair(b), bottom, top, (index, None)))
    return found

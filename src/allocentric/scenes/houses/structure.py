"""What a house is built of: walls with holes, floors, ceilings, skirting, door frames and leaves, window frames."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from allocentric.core.geometry import pose
from allocentric.core.types import Material, Object, Opening, Room
from allocentric.scenes.furniture.finishes import METAL, Finish, plain, wood
from allocentric.scenes.furniture.parts import Shape
from allocentric.scenes.houses.openings import FRAME_M, Edge, Hole, holes_in, room_edges
from allocentric.scenes.houses.plan import WALL_M, Plan, RoomPlan

_HALF_M = WALL_M / 2
_OUTER_M = 0.14
_SLAB_M = 0.1
_THRESHOLD_M = 0.006
_LAP_M = 0.002
# Parts of one surface overlap by this much, or light would show through the seams.
_SKIRTING_M = (0.012, 0.08)
_WHITE = plain((0.93, 0.93, 0.92), roughness=0.8)
_CEILING = plain((0.96, 0.96, 0.95), roughness=0.95)
_WALL_COLORS = (
    (0.93, 0.91, 0.86), (0.90, 0.90, 0.88), (0.84, 0.88, 0.90), (0.87, 0.89, 0.82), (0.93, 0.86, 0.78),
    (0.80, 0.84, 0.88), (0.92, 0.84, 0.82), (0.86, 0.82, 0.76), (0.78, 0.85, 0.82),
)  # fmt: skip
_WET = ("bathroom", "kitchen", "laundry room")
_OUTSIDE = (
    Material(pattern="bricks", color=(0.62, 0.30, 0.22), color2=(0.78, 0.74, 0.68), scale_m=0.24, roughness=0.95),
    Material(pattern="noise", color=(0.90, 0.88, 0.82), color2=(0.84, 0.82, 0.76), scale_m=0.05, roughness=0.95),
)


class RoomFinish:
    """The materials of one room's walls and floor."""

    def __init__(self, rng: np.random.Generator, kind: str) -> None:
        color = _WALL_COLORS[int(rng.integers(len(_WALL_COLORS)))]
        self.wall = plain(color, roughness=0.9)
        if kind == "bathroom" or (kind in _WET and rng.random() < 0.3):
            grout = (0.78, 0.79, 0.80)
            tile = ((0.92, 0.93, 0.93), (0.72, 0.84, 0.86), (0.88, 0.85, 0.78))[int(rng.integers(3))]
            self.wall = Material(pattern="tiles", color=tile, color2=grout, scale_m=0.2, roughness=0.3)
        elif rng.random() < 0.12:
            paler = (0.5 + color[0] / 2, 0.5 + color[1] / 2, 0.5 + color[2] / 2)
            self.wall = Material(pattern="stripes", color=color, color2=paler, scale_m=0.16, roughness=0.9)
        self.floor = _floor(rng, kind)


def _floor(rng: np.random.Generator, kind: str) -> Material:
    if kind in _WET:
        tile = ((0.82, 0.80, 0.76), (0.62, 0.64, 0.66), (0.90, 0.89, 0.86), (0.70, 0.58, 0.48))[int(rng.integers(4))]
        pattern = "checker" if rng.random() < 0.2 else "tiles"
        if pattern == "checker":
            return Material(pattern="checker", color=(0.90, 0.90, 0.88), color2=(0.30, 0.32, 0.34), scale_m=0.6)
        return Material(pattern="tiles", color=tile, color2=(0.55, 0.54, 0.52), scale_m=0.33, roughness=0.4)
    if kind in ("bedroom", "kids room", "office") and rng.random() < 0.35:
        color = ((0.66, 0.62, 0.55), (0.52, 0.55, 0.60), (0.60, 0.50, 0.46))[int(rng.integers(3))]
        darker = (color[0] * 0.85, color[1] * 0.85, color[2] * 0.85)
        return Material(pattern="carpet", color=color, color2=darker, scale_m=0.02, roughness=1.0)
    light, dark = (
        ((0.72, 0.54, 0.36), (0.60, 0.43, 0.27)),
        ((0.56, 0.38, 0.24), (0.45, 0.29, 0.17)),
        ((0.78, 0.68, 0.54), (0.68, 0.57, 0.43)),
        ((0.42, 0.29, 0.20), (0.33, 0.22, 0.14)),
    )[int(rng.integers(4))]
    return Material(pattern="planks", color=light, color2=dark, scale_m=0.14, roughness=0.5)


def build_structure(
    rng: np.random.Generator, plan: Plan, holes: Sequence[Hole], height_m: float
) -> tuple[tuple[Room, ...], tuple[Object, ...]]:
    """The rooms with their openings, and everything that is drawn but never asked about."""
    parts: list[Object] = []
    outside = _OUTSIDE[int(rng.integers(len(_OUTSIDE)))]
    door = wood(rng)
    finishes = [RoomFinish(rng, room.kind) for room in plan.rooms]
    for room, finish in zip(plan.rooms, finishes, strict=True):
        parts += _room_parts(room, finish, holes, height_m)
    outer = np.array([
        [plan.outer.x0, plan.outer.y0], [plan.outer.x0, plan.outer.y1],
        [plan.outer.x1, plan.outer.y1], [plan.outer.x1, plan.outer.y0],
    ])  # fmt: skip
    for edge in room_edges(outer):  # clockwise: the walls' inward side is outside
        shape = _wall(edge, holes, outside, None, height_m, near=0.0, far=_OUTER_M, overhang=(_OUTER_M, _OUTER_M))
        parts.append(_placed("wall", shape, edge))
    for hole in holes:
        parts += _hole_parts(hole, door)
    return _rooms(plan, holes, height_m), numbered(parts)


def _rooms(plan: Plan, holes: Sequence[Hole], height_m: float) -> tuple[Room, ...]:
    def opening(hole: Hole) -> Opening:
        a, b = hole.rooms
        return Opening(
            kind=hole.kind, segment_m=np.array([hole.start, hole.end]), bottom_m=hole.bottom_m, top_m=hole.top_m,
            connects=(plan.rooms[a].id, None if b is None else plan.rooms[b].id),
        )  # fmt: skip

    openings = [(hole.rooms, opening(hole)) for hole in holes]
    return tuple(
        Room(
            id=room.id, kind=room.kind, floor_polygon_m=room.floor_m, floor_z_m=0.0, height_m=height_m,
            openings=tuple(o for rooms, o in openings if index in rooms),
        )
        for index, room in enumerate(plan.rooms)
    )  # fmt: skip


def numbered(parts: Sequence[Object]) -> tuple[Object, ...]:
    """The parts with ids like "wall-3", by label in order."""
    counts: dict[str, int] = {}
    out = []
    for part in parts:
        counts[part.label] = counts.get(part.label, 0) + 1
        out.append(
            Object(
                id=f"{part.label}-{counts[part.label]}",
                label=part.label,
                world_from_object=part.world_from_object,
                size_m=part.size_m,
                mesh=part.mesh,
                room_id=part.room_id,
            )
        )
    return tuple(out)


def _placed(label: str, shape: Shape, edge: Edge, room_id: str | None = None) -> Object:
    """A shape drawn in a wall's frame (x inwards, y backwards along the wall, z up) put into the world."""
    return part_at(label, shape, edge.start, float(np.arctan2(edge.inward[1], edge.inward[0])), room_id)


def part_at(
    label: str,
    shape: Shape,
    origin_xy: Sequence[float] | NDArray[np.float64] = (0.0, 0.0),
    yaw_rad: float = 0.0,
    room_id: str | None = None,
) -> Object:
    """A shape as a part of the structure, its frame put at a point of the ground; `numbered` names it."""
    mesh, size, centre = shape.centred()
    frame = pose([*np.asarray(origin_xy, dtype=float), 0.0], yaw_rad)
    frame[:3, 3] += frame[:3, :3] @ centre
    return Object(id="", label=label, world_from_object=frame, size_m=size, mesh=mesh, room_id=room_id)


def _room_parts(room: RoomPlan, finish: RoomFinish, holes: Sequence[Hole], height_m: float) -> list[Object]:
    edges = room_edges(room.outline_m)
    parts = []
    for k, edge in enumerate(edges):
        corner = [_turn(edges[k - 1], edge), _turn(edge, edges[(k + 1) % len(edges)])]
        shape = _wall(edge, holes, finish.wall, _WHITE, height_m, near=0.0, far=_HALF_M,
                      overhang=tuple(0.0 if turn > 0 else _HALF_M for turn in corner))  # fmt: skip
        parts.append(_placed("wall", shape, edge, room.id))
    parts.append(_slab("floor", room, finish.floor, -_SLAB_M))
    parts.append(_slab("ceiling", room, _CEILING, height_m))
    return parts


def _turn(a: Edge, b: Edge) -> float:
    return float(a.along[0] * b.along[1] - a.along[1] * b.along[0])


def _slab(label: str, room: RoomPlan, material: Material, bottom_m: float) -> Object:
    """Floor or ceiling to the middle of the walls, so that doorways have one too."""
    outline = room.outline_m
    shape = Shape()
    for x0, y0, x1, y1 in rectangles(outline):
        shape.box(material, (x1 - x0, y1 - y0, _SLAB_M), ((x0 + x1) / 2, (y0 + y1) / 2, bottom_m))
    return part_at(label, shape, (0.0, 0.0), 0.0, room.id)


def rectangles(outline: NDArray[np.float64]) -> list[tuple[float, float, float, float]]:
    """A rectangular or L-shaped outline as one or two slightly overlapping rectangles (x0, y0, x1, y1)."""
    low, high = outline.min(axis=0), outline.max(axis=0)
    if len(outline) == 4:
        return [(float(low[0]), float(low[1]), float(high[0]), float(high[1]))]
    inner = next(p for p in outline if low[0] < p[0] < high[0] and low[1] < p[1] < high[1])
    missing = next(c for c in ((low[0], low[1]), (high[0], low[1]), (high[0], high[1]), (low[0], high[1]))
                   if not np.any(np.all(np.abs(outline - c) < 1e-9, axis=1)))  # fmt: skip
    full = (inner[0], high[0]) if missing[0] == low[0] else (low[0], inner[0])
    rest = (low[0], inner[0] + _LAP_M) if missing[0] == low[0] else (inner[0] - _LAP_M, high[0])
    part = (inner[1], high[1]) if missing[1] == low[1] else (low[1], inner[1])
    return [
        (float(full[0]), float(low[1]), float(full[1]), float(high[1])),
        (float(rest[0]), float(part[0]), float(rest[1]), float(part[1])),
    ]


def _wall(
    edge: Edge, holes: Sequence[Hole], material: Material, skirting: Material | None, height_m: float, *,
    near: float, far: float, overhang: tuple[float, ...],
) -> Shape:  # fmt: skip
    """One side of a wall, from `near` to `far` inwards of the centre line, with its holes."""
    shape = Shape()
    depth, middle = far - near, (near + far) / 2
    sizes, at, low_runs = [], [], []
    position = -overhang[0]

    def fill(start: float, end: float, bottom: float, top: float) -> None:
        if end - start > 1e-6 and top - bottom > 1e-6:
            sizes.append((depth, end - start, top - bottom))
            at.append((middle, -(start + end) / 2, bottom))

    for low, high, hole in holes_in(edge, holes):
        fill(position, low, 0.0, height_m)
        fill(low - _LAP_M, high + _LAP_M, 0.0, hole.bottom_m)
        fill(low - _LAP_M, high + _LAP_M, hole.top_m, height_m)
        if hole.bottom_m == 0:
            low_runs.append((low, high))
        position = high
    fill(position, edge.length_m + overhang[1], 0.0, height_m)
    shape.boxes(material, sizes, at)
    if skirting is not None:
        _skirting(shape, skirting, edge.length_m, low_runs, far)
    return shape


def _skirting(
    shape: Shape, material: Material, length: float, gaps: Sequence[tuple[float, float]], far: float
) -> None:
    thick, high = _SKIRTING_M
    ends = [far, *(end for low, up in gaps for end in (low - 0.02, up + 0.02)), length - far]
    runs = [(a, b) for a, b in zip(ends[::2], ends[1::2], strict=True) if b - a > 1e-3]
    if runs:
        sizes = [(thick, b - a, high) for a, b in runs]
        shape.boxes(material, sizes, [(far + thick / 2, -(a + b) / 2, 0.0) for a, b in runs])


def _hole_parts(hole: Hole, door: Finish) -> list[Object]:
    start, end = np.array(hole.start), np.array(hole.end)
    middle = (start + end) / 2
    width = float(np.linalg.norm(end - start))
    yaw = float(np.arctan2(end[1] - start[1], end[0] - start[0])) - np.pi / 2
    if hole.kind == "window":
        return [part_at("window", _window_frame(width, hole.bottom_m, hole.top_m, hole), middle, yaw)]
    depth = WALL_M + 0.03 + (2 * (_OUTER_M - _HALF_M) if hole.rooms[1] is None else 0.0)
    shape = Shape()
    jamb = (depth, FRAME_M, hole.top_m)
    shape.boxes(_WHITE, [jamb], [(0, y, 0) for y in (-(width - FRAME_M) / 2, (width - FRAME_M) / 2)])
    shape.box(_WHITE, (depth, width, FRAME_M), (0, 0, hole.top_m - FRAME_M))
    shape.box(door.material, (depth - 0.02, width, _THRESHOLD_M), (0, 0, 0))
    parts = [part_at("door frame", shape, middle, yaw)]
    if hole.leaf is not None:
        leaf = _leaf(hole.leaf.width_m, hole.top_m - FRAME_M - 0.015, door.material)
        parts.append(part_at("door", leaf, hole.leaf.centre_m, hole.leaf.yaw_rad))
    return parts


def _leaf(width: float, height: float, material: Material) -> Shape:
    shape = Shape().box(material, (0.04, width - 0.006, height - 0.01), (0, 0, 0.01))
    panel = Material(pattern=material.pattern, color=material.color2, color2=material.color, scale_m=material.scale_m)
    shape.boxes(panel, [(0.05, width * 0.6, height * 0.32)], [(0, 0, height * 0.12), (0, 0, height * 0.56)])
    handles = [(0, y, 1.02) for y in (-width / 2 + 0.08, width / 2 - 0.08)]
    return shape.boxes(METAL, [(0.1, 0.02, 0.02)], handles[:1])


def _window_frame(width: float, bottom: float, top: float, hole: Hole) -> Shape:
    """A frame with a mullion and a transom, in the middle of the wall, without glass."""
    shape = Shape()
    depth, bar, height = 0.06, 0.05, top - bottom
    shape.boxes(_WHITE, [(depth, bar, height)], [(0, y, bottom) for y in (-(width - bar) / 2, (width - bar) / 2)])
    shape.boxes(_WHITE, [(depth, width, bar)], [(0, 0, bottom), (0, 0, top - bar)])
    shape.box(_WHITE, (depth, 0.035, height), (0, 0, bottom))
    if hole.top_m - hole.bottom_m > 1.0:
        shape.box(_WHITE, (depth, width, 0.03), (0, 0, bottom + 0.68 * height))
    return shape

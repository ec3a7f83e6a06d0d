"""The plan of a few streets: blocks of houses, carriageways between them, sidewalks, crossings and a square.

Blocks lie in a grid with a street between each two. Where a street ends, a sidewalk leads across it, before a building
that closes the view. All floors are level: crossings are raised, as they are where walkers have the right of way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from allocentric.core.types import FloatArray, Opening, Room

WALK_M = 5.0
"""Width of a sidewalk."""
HALF_ROAD_M = 5.2
"""Half of a carriageway: one lane and the parked cars beside it."""
ROAD_Z_M = -0.12
"""The carriageway lies this much below the sidewalks."""
LOT_M = 9.0
"""Depth of the buildings round a square and at the ends of streets."""
_CROSSING_M = (1.0, 4.0)  # from the kerb of the other street
_SHORTEST_PASSAGE_M = 0.5
_ROOM_HEIGHT_M = 4.0  # rooms under the sky have no ceiling; questions and maps want a number


class Rect(NamedTuple):
    """An axis-aligned rectangle on the ground, metres."""

    x0: float
    y0: float
    x1: float
    y1: float

    @property
    def middle(self) -> tuple[float, float]:
        """Its centre."""
        return (self.x0 + self.x1) / 2, (self.y0 + self.y1) / 2

    @property
    def size(self) -> tuple[float, float]:
        """Edges along x and y."""
        return self.x1 - self.x0, self.y1 - self.y0

    def corners(self) -> FloatArray:
        """(4, 2) counter-clockwise."""
        return np.array([[self.x0, self.y0], [self.x1, self.y0], [self.x1, self.y1], [self.x0, self.y1]])


class Area(NamedTuple):
    """A floor that belongs to walkers."""

    id: str
    kind: str
    rect: Rect
    to_road: tuple[int, int] = (0, 0)
    """Unit step from the middle to the kerb; (0, 0) where there is none."""


class Lot(NamedTuple):
    """Ground of one building."""

    rect: Rect
    fronts: tuple[tuple[int, int], ...]
    """Outward directions of the walls that people pass by."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """Where everything lies."""

    outline: Rect
    """All streets and blocks."""
    areas: tuple[Area, ...]
    """Sidewalks, crossings and the square."""
    roads: tuple[Rect, ...]
    """Carriageways from end to end; they overlap in the junctions."""
    lots: tuple[Lot, ...]
    """Buildings."""
    clear: tuple[Rect, ...]
    """Corners and ends of sidewalks: nothing but posts at their rims stands there."""
    junctions: tuple[Rect, ...]
    """Where carriageways meet."""


class _Axis(NamedTuple):
    """Blocks and carriageways along one axis, alternating."""

    blocks: list[tuple[float, float]]
    roads: list[tuple[float, float]]


def draw_layout(rng: np.random.Generator, columns: int, rows: int) -> Layout:
    """A plan of `columns` x `rows` blocks, 2 or more each; one of the blocks is a square."""
    across, along = _axis(rng, columns), _axis(rng, rows)
    outline = Rect(0.0, 0.0, across.blocks[-1][1], along.blocks[-1][1])
    square = (int(rng.integers(columns)), int(rng.integers(rows)))
    areas: list[Area] = []
    lots: list[Lot] = []
    for i, (x0, x1) in enumerate(across.blocks):
        for j, (y0, y1) in enumerate(along.blocks):
            streets = (i > 0, j > 0, i < columns - 1, j < rows - 1)
            strips, inner = _sidewalks(f"{i}{j}", Rect(x0, y0, x1, y1), streets)
            areas += strips
            if (i, j) == square:
                inner, behind = _square(rng, inner, streets)
                areas.append(Area("square", "square", inner))
                lots += behind
            else:
                lots += _split(rng, inner, streets)
    ends, closing, clear = _ends(outline, across, along)
    junctions = tuple(Rect(x0, y0, x1, y1) for x0, x1 in across.roads for y0, y1 in along.roads)
    for number, junction in enumerate(junctions):
        areas += _crossings(number, junction)
        clear += _corners(junction)
    roads = [Rect(x0, WALK_M, x1, outline.y1 - WALK_M) for x0, x1 in across.roads]
    roads += [Rect(WALK_M, y0, outline.x1 - WALK_M, y1) for y0, y1 in along.roads]
    return Layout(
        outline=outline, areas=(*areas, *ends), roads=tuple(roads), lots=(*lots, *closing), clear=tuple(clear),
        junctions=junctions,
    )  # fmt: skip


def rooms_of(layout: Layout) -> tuple[Room, ...]:
    """The areas as rooms; where two of them touch there is a passage."""
    openings: dict[str, list[Opening]] = {area.id: [] for area in layout.areas}
    for number, area in enumerate(layout.areas):
        for other in layout.areas[number + 1 :]:
            segment = _shared_edge(area.rect, other.rect)
            if segment is not None:
                passage = Opening(
                    kind="passage", segment_m=segment, bottom_m=0.0, top_m=_ROOM_HEIGHT_M, connects=(area.id, other.id)
                )
                openings[area.id].append(passage)
                openings[other.id].append(passage)
    return tuple(
        Room(
            id=area.id, kind=area.kind, floor_polygon_m=area.rect.corners(), floor_z_m=0.0, height_m=_ROOM_HEIGHT_M,
            openings=tuple(openings[area.id]),
        )
        for area in layout.areas
    )  # fmt: skip


def _axis(rng: np.random.Generator, count: int) -> _Axis:
    sizes = [round(float(rng.uniform(27.0, 35.0)), 1) for _ in range(count)]
    starts = np.cumsum([0.0, *(size + 2 * HALF_ROAD_M for size in sizes)])
    blocks = [(float(start), float(start) + size) for start, size in zip(starts, sizes, strict=False)]
    roads = [(blocks[k][1], blocks[k + 1][0]) for k in range(count - 1)]
    return _Axis(blocks, roads)


def _sidewalks(name: str, block: Rect, streets: tuple[bool, bool, bool, bool]) -> tuple[list[Area], Rect]:
    """Sidewalks on the sides of a block with a street (west, south, east, north), and the rest of the block."""
    west, south, east, north = streets
    inner = Rect(
        block.x0 + WALK_M * west, block.y0 + WALK_M * south, block.x1 - WALK_M * east, block.y1 - WALK_M * north
    )
    out = []
    if south:
        rect = Rect(block.x0, block.y0, block.x1, inner.y0)
        out.append(Area(f"sidewalk-{name}-south", "sidewalk", rect, (0, -1)))
    if north:
        rect = Rect(block.x0, inner.y1, block.x1, block.y1)
        out.append(Area(f"sidewalk-{name}-north", "sidewalk", rect, (0, 1)))
    if west:
        rect = Rect(block.x0, inner.y0, inner.x0, inner.y1)
        out.append(Area(f"sidewalk-{name}-west", "sidewalk", rect, (-1, 0)))
    if east:
        rect = Rect(inner.x1, inner.y0, block.x1, inner.y1)
        out.append(Area(f"sidewalk-{name}-east", "sidewalk", rect, (1, 0)))
    return out, inner


def _fronts(streets: Sequence[bool]) -> list[tuple[int, int]]:
    return [side for side, open_ in zip(((-1, 0), (0, -1), (1, 0), (0, 1)), streets, strict=True) if open_]


def _split(rng: np.random.Generator, rect: Rect, streets: tuple[bool, bool, bool, bool]) -> list[Lot]:
    """Buildings side by side along x, each through the whole block."""
    return _row(rng, rect, _fronts(streets), axis=0)


def _row(rng: np.random.Generator, rect: Rect, fronts: Sequence[tuple[int, int]], axis: int) -> list[Lot]:
    length = rect.size[axis]
    count = max(1, round(length / float(rng.uniform(8.0, 11.5))))
    shares = np.cumsum(rng.uniform(0.8, 1.2, count))
    cuts = [0.0, *(float(part) * length for part in shares / shares[-1])]
    lots = []
    for k in range(count):
        low, high = cuts[k], cuts[k + 1]
        own = [side for side in fronts if side[axis] == 0 or k == (0 if side[axis] < 0 else count - 1)]
        if axis == 0:
            part = Rect(rect.x0 + low, rect.y0, rect.x0 + high, rect.y1)
        else:
            part = Rect(rect.x0, rect.y0 + low, rect.x1, rect.y0 + high)
        lots.append(Lot(part, tuple(own)))
    return lots


def _square(rng: np.random.Generator, inner: Rect, streets: tuple[bool, bool, bool, bool]) -> tuple[Rect, list[Lot]]:
    """The square, and the buildings on the sides where no street is."""
    west, south, east, north = streets
    lots = []
    x0, x1 = inner.x0 + LOT_M * (not west), inner.x1 - LOT_M * (not east)
    y0, y1 = inner.y0 + LOT_M * (not south), inner.y1 - LOT_M * (not north)
    for missing, low, high, inward in ((not west, inner.x0, x0, (1, 0)), (not east, x1, inner.x1, (-1, 0))):
        if missing:
            lots += _row(rng, Rect(low, y0, high, y1), [inward, *_fronts((False, south, False, north))], 1)
            lots += [
                Lot(Rect(low, start, high, end), ()) for start, end in ((inner.y0, y0), (y1, inner.y1)) if end > start
            ]
    if not south:
        lots += _row(rng, Rect(x0, inner.y0, x1, y0), [(0, 1), *_fronts((west, False, east, False))], 0)
    if not north:
        lots += _row(rng, Rect(x0, y1, x1, inner.y1), [(0, -1), *_fronts((west, False, east, False))], 0)
    return Rect(x0, y0, x1, y1), lots


def _ends(outline: Rect, across: _Axis, along: _Axis) -> tuple[list[Area], list[Lot], list[Rect]]:
    """Sidewalks across the ends of streets, the buildings behind them, and the sidewalks beside them to keep clear."""
    areas, lots, clear = [], [], []
    for k, (x0, x1) in enumerate(across.roads):
        low, high = x0 - WALK_M, x1 + WALK_M
        areas.append(Area(f"sidewalk-south-end-{k}", "sidewalk", Rect(x0, 0.0, x1, WALK_M), (0, 1)))
        areas.append(
            Area(f"sidewalk-north-end-{k}", "sidewalk", Rect(x0, outline.y1 - WALK_M, x1, outline.y1), (0, -1))
        )
        lots.append(Lot(Rect(low, -LOT_M, high, 0.0), ((0, 1),)))
        lots.append(Lot(Rect(low, outline.y1, high, outline.y1 + LOT_M), ((0, -1),)))
        for y0, y1 in ((0.0, WALK_M), (outline.y1 - WALK_M, outline.y1)):
            clear += [Rect(low, y0, x0, y1), Rect(x1, y0, high, y1)]
    for k, (y0, y1) in enumerate(along.roads):
        low, high = y0 - WALK_M, y1 + WALK_M
        areas.append(Area(f"sidewalk-west-end-{k}", "sidewalk", Rect(0.0, y0, WALK_M, y1), (1, 0)))
        areas.append(
            Area(f"sidewalk-east-end-{k}", "sidewalk", Rect(outline.x1 - WALK_M, y0, outline.x1, y1), (-1, 0))
        )
        lots.append(Lot(Rect(-LOT_M, low, 0.0, high), ((1, 0),)))
        lots.append(Lot(Rect(outline.x1, low, outline.x1 + LOT_M, high), ((-1, 0),)))
        for x0, x1 in ((0.0, WALK_M), (outline.x1 - WALK_M, outline.x1)):
            clear += [Rect(x0, low, x1, y0), Rect(x0, y1, x1, high)]
    return areas, lots, clear


def _crossings(number: int, junction: Rect) -> list[Area]:
    x0, y0, x1, y1 = junction
    near, far = _CROSSING_M
    arms = {
        "north": Rect(x0, y1 + near, x1, y1 + far),
        "south": Rect(x0, y0 - far, x1, y0 - near),
        "east": Rect(x1 + near, y0, x1 + far, y1),
        "west": Rect(x0 - far, y0, x0 - near, y1),
    }
    return [Area(f"crossing-{number}-{arm}", "crossing", rect) for arm, rect in arms.items()]


def _corners(junction: Rect) -> list[Rect]:
    x0, y0, x1, y1 = junction
    w = WALK_M
    return [
        Rect(x0 - w, y0 - w, x0, y0), Rect(x1, y0 - w, x1 + w, y0),
        Rect(x0 - w, y1, x0, y1 + w), Rect(x1, y1, x1 + w, y1 + w),
    ]  # fmt: skip


def _shared_edge(a: Rect, b: Rect) -> FloatArray | None:
    """(2, 2) the segment along which two rectangles touch, if it is long enough to walk through."""
    low = np.maximum(a[:2], b[:2])
    high = np.minimum(a[2:], b[2:])
    gap = high - low
    for axis in (0, 1):
        if abs(gap[axis]) < 1e-6 and gap[1 - axis] > _SHORTEST_PASSAGE_M:
            return np.stack([low, high])
    return None

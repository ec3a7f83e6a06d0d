"""Where things stand: a zone at the kerb, a zone at the walls and a free way between; parked cars; the square."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from allocentric.core.geometry import pose
from allocentric.core.types import Object
from allocentric.scenes.furniture.model import Piece
from allocentric.scenes.furniture.seating import chair
from allocentric.scenes.streets import landmarks, street_furniture, vehicles
from allocentric.scenes.streets.blocks import HALF_ROAD_M, ROAD_Z_M, WALK_M, Area, Layout, Rect
from allocentric.scenes.streets.buildings import AWNING_BOTTOM_M, Awning

Make = Callable[[np.random.Generator], Piece]

_KERB_ZONE_M = 1.1  # from the kerb to the middle of what stands along it
_WALL_ZONE_M = 0.45  # from the wall to the middle of what stands before it
_APART_M = 0.35  # between things
_LANE_M = 1.15  # from the kerb to the middle of a parked car
_ONCE: dict[str, Make] = {
    "bus stop": street_furniture.bus_stop,
    "phone box": street_furniture.phone_box,
    "post box": street_furniture.post_box,
    "advertising column": street_furniture.advertising_column,
    "street clock": street_furniture.street_clock,
    "fire hydrant": street_furniture.fire_hydrant,
    "newspaper stand": street_furniture.newspaper_stand,
    "bike rack": street_furniture.bike_rack,
    "stop sign": street_furniture.stop_sign,
}
"""One of each along the kerbs of a scene."""
_ALONG: dict[str, tuple[Make, float]] = {
    "tree": (landmarks.tree, 5.0),
    "lamp post": (street_furniture.lamp_post, 2.5),
    "bench": (street_furniture.bench, 1.6),
    "trash bin": (street_furniture.trash_bin, 1.2),
    "bollard": (street_furniture.bollard, 1.0),
    "parking meter": (street_furniture.parking_meter, 1.0),
    "bicycle": (vehicles.bicycle, 1.0),
    "scooter": (vehicles.scooter, 0.7),
}
"""What stands along kerbs again and again, and how often."""
_AT_WALLS: dict[str, tuple[Make, float]] = {
    "planter": (street_furniture.planter, 2.0),
    "sandwich board": (street_furniture.sandwich_board, 1.2),
    "bicycle": (vehicles.bicycle, 0.8),
    "cafe table": (street_furniture.cafe_table, 1.4),
}


class Town:
    """Objects placed so far, and the ground they take."""

    def __init__(self, rng: np.random.Generator, layout: Layout) -> None:
        self.rng = rng
        self.layout = layout
        self.objects: list[Object] = []
        self.counts: Counter[str] = Counter()
        self._taken: list[Rect] = []
        self._overhead: list[Rect] = []

    def place(
        self, label: str, piece: Piece, xy: Sequence[float], yaw_rad: float, *, room_id: str | None = None,
        bottom_m: float = 0.0, within: Rect | None = None, apart_m: float = _APART_M, posts: bool = False,
    ) -> bool:  # fmt: skip
        """Stand a piece at a quarter turn; False, and nothing done, where it would touch another or leave `within`.

        `posts` may stand in the corners of sidewalks, which are kept clear of all else.
        """
        ground = _footprint(piece, xy, yaw_rad)
        if within is not None and not _inside(ground, within):
            return False
        wide = Rect(ground.x0 - apart_m, ground.y0 - apart_m, ground.x1 + apart_m, ground.y1 + apart_m)
        blocked = self._taken if posts else [*self._taken, *self.layout.clear]
        if bottom_m + float(piece.size_m[2]) > AWNING_BOTTOM_M - 0.05:
            blocked = [*blocked, *self._overhead]
        if any(_meet(wide, other) for other in blocked):
            return False
        self._taken.append(ground)
        self._add(label, piece, xy, yaw_rad, bottom_m, room_id)
        return True

    def hang(self, awning: Awning) -> None:
        """Add an awning, unless it would touch one round the corner; nothing tall will stand below it."""
        ground = _footprint(awning.piece, awning.xy_m, awning.yaw_rad)
        if not any(_meet(ground, other) for other in self._overhead):
            self._overhead.append(ground)
            self._add("awning", awning.piece, awning.xy_m, awning.yaw_rad, AWNING_BOTTOM_M, None)

    def _add(
        self, label: str, piece: Piece, xy: Sequence[float], yaw_rad: float, bottom_m: float, room_id: str | None
    ) -> None:
        self.counts[label] += 1
        middle_z = bottom_m + float(piece.size_m[2]) / 2
        self.objects.append(
            Object(
                id=f"{label.replace(' ', '-')}-{self.counts[label]}", label=label,
                world_from_object=pose([float(xy[0]), float(xy[1]), middle_z], yaw_rad), size_m=piece.size_m,
                mesh=piece.mesh, attributes={"color": piece.color}, room_id=room_id,
            )
        )  # fmt: skip


def furnish_streets(rng: np.random.Generator, layout: Layout, awnings: Sequence[Awning]) -> tuple[Object, ...]:
    """All objects: awnings and corners first, then what a scene has once, then what repeats."""
    town = Town(rng, layout)
    for awning in awnings:
        town.hang(awning)
    sidewalks = [area for area in layout.areas if area.kind == "sidewalk" and "end" not in area.id]
    _corner_posts(town)
    _square(town, next(area for area in layout.areas if area.kind == "square"))
    _kerb_once(town, sidewalks)
    for area in sidewalks:
        _along_kerb(town, area)
        _along_wall(town, area)
    for area in layout.areas:
        if "end" in area.id:
            _along_wall(town, area)
    _traffic(town)
    return tuple(town.objects)


def _corner_posts(town: Town) -> None:
    """Traffic lights at the first junction, street signs at all."""
    for number, junction in enumerate(town.layout.junctions):
        corners = [(junction.x0, junction.y0, -1, -1), (junction.x1, junction.y0, 1, -1),
                   (junction.x1, junction.y1, 1, 1), (junction.x0, junction.y1, -1, 1)]  # fmt: skip
        for k, (x, y, sx, sy) in enumerate(corners):
            room = _room_at(town.layout, (x + 0.5 * sx, y + 0.5 * sy))
            if number == 0:
                light = street_furniture.traffic_light(town.rng)
                town.place(
                    "traffic light", light, (x + 0.45 * sx, y + 0.45 * sy), k * np.pi / 2, room_id=room, posts=True
                )
            if k == number % 4:
                sign = street_furniture.street_sign(town.rng)
                town.place("street sign", sign, (x + 4.45 * sx, y + 4.45 * sy), 0.0, room_id=room, posts=True)


def _room_at(layout: Layout, xy: Sequence[float]) -> str | None:
    for area in layout.areas:
        if area.rect.x0 <= xy[0] <= area.rect.x1 and area.rect.y0 <= xy[1] <= area.rect.y1:
            return area.id
    return None


def _frame(area: Area, along: float, from_kerb: float) -> tuple[float, float]:
    """World xy of a point of a sidewalk: way along it from its low end, and distance from the kerb."""
    dx, dy = area.to_road
    if dx:
        return (area.rect.x1 - from_kerb if dx > 0 else area.rect.x0 + from_kerb), area.rect.y0 + along
    return area.rect.x0 + along, (area.rect.y1 - from_kerb if dy > 0 else area.rect.y0 + from_kerb)


def _length(area: Area) -> float:
    return area.rect.size[1] if area.to_road[0] else area.rect.size[0]


def _yaw(area: Area) -> float:
    return float(np.arctan2(area.to_road[1], area.to_road[0]))


def _kerb_once(town: Town, sidewalks: Sequence[Area]) -> None:
    for label, make in _ONCE.items():
        piece = make(town.rng)
        for _ in range(60):
            area = sidewalks[int(town.rng.integers(len(sidewalks)))]
            along = float(town.rng.uniform(1.0, _length(area) - 1.0))
            off = max(_KERB_ZONE_M, 0.3 + float(piece.size_m[0]) / 2)
            if town.place(label, piece, _frame(area, along, off), _yaw(area), room_id=area.id, within=area.rect):
                break


def _drawn(rng: np.random.Generator, table: dict[str, tuple[Make, float]]) -> str:
    weights = np.array([weight for _, weight in table.values()])
    return list(table)[int(rng.choice(len(table), p=weights / weights.sum()))]


def _along_kerb(town: Town, area: Area) -> None:
    rng = town.rng
    at = 1.2
    while at < _length(area) - 1.0:
        label = _drawn(rng, _ALONG)
        piece = _ALONG[label][0](rng)
        turned = np.pi / 2 if label in ("bicycle", "scooter") else (np.pi if label == "bench" else 0.0)
        town.place(
            label, piece, _frame(area, at, _KERB_ZONE_M), _yaw(area) + turned, room_id=area.id, within=area.rect
        )
        at += float(rng.uniform(1.6, 2.8))


def _along_wall(town: Town, area: Area) -> None:
    rng = town.rng
    at = 1.5
    while at < _length(area) - 1.5:
        label = _drawn(rng, _AT_WALLS)
        if label == "cafe table":
            _cafe(town, area, at)
        else:
            piece = _AT_WALLS[label][0](rng)
            turned = np.pi / 2 if label in ("bicycle", "sandwich board") else 0.0
            off = WALK_M - _WALL_ZONE_M
            town.place(label, piece, _frame(area, at, off), _yaw(area) + turned, room_id=area.id, within=area.rect)
        at += float(rng.uniform(2.5, 6.0))


def _cafe(town: Town, area: Area, at: float) -> None:
    """A table with two chairs along the wall."""
    table = street_furniture.cafe_table(town.rng)
    off = WALK_M - 0.5
    if not town.place("cafe table", table, _frame(area, at, off), 0.0, room_id=area.id, within=area.rect):
        return
    seat = chair(town.rng)
    towards = np.pi / 2 if area.to_road[1] == 0 else 0.0
    for step, yaw in ((-0.72, towards), (0.72, towards + np.pi)):
        xy = _frame(area, at + step, off)
        town.place("chair", seat, xy, yaw, room_id=area.id, within=area.rect, apart_m=0.05)


def _traffic(town: Town) -> None:
    """Parked cars along both kerbs; one bus and one taxi on the way."""
    rng = town.rng
    moving: list[tuple[str, Make]] = [("bus", vehicles.bus), ("taxi", vehicles.taxi)]
    for rect in town.layout.roads:
        axis = 0 if rect.size[0] > rect.size[1] else 1
        for low, high in _stretches(town.layout, rect, axis):
            for side in (-1, 1):
                _park(town, rect, axis, low, high, side)
            if moving and high - low > 12 and rng.random() < 0.6:
                _drive(town, rect, axis, (low + high) / 2, *moving.pop(0))
    for label, make in moving:
        rect = town.layout.roads[0]
        axis = 0 if rect.size[0] > rect.size[1] else 1
        low, high = _stretches(town.layout, rect, axis)[len(moving) - 1]
        _drive(town, rect, axis, (low + high) / 2, label, make)
        moving = moving[1:]


def _stretches(layout: Layout, rect: Rect, axis: int) -> list[tuple[float, float]]:
    """Parts of a carriageway between junctions where cars may stand."""
    here = sorted((j[axis], j[axis + 2]) for j in layout.junctions if _meet(j, rect))
    cuts = [rect[axis] + 1.0, *(edge for low, high in here for edge in (low - 5.5, high + 5.5)), rect[axis + 2] - 1.0]
    return list(zip(cuts[::2], cuts[1::2], strict=True))


def _park(town: Town, rect: Rect, axis: int, low: float, high: float, side: int) -> None:
    rng = town.rng
    at = low + 2.8
    across = rect.middle[1 - axis] + side * (HALF_ROAD_M - _LANE_M)
    # Traffic keeps to the right: along x on the low side, along y on the high side.
    forward = 0.0 if axis == 0 else np.pi / 2
    right = side < 0 if axis == 0 else side > 0
    while at < high - 2.8:
        if rng.random() < 0.62:
            label = "van" if rng.random() < 0.15 else "car"
            made = (vehicles.van if label == "van" else vehicles.car)(rng)
            xy = (at, across) if axis == 0 else (across, at)
            town.place(label, made, xy, forward if right else forward + np.pi, bottom_m=ROAD_Z_M)
        at += 6.0


def _drive(town: Town, rect: Rect, axis: int, at: float, label: str, make: Make) -> None:
    side = 1 if town.rng.random() < 0.5 else -1
    off = side * 1.5
    xy = (at, rect.middle[1] + off) if axis == 0 else (rect.middle[0] + off, at)
    forward = (0.0 if side < 0 else np.pi) if axis == 0 else (np.pi / 2 if side > 0 else -np.pi / 2)
    town.place(label, make(town.rng), xy, float(forward), bottom_m=ROAD_Z_M, apart_m=0.1)


def _square(town: Town, area: Area) -> None:
    """Fountain or statue in the middle, the other one aside, a kiosk, stalls, trees, tables with parasols, benches."""
    rng, rect = town.rng, area.rect
    centre = [("fountain", landmarks.fountain), ("statue", landmarks.statue)]
    if rng.random() < 0.5:
        centre.reverse()
    town.place(centre[0][0], centre[0][1](rng), rect.middle, _quarter(rng), room_id=area.id, within=rect)
    wanted: list[tuple[str, Make, int]] = [
        (*centre[1], 1), ("kiosk", landmarks.kiosk, 1), ("flag pole", landmarks.flag_pole, 1),
        ("market stall", landmarks.market_stall, int(rng.integers(1, 4))), ("flower bed", landmarks.flower_bed, 2),
        ("picnic table", landmarks.picnic_table, int(rng.integers(1, 3))), ("tree", landmarks.tree, 5),
        ("parasol", street_furniture.parasol, 2), ("hedge", landmarks.hedge, 3), ("bench", street_furniture.bench, 4),
        ("trash bin", street_furniture.trash_bin, 2), ("lamp post", street_furniture.lamp_post, 2),
    ]  # fmt: skip
    for label, make, count in wanted:
        for _ in range(count):
            piece = make(rng)
            for _ in range(25):
                xy = (
                    float(rng.uniform(rect.x0 + 1.2, rect.x1 - 1.2)),
                    float(rng.uniform(rect.y0 + 1.2, rect.y1 - 1.2)),
                )
                room = Rect(rect.x0 + 0.3, rect.y0 + 0.3, rect.x1 - 0.3, rect.y1 - 0.3)
                if town.place(label, piece, xy, _quarter(rng), room_id=area.id, within=room, apart_m=1.0):
                    break


def _quarter(rng: np.random.Generator) -> float:
    return float(rng.integers(4)) * np.pi / 2


def _footprint(piece: Piece, xy: Sequence[float], yaw_rad: float) -> Rect:
    size = np.asarray(piece.size_m)[:2]
    half = (size if abs(np.cos(yaw_rad)) > 0.5 else size[::-1]) / 2
    return Rect(float(xy[0] - half[0]), float(xy[1] - half[1]), float(xy[0] + half[0]), float(xy[1] + half[1]))


def _inside(inner: Rect, outer: Rect) -> bool:
    return inner.x0 >= outer.x0 and inner.y0 >= outer.y0 and inner.x1 <= outer.x1 and inner.y1 <= outer.y1


def _meet(a: Rect, b: Rect) -> bool:
    return a.x0 < b.x1 and b.x0 < a.x1 and a.y0 < b.y1 and b.y0 < a.y1

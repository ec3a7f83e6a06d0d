"""Furniture that belongs together: chairs round a table, a television before a sofa, a kitchen's run of units."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from allocentric.scenes.furniture.model import Piece
from allocentric.scenes.houses.household import Household, Placed
from allocentric.scenes.houses.placement import WALL_GAP_M, RoomSpace, Spots

_TRIES = 40


def sofa_and_television(house: Household, space: RoomSpace) -> None:
    """A sofa at a wall, a rug and a coffee table before it, a television on its stand facing it, seats beside it."""
    rng = house.rng
    sofa = None
    for gap_m in (1.8, 1.4, 0.9):
        if sofa is None:
            piece = house.make("sofa")
            sofa = house.put(space, "sofa", piece, space.wall_spots(rng, piece.size_m, _TRIES, snug=0.15), gap_m=gap_m)
    if sofa is None:
        _television(house, space, None)
        return
    front = float(piece.size_m[0]) / 2
    _television(house, space, sofa)
    if rng.random() < 0.75:
        rug = house.make("rug")
        ahead = front + 0.04 + float(rug.size_m[0]) / 2
        spots = Spots(sofa.world([[ahead, 0.0], [ahead, 0.15], [ahead, -0.15]]), np.full(3, sofa.spot.yaw_rad))
        house.lay(space, "rug", rug, spots)
    table = house.make("coffee table")
    ahead = front + float(rng.uniform(0.36, 0.5)) + float(table.size_m[0]) / 2
    house.put_at(space, "coffee table", table, sofa.world([ahead, 0.0]), sofa.spot.yaw_rad)
    _beside_sofa(house, space, sofa, ahead)
    pillow = None
    for side in range(len(piece.surfaces)):
        if rng.random() < 0.7:
            pillow = pillow if pillow is not None and rng.random() < 0.5 else house.make("pillow")
            house.put_on(sofa, "pillow", pillow, surface=side)


def _beside_sofa(house: Household, space: RoomSpace, sofa: Placed, ahead: float) -> None:
    rng = house.rng
    half = float(sofa.piece.size_m[1]) / 2
    for side in (1.0, -1.0) if rng.random() < 0.5 else (-1.0, 1.0):
        if rng.random() < 0.6:
            chair = house.make("armchair")
            across = half + 0.1 + float(chair.size_m[0]) / 2
            spots = [sofa.world([ahead + step, side * (across + out)]) for step in (0.0, 0.25) for out in (0.0, 0.3)]
            yaw = sofa.spot.yaw_rad - side * np.pi / 2
            house.put(space, "armchair", chair, Spots(np.array(spots), np.full(len(spots), yaw)))
        if rng.random() < 0.5:
            table = house.make("side table")
            back = (float(table.size_m[0]) - float(sofa.piece.size_m[0])) / 2
            at = sofa.world([back, side * (half + 0.04 + float(table.size_m[1]) / 2)])
            placed = house.put_at(space, "side table", table, at, sofa.spot.yaw_rad)
            if placed is not None and rng.random() < 0.7:
                house.put_on(placed, "lamp", house.make("lamp"), at=(0.0, 0.0), yaw_rad=0.0)


def _television(house: Household, space: RoomSpace, sofa: Placed | None) -> None:
    rng = house.rng
    stand = house.make("tv stand")
    spots = space.wall_spots(rng, stand.size_m, _TRIES, snug=0.1)
    if sofa is not None:
        spots = _facing(space, sofa, stand.size_m[0] / 2 + WALL_GAP_M, spots)
    tv = house.make("tv")
    with_tv = np.asarray(stand.size_m, dtype=float) + np.array([0.0, 0.0, float(tv.size_m[2])])
    room = space.clear(space.boxes_of(with_tv, spots, None)[0])
    spots = Spots(spots.centre_m[room], spots.yaw_rad[room])
    placed = house.put(space, "tv stand", stand, spots, gap_m=0.8)
    if placed is not None:
        house.put_on(placed, "tv", tv, at=(0.0, 0.0), yaw_rad=0.0)
        if rng.random() < 0.5:
            speaker = house.make("speaker")
            reach = float(stand.size_m[1]) / 2 - 0.16
            for side in (-reach, reach):
                house.put_on(placed, "speaker", speaker, at=(0.0, side), yaw_rad=0.0)


def _facing(space: RoomSpace, sofa: Placed, inward_m: float, others: Spots) -> Spots:
    """Spots on the walls opposite a sofa, straight before it first; then the others."""
    facing = np.array([np.cos(sofa.spot.yaw_rad), np.sin(sofa.spot.yaw_rad)])
    walls = [k for k, edge in enumerate(space.walls) if edge.inward @ facing < -0.9]
    here = np.array([sofa.spot.x_m, sofa.spot.y_m])
    chosen, along = [], []
    for k in walls:
        middle = float((here - space.walls[k].start) @ space.walls[k].along)
        for shift in (0.0, 0.25, -0.25, 0.5, -0.5, 0.8, -0.8):
            chosen.append(k)
            along.append(middle + shift)
    if not chosen:
        return others
    ahead = space.on_walls(np.array(chosen), np.array(along), inward_m)
    return Spots(np.concatenate([ahead.centre_m, others.centre_m]), np.concatenate([ahead.yaw_rad, others.yaw_rad]))


def dining_set(house: Household, space: RoomSpace) -> None:
    """A table with chairs that face it."""
    rng = house.rng
    table, chair = house.make("dining table"), house.make("chair")
    reach = float(chair.size_m[0]) + 0.12
    whole = np.asarray(table.size_m, dtype=float) + np.array([2 * reach, 2 * reach, 0.0])
    room = np.maximum((space.high - space.low) / 2 - 0.5, 0.1)
    centre = (space.low + space.high) / 2 + rng.uniform(-1, 1, size=(_TRIES, 2)) * room
    spots = Spots(centre, np.asarray(rng.integers(2, size=_TRIES) * (np.pi / 2), dtype=float))
    boxes, _ = space.boxes_of(whole, spots, None)
    free = space.clear(boxes)
    if space.kind == "dining room":  # its table may stand closer to a wall than chairs on all sides would allow
        spots = Spots(np.concatenate([centre[free], centre]), np.concatenate([spots.yaw_rad[free], spots.yaw_rad]))
    else:
        spots = Spots(centre[free], spots.yaw_rad[free])
    placed = house.put(space, "dining table", table, spots)
    if placed is None:
        return
    for side in (-1.0, 1.0):
        across = float(table.size_m[1])
        seats = max(1, int((across - 0.1) / 0.62))
        for k in range(seats):
            _seat(house, space, placed, chair, 0.0, side, ((k + 0.5) / seats - 0.5) * (across - 0.1))
        if rng.random() < 0.5 or across < 1.25:
            _seat(house, space, placed, chair, np.pi / 2, side, 0.0)


def _seat(
    house: Household, space: RoomSpace, table: Placed, chair: Piece, turn: float, side: float, along: float
) -> None:
    rng = house.rng
    away = side * (float(table.piece.size_m[0 if turn == 0 else 1]) / 2 + float(rng.uniform(0.05, 0.14)))
    away += side * float(chair.size_m[0]) / 2
    local = (away, along) if turn == 0 else (along, away)
    yaw = table.spot.yaw_rad + turn + (np.pi if side > 0 else 0.0)
    house.put_at(space, "chair", chair, table.world(local), yaw)


def bed_and_nightstands(house: Household, space: RoomSpace, label: str = "bed") -> None:
    """A bed with its head at a wall and a nightstand with a lamp on each side where there is room."""
    rng = house.rng
    bed = house.make(label)
    spots = space.wall_spots(rng, bed.size_m, _TRIES, snug=0.15 if label == "bed" else 0.7)
    placed = house.put(space, label, bed, spots, gap_m=0.4)
    if placed is None:
        if label == "bed":
            bed_and_nightstands(house, space, "single bed")
        return
    stand = house.make("nightstand")
    lamp = house.make("lamp")
    for side in (-1.0, 1.0):
        back = (float(stand.size_m[0]) - float(bed.size_m[0])) / 2
        at = placed.world([back, side * (float(bed.size_m[1] + stand.size_m[1]) / 2 + 0.04)])
        beside = house.put_at(space, "nightstand", stand, at, placed.spot.yaw_rad)
        if beside is not None and rng.random() < 0.75:
            house.put_on(beside, "lamp", lamp, at=(-0.02, 0.0), yaw_rad=0.0)
    if label == "bed" and rng.random() < 0.5:
        house.put_on(placed, "pillow", house.make("pillow"))
    if rng.random() < 0.35:
        house.put_on(placed, "blanket", house.make("blanket"))


def bunk_or_single_bed(house: Household, space: RoomSpace) -> None:
    """A child's bed."""
    label = "bunk bed" if house.rng.random() < 0.4 and house.counts["bunk bed"] == 0 else "single bed"
    if label == "single bed":
        bed_and_nightstands(house, space, label)
        return
    piece = house.make(label)
    house.put(space, label, piece, space.wall_spots(house.rng, piece.size_m, _TRIES, snug=0.7), gap_m=0.3)


def desk_and_chair(house: Household, space: RoomSpace) -> None:
    """A desk at a wall, an office chair facing it, and a computer."""
    rng = house.rng
    desk = house.make("desk")
    placed = house.put(space, "desk", desk, space.wall_spots(rng, desk.size_m, _TRIES), gap_m=0.8)
    if placed is None:
        return
    chair = house.make("office chair")
    away = float(desk.size_m[0] + chair.size_m[0]) / 2 + float(rng.uniform(0.06, 0.2))
    yaw = placed.spot.yaw_rad + np.pi + float(rng.uniform(-0.3, 0.3))
    spots = [placed.world([away + 0.1 * k, 0.0]) for k in range(3)]
    house.put(space, "office chair", chair, Spots(np.array(spots), np.full(3, yaw)))
    if rng.random() < 0.6 or not house.allowed("laptop"):
        back = -float(desk.size_m[0]) / 2 + 0.17
        screens = 2 if desk.size_m[1] > 1.45 and rng.random() < 0.4 else 1
        screen = house.make("monitor")
        for k in range(screens):
            shift = 0.0 if screens == 1 else (k - 0.5) * (float(screen.size_m[1]) + 0.04)
            house.put_on(placed, "monitor", screen, at=(back, shift), yaw_rad=0.0)
        house.put_on(placed, "keyboard", house.make("keyboard"), at=(0.12, 0.0), yaw_rad=0.0)
        house.put_on(placed, "mouse", house.make("mouse"), at=(0.12, -0.31), yaw_rad=0.0)
    else:
        house.put_on(placed, "laptop", house.make("laptop"), at=(0.06, 0.0), yaw_rad=float(rng.uniform(-0.2, 0.2)))


_RUN = (
    ("refrigerator", "kitchen counter", "sink", "kitchen counter", "stove", "kitchen counter"),
    ("kitchen counter", "stove", "kitchen counter", "sink", "dishwasher", "refrigerator"),
    ("refrigerator", "kitchen counter", "stove", "kitchen counter", "sink", "dishwasher"),
)


def kitchen_run(house: Household, space: RoomSpace) -> None:
    """Units side by side along a wall, cupboards and a hood above them; what does not fit goes to other walls."""
    rng = house.rng
    labels = list(_RUN[int(rng.integers(len(_RUN)))])
    if rng.random() < 0.5:
        labels.reverse()
    pieces = {label: house.make(label) for label in sorted(set(labels))}
    order = sorted(range(len(space.walls)), key=lambda k: -space.walls[k].length_m)
    for wall in order[:3]:
        labels = _run_along(house, space, wall, labels, pieces)
        if not labels:
            break
    for label in labels:
        if label != "kitchen counter":
            piece = pieces[label]
            house.put(space, label, piece, space.wall_spots(rng, piece.size_m, _TRIES, snug=0.6), gap_m=0.5)


def _run_along(
    house: Household, space: RoomSpace, wall: int, labels: list[str], pieces: dict[str, Piece]
) -> list[str]:
    """Units in order along one wall from its start; the labels that found no place."""
    edge = space.walls[wall]
    along = WALL_GAP_M
    waiting = [label for label in labels if house.allowed(label)]
    while waiting and along < edge.length_m:
        label = waiting[0]
        piece = pieces[label]
        depth, width = float(piece.size_m[0]), float(piece.size_m[1])
        spots = space.on_walls(np.array([wall]), np.array([along + width / 2]), np.array([WALL_GAP_M + depth / 2]))
        placed = house.put(space, label, piece, spots, gap_m=0.5, air_m=0.0)
        if placed is None:
            along += 0.15  # a door or a window in the way: the run goes on behind it
            continue
        waiting.pop(0)
        _above(house, space, wall, along + width / 2, label)
        along += width + 0.003
    return waiting


def _above(house: Household, space: RoomSpace, wall: int, along: float, label: str) -> None:
    above = {"kitchen counter": "kitchen cabinet", "stove": "range hood", "dishwasher": "kitchen cabinet"}.get(label)
    if above is None:
        return
    piece = house.make(above)
    spots = space.on_walls(np.array([wall]), np.array([along]), np.array([0.006 + float(piece.size_m[0]) / 2]))
    bottom = 1.62 if above == "range hood" else 1.48
    house.put(space, above, piece, spots, bottom_m=bottom, air_m=0.0)


def bathroom_set(house: Household, space: RoomSpace) -> None:
    """Bathtub or shower, a basin with a mirror above it, and a toilet."""
    rng = house.rng
    bath = "bathtub" if rng.random() < 0.6 and house.allowed("bathtub") else "shower"
    piece = house.make(bath)
    if house.put(space, bath, piece, space.wall_spots(rng, piece.size_m, _TRIES, snug=0.9)) is None:
        piece = house.make("shower")
        house.put(space, "shower", piece, space.wall_spots(rng, piece.size_m, _TRIES, snug=0.9))
    basin = house.make("washbasin")
    placed = house.put(space, "sink", basin, space.wall_spots(rng, basin.size_m, _TRIES), gap_m=0.4)
    if placed is not None:
        mirror = house.make("mirror")
        back = -float(basin.size_m[0]) / 2 - WALL_GAP_M + 0.006 + float(mirror.size_m[0]) / 2
        house.put_at(space, "mirror", mirror, placed.world([back, 0.0]), placed.spot.yaw_rad, bottom_m=1.2)
    toilet = house.make("toilet")
    house.put(space, "toilet", toilet, space.wall_spots(rng, toilet.size_m, _TRIES), gap_m=0.35)


def _living(house: Household, space: RoomSpace) -> None:
    sofa_and_television(house, space)
    if house.rng.random() < 0.25 and np.prod(space.high - space.low) > 24:
        dining_set(house, space)


def _kitchen(house: Household, space: RoomSpace) -> None:
    kitchen_run(house, space)
    if house.rng.random() < 0.55:
        dining_set(house, space)


def _bedroom(house: Household, space: RoomSpace) -> None:
    bed_and_nightstands(house, space)
    if house.rng.random() < 0.35:
        desk_and_chair(house, space)


def _kids(house: Household, space: RoomSpace) -> None:
    bunk_or_single_bed(house, space)
    if house.rng.random() < 0.6:
        desk_and_chair(house, space)


def _office(house: Household, space: RoomSpace) -> None:
    desk_and_chair(house, space)
    if house.rng.random() < 0.35:
        desk_and_chair(house, space)


MAIN_GROUPS: dict[str, Callable[[Household, RoomSpace], None]] = {
    "living room": _living,
    "kitchen": _kitchen,
    "dining room": dining_set,
    "bedroom": _bedroom,
    "kids room": _kids,
    "office": _office,
    "bathroom": bathroom_set,
}
"""What a room of each kind is about, placed before anything else."""

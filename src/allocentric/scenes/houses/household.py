"""The things of one house while it is furnished: making pieces, naming them, putting them on each other."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from allocentric.core.geometry import pose
from allocentric.core.types import Object
from allocentric.scenes.furniture.catalog import categories
from allocentric.scenes.furniture.model import Category, Piece
from allocentric.scenes.houses.placement import RoomSpace, Spot, Spots

_TRIES = 24
_SURFACE_TRIES = 6


@dataclass(slots=True, eq=False)
class Placed:
    """A piece at its place."""

    id: str
    label: str
    piece: Piece
    spot: Spot
    space: RoomSpace
    obstacle: int
    """Its box among the room's."""
    on_surface: list[tuple[int, NDArray[np.float64]]] = field(default_factory=list)
    """Surface number and (x0, y0, x1, y1) in the piece's frame of what stands on it."""

    def world(self, local_xy: ArrayLike) -> NDArray[np.float64]:
        """Points (..., 2) of the piece's frame in the world."""
        cos, sin = np.cos(self.spot.yaw_rad), np.sin(self.spot.yaw_rad)
        turn = np.array([[cos, -sin], [sin, cos]])
        return np.asarray(np.asarray(local_xy, dtype=float) @ turn.T + (self.spot.x_m, self.spot.y_m))


class Household:
    """Everything placed so far."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.categories = categories()
        self.placed: list[Placed] = []
        self.objects: list[Object] = []
        self.counts: Counter[str] = Counter()
        self._rug_ids: dict[tuple[str, int], str] = {}

    def make(self, label: str) -> Piece:
        """A new piece of a category."""
        return self.categories[label].make(self.rng)

    def allowed(self, label: str) -> bool:
        """Whether the house may have one more."""
        return self.counts[label] < self.categories[label].per_house

    def put(
        self, space: RoomSpace, label: str, piece: Piece, spots: Spots, *, bottom_m: float | None = None,
        gap_m: float = 0.0, air_m: float = 0.015,
    ) -> Placed | None:  # fmt: skip
        """Place a piece at the first of the candidate spots that suits; None where none does."""
        if not self.allowed(label) or len(spots.yaw_rad) == 0:
            return None
        spot = space.put(piece.size_m, spots, bottom_m=bottom_m, gap_m=gap_m, air_m=air_m)
        if spot is None:
            return None
        support = None if spot.rug is None else self._rug_ids[space.id, spot.rug]
        return self._add(space, label, piece, spot, space.count - 1, support)

    def put_at(
        self, space: RoomSpace, label: str, piece: Piece, xy_m: ArrayLike, yaw_rad: float, *,
        bottom_m: float | None = None, air_m: float = 0.015,
    ) -> Placed | None:  # fmt: skip
        """Place a piece at one spot, if it suits."""
        spots = Spots(np.atleast_2d(np.asarray(xy_m, dtype=float)), np.array([yaw_rad]))
        return self.put(space, label, piece, spots, bottom_m=bottom_m, air_m=air_m)

    def lay(self, space: RoomSpace, label: str, piece: Piece, spots: Spots) -> Placed | None:
        """Lay a rug or mat: flat on bare floor, and things may stand on it."""
        boxes, _ = space.boxes_of(piece.size_m, spots, 0.0)
        for k in np.flatnonzero(space.clear(boxes)):
            index = space.take(boxes[k], blocks=False, rug=True)
            x, y = spots.centre_m[k]
            spot = Spot(float(x), float(y), 0.0, float(spots.yaw_rad[k]), None)
            placed = self._add(space, label, piece, spot, index, None)
            self._rug_ids[space.id, index] = placed.id
            return placed
        return None

    def put_on(
        self, below: Placed, label: str, piece: Piece, *, surface: int | None = None,
        at: tuple[float, float] | None = None, yaw_rad: float | None = None,
    ) -> Placed | None:  # fmt: skip
        """Stand a piece on another; `at` and `yaw_rad` are in the lower piece's frame, None is any."""
        choices = range(len(below.piece.surfaces)) if surface is None else [surface]
        numbers = [k for k in choices if piece.size_m[2] + 0.005 <= below.piece.surfaces[k].clearance_m]
        if not numbers or not self.allowed(label):
            return None
        rng = self.rng
        for attempt in range(_SURFACE_TRIES if at is None else 1):
            number = numbers[int(rng.integers(len(numbers)))]
            face = below.piece.surfaces[number]
            # Straighter from try to try, since a narrow board may only take things that lie along it.
            loose = 0.5 * (1 - attempt / (_SURFACE_TRIES - 1))
            turn = float(rng.uniform(-loose, loose)) if yaw_rad is None else yaw_rad
            half = _turned_half(piece, turn)
            room = np.array(face.size_m) / 2 - half
            if np.any(room < 0):
                continue
            centre = np.array(face.centre_m[:2]) + (rng.uniform(-room, room) if at is None else np.asarray(at))
            placed = self._try_on(below, label, piece, number, centre, half, turn)
            if placed is not None:
                return placed
        return None

    def _try_on(
        self, below: Placed, label: str, piece: Piece, number: int, centre: NDArray[np.float64],
        half: NDArray[np.float64], turn: float,
    ) -> Placed | None:  # fmt: skip
        mine = np.concatenate([centre - half - 0.006, centre + half + 0.006])
        if any(k == number and _meet(mine, other) for k, other in below.on_surface):
            return None
        surface_z = below.piece.surfaces[number].centre_m[2]
        bottom = below.spot.bottom_m + float(below.piece.size_m[2]) / 2 + surface_z
        yaw = below.spot.yaw_rad + turn
        spots = Spots(np.atleast_2d(below.world(centre)), np.array([yaw]))
        boxes, _ = below.space.boxes_of(piece.size_m, spots, bottom)
        if not below.space.clear(boxes, air_m=0.0, ignore=[below.obstacle])[0]:
            return None
        index = below.space.take(boxes[0], blocks=False)
        spot = Spot(float(spots.centre_m[0, 0]), float(spots.centre_m[0, 1]), bottom, yaw, None)
        placed = self._add(below.space, label, piece, spot, index, below.id)
        below.on_surface.append((number, mine))
        return placed

    def _add(
        self, space: RoomSpace, label: str, piece: Piece, spot: Spot, obstacle: int, support: str | None
    ) -> Placed:
        self.counts[label] += 1
        name = f"{label.replace(' ', '-')}-{self.counts[label]}"
        placed = Placed(name, label, piece, spot, space, obstacle)
        self.placed.append(placed)
        centre = [spot.x_m, spot.y_m, spot.bottom_m + float(piece.size_m[2]) / 2]
        self.objects.append(
            Object(
                id=name, label=label, world_from_object=pose(centre, spot.yaw_rad), size_m=piece.size_m,
                mesh=piece.mesh, attributes={"color": piece.color}, room_id=space.id, supported_by=support,
            )
        )  # fmt: skip
        return placed


def candidates(rng: np.random.Generator, space: RoomSpace, category: Category, piece: Piece) -> Spots:
    """Places of the category's own kind for a piece."""
    if category.spot == "corner":
        return space.corner_spots(rng, piece.size_m, _TRIES)
    if category.spot in ("free", "layer"):
        return space.free_spots(rng, _TRIES, turned=category.spot == "free")
    if category.spot == "hung":
        return space.wall_spots(rng, piece.size_m, _TRIES, snug=0.0, gap_m=0.006)
    return space.wall_spots(rng, piece.size_m, _TRIES)


def _turned_half(piece: Piece, yaw_rad: float) -> NDArray[np.float64]:
    cos, sin = abs(np.cos(yaw_rad)), abs(np.sin(yaw_rad))
    x, y = float(piece.size_m[0]) / 2, float(piece.size_m[1]) / 2
    return np.array([cos * x + sin * y, sin * x + cos * y])


def _meet(a: NDArray[np.float64], b: NDArray[np.float64]) -> bool:
    return bool(np.all(a[:2] < b[2:]) and np.all(a[2:] > b[:2]))

"""Setting things down where the walker will see them, beside a piece of furniture that says where it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from allocentric.core.geometry import box_corners
from allocentric.core.types import Camera, Object, Scene
from allocentric.datasets.supersensing._eyes import Eyes
from allocentric.scenes.furniture.catalog import categories
from allocentric.scenes.stream import Edit, Put, Stream, Visit
from allocentric.scenes.walkable import WalkableMap, walkable_map

Array = NDArray[np.float64]

THINGS = (
    "backpack", "ball", "bucket", "exercise bike", "fan", "globe", "guitar", "ladder", "teddy bear", "umbrella stand",
    "vacuum cleaner",
)  # fmt: skip
"""What is set down. No house of a quiz has them of its own, so each name means one thing."""
APART_M = 1.0
"""Between two things set down in one house; also how far a thing moves at least."""
_BESIDE_M = 0.5
_WAY_M = 0.2
_NEAREST_M, _FARTHEST_M = 1.4, 4.5
_INSIDE_VIEW = 0.8
_LEAST_FRAMES = 1
_TALL_M = 0.6
_LANDMARK_M2, _LANDMARK_HEIGHT_M = 0.12, 0.4
_SPOT_GRID = 3
_LINE_SAMPLES = 40
_TRIED = 120


@dataclass(frozen=True, slots=True)
class Spot:
    """A place on the floor."""

    xy_m: tuple[float, float]
    """In the house's frame."""
    yaw_rad: float
    """Heading of what is set down there."""
    room_id: str
    """Room of the place."""
    beside: str
    """Id of the furniture it is next to."""
    beside_label: str
    """Its name, which no other object of the house has."""


@dataclass(slots=True, eq=False)
class Slot:
    """A thing in one house during some stretches, at the first of its spots that works."""

    id: str
    """Id of the thing over the whole stream."""
    label: str
    """Its name."""
    look: int
    """Seed of its shape."""
    house: int
    """Where."""
    stretches: tuple[int, ...]
    """When."""
    spots: list[Spot] = field(repr=False)
    """Places left to try; the first is in use."""
    seen_with_neighbour: bool = False
    """Whether one frame has to show it together with the furniture beside it."""
    elsewhere: bool = True
    """Whether it has to keep away from where the same thing is at other times."""

    @property
    def spot(self) -> Spot:
        """Where it is."""
        return self.spots[0]

    def put(self) -> Put:
        """As the stream sets it down."""
        spot = self.spot
        return Put(
            id=self.id,
            label=self.label,
            look=self.look,
            bottom_m=(*spot.xy_m, 0.0),
            yaw_rad=spot.yaw_rad,
            room_id=spot.room_id,
            on=None,
        )


def spots_for(
    stream: Stream, house: int, routes: Iterable[int], label: str, look: int, rng: np.random.Generator
) -> list[Spot]:
    """Free places for a thing in random order, each in the view of the camera along every route, as a map tells.

    Empty where the house has none.
    """
    routes, scene = list(routes), stream.scene(house)
    size_m = categories()[label].make(np.random.default_rng(look)).size_m
    radius_m = float(np.hypot(*size_m[:2])) / 2
    floor = walkable_map(scene, radius_m + 0.02)
    cells = np.argwhere(floor.free & (floor.room >= 0))[::_SPOT_GRID]
    xy, rooms = floor.world_from_cell(cells), floor.room[tuple(cells.T)]
    beside = _beside(scene, xy, [floor.room_ids[room] for room in rooms], radius_m + _BESIDE_M)
    eyes = np.array([camera.world_from_camera[:2, 3] for route in routes for camera in stream.cameras(house, route)])
    clear = np.linalg.norm(xy[:, None] - eyes[None], axis=-1).min(axis=1) > radius_m + _WAY_M
    chosen = rng.permutation(np.flatnonzero(clear & (beside[0] >= 0)))[:_TRIED]
    tall = walkable_map(replace(scene, objects=_taller(scene, _TALL_M)), 0.0)
    seen = np.ones(len(chosen), dtype=bool)
    for route in routes:
        seen &= _frames_in_view(xy[chosen], stream.cameras(house, route), tall) >= _LEAST_FRAMES
    return [
        Spot(
            xy_m=(round(float(xy[k, 0]), 3), round(float(xy[k, 1]), 3)),
            yaw_rad=float(rng.uniform(-np.pi, np.pi)),
            room_id=floor.room_ids[int(rooms[k])],
            beside=beside[1][beside[0][k]].id,
            beside_label=beside[1][beside[0][k]].label,
        )
        for k in chosen[seen]
    ]


def settle(slots: Sequence[Slot], visits: Sequence[Visit], eyes: Eyes) -> tuple[tuple[Visit, ...], list[Slot]]:
    """Put every slot's thing where each of its stretches shows it.

    Returns:
        The visits with their things, and the slots for which no place was left: their things are not there.
    """
    lost: list[Slot] = []
    while True:
        _spread(slots, lost)
        placed = with_slots(visits, [slot for slot in slots if slot not in lost])
        failed = [slot for slot in slots if slot not in lost and not _shown(slot, placed, eyes)]
        if not failed:
            return placed, lost
        for slot in failed:
            slot.spots.pop(0)


def with_slots(visits: Sequence[Visit], slots: Sequence[Slot]) -> tuple[Visit, ...]:
    """Visits with the things of slots set down."""
    puts: dict[int, list[Put]] = {}
    for slot in slots:
        for stretch in slot.stretches:
            puts.setdefault(stretch, []).append(slot.put())
    return tuple(
        replace(visit, edit=Edit(put=tuple(sorted(puts[stretch], key=lambda put: put.id))))
        if stretch in puts
        else visit
        for stretch, visit in enumerate(visits)
    )


def _spread(slots: Sequence[Slot], lost: list[Slot]) -> None:
    """Drop spots too near to another slot's of the house; a slot without any is lost."""
    taken: dict[int, list[Slot]] = {}
    for slot in slots:
        if slot in lost:
            continue
        others = [other.spot.xy_m for other in taken.get(slot.house, []) if _must_be_apart(slot, other)]
        while slot.spots and any(np.hypot(*np.subtract(slot.spot.xy_m, other)) < APART_M for other in others):
            slot.spots.pop(0)
        if slot.spots:
            taken.setdefault(slot.house, []).append(slot)
        else:
            lost.append(slot)


def _must_be_apart(slot: Slot, other: Slot) -> bool:
    return bool(set(slot.stretches) & set(other.stretches)) or (slot.id == other.id and slot.elsewhere)


def _shown(slot: Slot, visits: Sequence[Visit], eyes: Eyes) -> bool:
    for stretch in slot.stretches:
        frames = [frame for frame in eyes.pixels(visits[stretch]) if slot.id in frame]
        if slot.seen_with_neighbour:
            frames = [frame for frame in frames if slot.spot.beside in frame]
        if not frames:
            return False
    return True


def _landmarks(scene: Scene) -> list[Object]:
    """Furniture on the floor that is large and the only one of its name in the house."""
    labels = [thing.label for thing in scene.objects]
    return [
        thing
        for thing in scene.objects
        if labels.count(thing.label) == 1
        and thing.world_from_object[2, 3] - thing.size_m[2] / 2 < 0.1
        and thing.size_m[2] > _LANDMARK_HEIGHT_M
        and thing.size_m[0] * thing.size_m[1] > _LANDMARK_M2
    ]


def _taller(scene: Scene, height_m: float) -> tuple[Object, ...]:
    return tuple(o for o in scene.objects if o.world_from_object[2, 3] + o.size_m[2] / 2 > height_m)


def _beside(
    scene: Scene, xy: Array, room_ids: Sequence[str], most_m: float
) -> tuple[NDArray[np.int64], Sequence[Object]]:
    """For each point (N, 2) the number of the landmark of its room nearest to it, -1 where none is near, and those."""
    landmarks = _landmarks(scene)
    if not landmarks:
        return np.full(len(xy), -1), landmarks
    gap_m = np.stack([_gap_m(xy, thing) for thing in landmarks], axis=1)
    same_room = np.array(room_ids)[:, None] == np.array([thing.room_id for thing in landmarks])
    gap_m = np.where(same_room, gap_m, np.inf)
    return np.where(gap_m.min(axis=1) < most_m, gap_m.argmin(axis=1), -1), landmarks


def _gap_m(xy: Array, thing: Object) -> Array:
    """(N,) distances in the ground plane from points to the axis-aligned box around a thing."""
    corners = box_corners(thing.world_from_object, thing.size_m)[:, :2]
    outside = np.maximum(np.maximum(corners.min(axis=0) - xy, xy - corners.max(axis=0)), 0.0)
    return np.asarray(np.hypot(outside[:, 0], outside[:, 1]))


def _frames_in_view(xy: Array, cameras: Sequence[Camera], tall: WalkableMap) -> NDArray[np.int64]:
    """(N,) number of cameras that have each point (N, 2) before them, near enough and with nothing tall between."""
    intrinsics = cameras[0].intrinsics_px
    assert intrinsics is not None
    half_rad = np.arctan(cameras[0].width_px / 2 / intrinsics[0, 0]) * _INSIDE_VIEW
    eye = np.array([camera.world_from_camera[:2, 3] for camera in cameras])
    forward = np.array([camera.world_from_camera[:2, 2] for camera in cameras])
    way = xy[:, None] - eye[None]
    gap_m = np.linalg.norm(way, axis=-1)
    ahead = np.sum(way * forward, axis=-1) / np.maximum(gap_m * np.linalg.norm(forward, axis=-1), 1e-9)
    points, numbers = np.nonzero((gap_m > _NEAREST_M) & (gap_m < _FARTHEST_M) & (ahead > np.cos(half_rad)))
    share = np.linspace(0.0, 1.0, _LINE_SAMPLES)[:, None]
    cells = tall.cell_from_world(eye[numbers][:, None] + share * way[points, numbers][:, None])
    inside = np.all((cells >= 0) & (cells < tall.free.shape), axis=-1)
    clipped = np.clip(cells, 0, np.array(tall.free.shape) - 1)
    free = (inside & tall.free[clipped[..., 0], clipped[..., 1]]).all(axis=1)
    return np.bincount(points[free], minlength=len(xy))

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
_BESIDE_M = 0.35
_WAY_M = 0.3
_NEAREST_M, _FARTHEST_M = 1.4, 4.5
_INSIDE_VIEW = 0.8
_LEAST_FRAMES = 2
_TALL_M = 0.6
_LANDMARK_M2, _LANDMARK_HEIGHT_M = 0.12, 0.4
_SPOT_GRID = 3
_LINE_SAMPLES = 40


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
    """Free places for a thing in random order, each in the view of the camera along every route, as far as a map tells.

    Empty where the house has none.
    """
    scene = stream.scene(house)
    size_m = categories()[label].make(np.random.default_rng(look)).size_m
    radius_m = float(np.hypot(*size_m[:2])) / 2
    floor = walkable_map(scene, radius_m + 0.02)
    cells = np.argwhere(floor.free & (floor.room >= 0))[::_SPOT_GRID]
    xy, rooms = floor.world_from_cell(cells), floor.room[tuple(cells.T)]
    landmarks = _landmarks(scene)
    keep = np.ones(len(xy), dtype=bool)
    tall = walkable_map(replace(scene, objects=_taller(scene, _TALL_M)), 0.0)
    for route in routes:
        cameras = stream.cameras(house, route)
        eyes = np.array([camera.world_from_camera[:2, 3] for camera in cameras])
        gap = np.linalg.norm(xy[:, None] - eyes[None], axis=-1)
        keep &= gap.min(axis=1) > radius_m + _WAY_M
        keep &= _frames_in_view(xy, gap, cameras, tall) >= _LEAST_FRAMES
    found = []
    for k in rng.permutation(np.flatnonzero(keep)):
        room_id = floor.room_ids[int(rooms[k])]
        gaps = [(_gap_m(xy[k], thing), thing) for thing in landmarks if thing.room_id == room_id]
        near = min(gaps, key=lambda pair: pair[0], default=None)
        if near is not None and near[0] < radius_m + _BESIDE_M:
            yaw = float(rng.uniform(-np.pi, np.pi))
            place = (round(float(xy[k, 0]), 3), round(float(xy[k, 1]), 3))
            found.append(Spot(place, yaw, room_id, near[1].id, near[1].label))
    return found


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
        replace(visit, edit=Edit(put=tuple(sorted(puts[stretch], key=lambda put: put.id)))) if stretch in puts else visit
        for stretch, visit in enumerate(visits)
    )


def _spread(slots: Sequence[Slot], lost: list[Slot]) -> None:
    """Drop spots too near to another slot's of the house; a slot without any is lost."""
    taken: dict[int, list[Slot]] = {}
    for slot in slots:
        if slot in lost:
            continue
        others = [other.spot.xy_m for other in taken.get(slot.house, [])]
        while slot.spots and any(np.hypot(*np.subtract(slot.spot.xy_m, other)) < APART_M for other in others):
            slot.spots.pop(0)
        if slot.spots:
            taken.setdefault(slot.house, []).append(slot)
        else:
            lost.append(slot)


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


def _gap_m(xy: Array, thing: Object) -> float:
    """Distance in the ground plane from a point to the axis-aligned box around a thing."""
    corners = box_corners(thing.world_from_object, thing.size_m)[:, :2]
    return float(np.hypot(*np.maximum(np.maximum(corners.min(axis=0) - xy, xy - corners.max(axis=0)), 0.0)))


def _frames_in_view(xy: Array, gap_m: Array, cameras: Sequence[Camera], tall: WalkableMap) -> NDArray[np.int64]:
    """(N,) number of cameras that have each point (N, 2) before them, near enough and with nothing tall between."""
    counts = np.zeros(len(xy), dtype=np.int64)
    for number, camera in enumerate(cameras):
        assert camera.intrinsics_px is not None
        half_rad = np.arctan(camera.width_px / 2 / camera.intrinsics_px[0, 0]) * _INSIDE_VIEW
        eye, forward = camera.world_from_camera[:2, 3], camera.world_from_camera[:2, 2]
        ahead = ((xy - eye) @ forward) / np.maximum(gap_m[:, number] * np.linalg.norm(forward), 1e-9)
        near = (gap_m[:, number] > _NEAREST_M) & (gap_m[:, number] < _FARTHEST_M)
        for k in np.flatnonzero(near & (ahead > np.cos(half_rad))):
            line = eye + np.linspace(0.0, 1.0, _LINE_SAMPLES)[:, None] * (xy[k] - eye)
            cells = tall.cell_from_world(line)
            inside = np.all((cells >= 0) & (cells < tall.free.shape), axis=1)
            counts[k] += bool(inside.all() and tall.free[tuple(cells.T)].all())
    return counts

"""Made-up rooms and views that question types are asked about."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pytest

from allocentric.core.geometry import camera_at, pose
from allocentric.core.types import Camera, Object, Room, Scene, View, Visibility

LABELS = (
    "bed", "lamp", "tv", "plant", "stove", "mirror", "piano", "printer", "backpack", "clock", "trash bin", "stool",
    "radiator", "towel",
)  # fmt: skip
REPEATED = ("chair", "table", "pillow")


def make_object(
    label: str, number: int, xy: tuple[float, float], size: tuple[float, float, float], yaw: float
) -> Object:
    return Object(
        id=f"{label}-{number}",
        label=label,
        world_from_object=pose([*xy, size[2] / 2], yaw),
        size_m=np.array(size),
        room_id="room",
    )


def make_scene(seed: int, unique: int = len(LABELS)) -> Scene:
    """A 9 x 7 m room with one thing of each of `unique` LABELS and a few of each of REPEATED, footprints apart."""
    rng = np.random.default_rng(seed)
    names = [*LABELS[:unique], *(label for label in REPEATED for _ in range(int(rng.integers(2, 5))))]
    objects: list[Object] = []
    for label in names:
        for _ in range(200):
            xy = (float(rng.uniform(0.6, 8.4)), float(rng.uniform(0.6, 6.4)))
            if all(np.hypot(*(np.array(xy) - other.world_from_object[:2, 3])) > 1.1 for other in objects):
                break
        size = tuple(rng.uniform(0.2, 0.7, 3).tolist())
        number = sum(other.label == label for other in objects)
        objects.append(make_object(label, number, xy, size, float(rng.uniform(-np.pi, np.pi))))
    room = Room(
        id="room", kind="living room", floor_polygon_m=np.array([[0, 0], [9, 0], [9, 7], [0, 7.0]]), floor_z_m=0.0,
        height_m=2.6,
    )  # fmt: skip
    return Scene(
        id=f"made-up-{seed}",
        objects=tuple(objects),
        rooms=(room,),
        floor_area_m2=63.0,
        source="made_up",
        license="CC0-1.0",
    )


def make_views(scene: Scene, seed: int) -> tuple[View, ...]:
    """Thirty views, 0.8 s apart; each object is glimpsed first and shown well from a random view on, for six views."""
    rng = np.random.default_rng(seed)
    starts = {thing.id: int(rng.integers(1, 26)) for thing in scene.objects[:-2]}  # the last two are never shown
    views = []
    for frame in range(30):
        visible = {key: Visibility(900, 0.8) for key, start in starts.items() if start <= frame < start + 6}
        visible |= {key: Visibility(15, 0.02) for key, start in starts.items() if frame == start - 1}
        camera = Camera(world_from_camera=camera_at([4.5, 3.5, 1.5], 0.2 * frame), width_px=64, height_px=48)
        views.append(View(camera=camera, time_s=0.8 * frame, visible=visible))
    return tuple(views)


def moved(scene: Scene, world_from_old: np.ndarray) -> Scene:
    """The whole scene moved rigidly about +z and along x, y."""
    objects = tuple(
        replace(thing, world_from_object=world_from_old @ thing.world_from_object) for thing in scene.objects
    )
    rooms = tuple(
        replace(room, floor_polygon_m=room.floor_polygon_m @ world_from_old[:2, :2].T + world_from_old[:2, 3])
        for room in scene.rooms
    )
    return replace(scene, objects=objects, rooms=rooms)


def mirrored(scene: Scene) -> Scene:
    """The scene seen in a mirror: x becomes -x."""
    flip, swap = np.diag([-1.0, 1, 1, 1]), np.diag([1.0, -1, 1, 1])  # the second keeps poses right-handed
    objects = tuple(replace(thing, world_from_object=flip @ thing.world_from_object @ swap) for thing in scene.objects)
    rooms = tuple(replace(room, floor_polygon_m=(room.floor_polygon_m * [-1, 1])[::-1]) for room in scene.rooms)
    return replace(scene, objects=objects, rooms=rooms)


def renamed(scene: Scene, names: Mapping[str, str]) -> Scene:
    """The same things under other category names."""
    return replace(scene, objects=tuple(replace(thing, label=names[thing.label]) for thing in scene.objects))


@pytest.fixture(scope="session")
def scene_of() -> Callable[..., Scene]:
    return make_scene


@pytest.fixture(scope="session")
def views_of() -> Callable[[Scene, int], tuple[View, ...]]:
    return make_views


@pytest.fixture(scope="session")
def object_of() -> Callable[..., Object]:
    return make_object


@pytest.fixture(scope="session")
def move() -> Callable[[Scene, np.ndarray], Scene]:
    return moved


@pytest.fixture(scope="session")
def mirror() -> Callable[[Scene], Scene]:
    return mirrored


@pytest.fixture(scope="session")
def rename() -> Callable[[Scene, Mapping[str, str]], Scene]:
    return renamed

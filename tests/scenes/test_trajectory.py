from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from allocentric.core.catalog import RENDERERS, SOURCES
from allocentric.core.errors import DataError
from allocentric.core.geometry import pose
from allocentric.core.pictures import sample_frames
from allocentric.core.types import Object, Opening, Room, Scene
from allocentric.scenes import routes, trajectory
from allocentric.scenes.walkable import walkable_map


def box(
    name: str, x: float, y: float, size=(0.6, 0.6, 0.8), room: str | None = None, z: float | None = None
) -> Object:
    centre = [x, y, size[2] / 2 if z is None else z]
    return Object(id=name, label=name, world_from_object=pose(centre, 0.3), size_m=np.array(size), room_id=room)


def rectangle(x0: float, y0: float, x1: float, y1: float) -> np.ndarray:
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])


def house(doors: bool = True) -> Scene:
    """Three rooms in a row, each with a door at another height to the next, and furniture in the way."""
    doors_at = [(4.1, 1.0), (8.2, 3.0)]
    ways = [
        Opening(
            kind="door",
            segment_m=np.array([[x, y - 0.45], [x, y + 0.45]]),
            bottom_m=0.0,
            top_m=2.0,
            connects=(f"room{i}", f"room{i + 1}"),
        )
        for i, (x, y) in enumerate(doors_at)
    ]
    floors = [rectangle(0, 0, 4, 4), rectangle(4.2, 0, 8.1, 4), rectangle(8.3, 0, 12, 4)]
    rooms = tuple(
        Room(
            id=f"room{i}",
            kind="bedroom",
            floor_polygon_m=floor,
            floor_z_m=0.0,
            height_m=2.6,
            openings=tuple(way for way in ways if doors and f"room{i}" in way.connects),
        )
        for i, floor in enumerate(floors)
    )
    things = (box("table", 2, 2, (1.2, 0.8, 0.75), "room0"), box("sofa", 6, 2, (2.0, 0.9, 0.8), "room1"))
    return Scene(id="house", objects=things, rooms=rooms, source="test", license="CC0-1.0")


def track(walk: trajectory.Walk) -> tuple[np.ndarray, np.ndarray]:
    poses = np.array([camera.world_from_camera for camera in walk.cameras])
    return poses[:, :3, 3], np.unwrap(np.arctan2(poses[:, 1, 2], poses[:, 0, 2]))


@pytest.fixture(scope="module")
def walked() -> trajectory.Walk:
    return trajectory.walk(house(), np.random.default_rng(1), trajectory.Settings())


def test_walk_visits_every_room(walked):
    grid = walkable_map(house())
    xy, _ = track(walked)
    cells = grid.cell_from_world(xy[:, :2])
    assert set(grid.room[tuple(cells.T)]) >= {0, 1, 2}


@pytest.mark.parametrize("seed", range(4))
def test_walk_stays_on_free_cells(seed):
    grid = walkable_map(house())
    xy, _ = track(trajectory.walk(house(), np.random.default_rng(seed), trajectory.Settings()))
    assert grid.free[tuple(grid.cell_from_world(xy[:, :2]).T)].all()


def test_speeds_are_bounded(walked):
    settings = trajectory.Settings()
    position, yaw = track(walked)
    assert np.linalg.norm(np.diff(position, axis=0), axis=1).max() * settings.fps <= settings.max_speed_m_s + 1e-6
    assert np.abs(np.diff(yaw)).max() * settings.fps <= settings.max_turn_rad_s + 1e-6


def test_walk_is_smooth(walked):
    """No jerk of the gaze: the turning speed changes by less than 3 rad/s within a second."""
    settings = trajectory.Settings()
    _, yaw = track(walked)
    assert np.abs(np.diff(yaw, 2)).max() * settings.fps**2 < 3.0


def test_camera_is_level_and_at_eye_height(walked):
    settings = trajectory.Settings()
    poses = np.array([camera.world_from_camera for camera in walked.cameras])
    np.testing.assert_allclose(poses[:, 2, 3], settings.eye_height_m)
    np.testing.assert_allclose(poses[:, 2, 0], 0.0, atol=1e-12)  # the picture's right has no vertical part
    np.testing.assert_allclose(poses[:, 2, 2], np.sin(settings.pitch_rad))


def test_every_stop_is_looked_around_from(walked):
    """In each room the gaze covers the whole circle, up to the field of view."""
    grid = walkable_map(house())
    position, yaw = track(walked)
    room = grid.room[tuple(grid.cell_from_world(position[:, :2]).T)]
    for index in range(3):
        gaze = np.mod(yaw[room == index], 2 * np.pi)
        gaps = np.diff(np.sort(np.append(gaze, gaze.min() + 2 * np.pi)))
        assert gaps.max() <= trajectory.Settings().horizontal_fov_rad + 0.05


def test_same_seed_same_walk_and_another_seed_another():
    def cameras(seed: int) -> np.ndarray:
        walk = trajectory.walk(house(), np.random.default_rng(seed), trajectory.Settings())
        return np.array([camera.world_from_camera for camera in walk.cameras])

    first, again, other = cameras(3), cameras(3), cameras(4)
    np.testing.assert_array_equal(first, again)
    assert first.shape != other.shape or not np.array_equal(first, other)


def test_unreachable_room_is_named():
    with pytest.raises(DataError, match=r"room 'room.' can't be walked to"):
        trajectory.walk(house(doors=False), np.random.default_rng(0), trajectory.Settings())


def test_boxes_without_rooms_are_walked_between():
    scene = replace(
        house(), rooms=(), objects=tuple(box(f"b{x}{y}", 4 * x, 4 * y) for x in range(2) for y in range(2))
    )
    position, _ = track(trajectory.walk(scene, np.random.default_rng(0), trajectory.Settings()))
    assert np.all((position[:, :2] > -0.5) & (position[:, :2] < 4.5))


def test_cluttered_boxes_without_rooms_are_orbited_from_outside():
    thing = box("bed", 0, 0, (2.0, 1.5, 0.5))
    scene = replace(house(), rooms=(), objects=(thing,))
    walk = trajectory.walk(scene, np.random.default_rng(0), trajectory.Settings())
    position, yaw = track(walk)
    assert np.linalg.norm(position[:, :2], axis=1).min() > 1.25
    assert np.ptp(yaw) > 1.9 * np.pi
    inward = -position[:, :2] / np.linalg.norm(position[:, :2], axis=1, keepdims=True)
    assert np.min(np.cos(yaw) * inward[:, 0] + np.sin(yaw) * inward[:, 1]) > 0.95


def test_scene_without_anything_is_refused():
    with pytest.raises(DataError, match="nowhere to walk"):
        trajectory.walk(replace(house(), rooms=(), objects=()), np.random.default_rng(0), trajectory.Settings())


def test_route_is_the_shortest_without_aversion():
    """Against breadth-first search by hand: 4-connected detour around a wall, costs in whole and diagonal steps."""
    free = np.ones((7, 9), dtype=bool)
    free[1:, 4] = False
    graph = routes.route_graph(free, preferred_clearance=0.0)
    between = routes.routes_between(graph, np.array([[6, 0], [6, 8]]))
    # Down the left side no diagonal may cut the corner at (1, 4): the crossing is (0, 3) -> (0, 4) -> (0, 5).
    assert between.cost[0, 1] == pytest.approx(2 * (3 * np.sqrt(2) + 3) + 2)
    cells = routes.route(graph, between, 0, 1)
    assert free[tuple(cells.T)].all()


@pytest.mark.parametrize("seed", range(5))
def test_smoothed_routes_never_leave_free_cells(seed):
    rng = np.random.default_rng(seed)
    free = rng.random((40, 40)) > 0.25
    graph = routes.route_graph(free, preferred_clearance=3.0)
    area = routes.largest_component(graph)
    stops = np.argwhere(area)[rng.integers(area.sum(), size=4)]
    between = routes.routes_between(graph, stops)
    for a, b in itertools.pairwise(range(4)):
        cells = routes.route(graph, between, a, b)
        line = routes.smooth_route(graph, cells, rounding=4.0, comfortable=2.0)
        assert routes.is_free(free, line).all()
        np.testing.assert_allclose(line[[0, -1]], stops[[a, b]], atol=1e-9)


def test_visiting_order_is_optimal_on_a_line():
    x = np.array([3.0, 0.0, 7.0, 5.0, 1.0])
    cost = np.abs(x[:, None] - x[None])
    tour = routes.visiting_order(cost, first=1)
    assert tour == [1, 4, 0, 3, 2]


@pytest.mark.parametrize("seed", [3, 8, 21])
def test_walks_through_generated_houses(seed):
    """Every room is visited, every camera stands free, and the walk has the camera see nearly everything."""
    module = SOURCES.load("procedural")
    source = module.build(module.Settings(first_seed=seed, count=1, rooms=(2, 5)))
    scene = source.load(source.scene_ids()[0])
    settings = trajectory.Settings(width_px=160, height_px=120)
    walk = trajectory.walk(scene, np.random.default_rng(0), settings)
    grid = walkable_map(scene, settings.radius_m)
    position, _ = track(walk)
    cells = grid.cell_from_world(position[:, :2])
    assert grid.free[tuple(cells.T)].all()
    assert set(grid.room[tuple(cells.T)]) >= set(range(len(scene.rooms)))
    raycast = RENDERERS.load("raycast")
    with raycast.build(scene, raycast.Settings(shadows=False)) as renderer:
        cameras = [walk.cameras[k] for k in sample_frames(48, len(walk.cameras))]
        seen = set().union(*trajectory.look(scene, cameras, renderer))
    assert len(seen) >= 0.8 * len(scene.objects)

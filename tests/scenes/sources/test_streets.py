"""Street scenes: connected ways, nothing inside anything else, the same everywhere, pictures from where one walks."""

from __future__ import annotations

import hashlib
import pickle
import subprocess
import sys
from collections import Counter, deque

import numpy as np
import pytest
import shapely
from clock import cpu_s

from allocentric.core.config import settings_from_mapping
from allocentric.core.errors import DataError, SettingsError
from allocentric.core.geometry import box_corners, boxes_overlap, camera_at
from allocentric.core.types import Camera, Scene
from allocentric.scenes.render import lights, raster
from allocentric.scenes.routes import largest_component, route_graph
from allocentric.scenes.sources.streets import Settings, build, build_streets
from allocentric.scenes.streets.arrange import _ONCE
from allocentric.scenes.walkable import walkable_map

SEEDS = (0, 1, 5)
IDS_OF_DIGEST = (3, 8)


@pytest.fixture(scope="module", params=SEEDS)
def scene(request: pytest.FixtureRequest) -> Scene:
    return build_streets(request.param)


def digest(scene: Scene) -> str:
    out = hashlib.sha256()
    for thing in (*scene.objects, *scene.structure):
        out.update(repr((thing.id, thing.label, thing.attributes, thing.room_id, thing.mesh.materials)).encode())
        for array in (thing.world_from_object, thing.size_m, thing.mesh.positions_m, thing.mesh.triangles):
            out.update(np.ascontiguousarray(array).tobytes())
    for room in scene.rooms:
        out.update(repr((room.id, room.kind, [way.connects for way in room.openings])).encode())
        out.update(room.floor_polygon_m.tobytes())
    return out.hexdigest()


def test_other_processes_build_the_same_bytes() -> None:
    program = (
        "import sys; sys.path[:0] = sys.argv[1:]; from test_streets import IDS_OF_DIGEST, digest; "
        "from allocentric.scenes.sources.streets import build_streets; "
        "print(*(digest(build_streets(seed, (2, 2))) for seed in IDS_OF_DIGEST))"
    )
    printed = subprocess.run(
        [sys.executable, "-c", program, __file__.rpartition("/")[0], *sys.path],
        capture_output=True, text=True, check=True,
        env={"PYTHONHASHSEED": "7", "PATH": "/usr/bin:/bin"},
    ).stdout.split()  # fmt: skip
    assert printed == [digest(build_streets(seed, (2, 2))) for seed in IDS_OF_DIGEST]
    assert len(set(printed)) == len(printed)


def test_ids_are_the_seeds() -> None:
    source = build(Settings(first_seed=41, count=2, blocks=(2, 2)))
    assert source.scene_ids() == ["streets-000041", "streets-000042"]
    scene = pickle.loads(pickle.dumps(source)).load("streets-000042")
    assert (scene.id, scene.source, scene.license) == ("streets-000042", "streets", "CC0-1.0")
    assert digest(scene) == digest(build_streets(42, (2, 2)))
    with pytest.raises(DataError, match="scene id like"):
        source.load("procedural-000042")


@pytest.mark.parametrize("values", [{"blocks": [1, 2]}, {"blocks": [3, 2]}, {"blocks": [2, 4]}, {"first_seed": -1}])
def test_impossible_settings_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(SettingsError):
        settings_from_mapping(Settings, values, where="test")


def reached(start: str, ways: dict[str, set[str]]) -> set[str]:
    seen, left = {start}, deque([start])
    while left:
        for other in ways[left.popleft()] - seen:
            seen.add(other)
            left.append(other)
    return seen


def test_passages_join_all_areas_and_lie_on_both_rims(scene: Scene) -> None:
    ways = {room.id: {r for way in room.openings for r in way.connects} - {room.id} for room in scene.rooms}
    assert reached(scene.rooms[0].id, ways) == set(ways)
    kinds = Counter(room.kind for room in scene.rooms)
    assert set(kinds) == {"sidewalk", "crossing", "square"}
    assert kinds["square"] == 1
    shapes = {room.id: shapely.Polygon(room.floor_polygon_m) for room in scene.rooms}
    for room in scene.rooms:
        for way in room.openings:
            middle = shapely.Point(np.mean(way.segment_m, axis=0))
            assert all(shapes[name].exterior.distance(middle) < 1e-6 for name in way.connects)
    for k, a in enumerate(scene.rooms):
        assert all(shapes[a.id].intersection(shapes[b.id]).area < 1e-6 for b in scene.rooms[k + 1 :])


@pytest.mark.slow
def test_a_walker_reaches_every_area(scene: Scene) -> None:
    """By a flood fill of the free floor that is written here, and by the package's own graph."""
    walkable = walkable_map(scene, radius_m=0.35, cell_m=0.1)
    start = tuple(walkable.room_cells("square")[0])
    seen = np.zeros_like(walkable.free)
    seen[start] = True
    grown = seen
    while grown.any():
        around = np.zeros_like(seen)
        around[1:] |= grown[:-1]
        around[:-1] |= grown[1:]
        around[:, 1:] |= grown[:, :-1]
        around[:, :-1] |= grown[:, 1:]
        grown = around & walkable.free & ~seen
        seen |= grown
    for room in scene.rooms:
        cells = walkable.room_cells(room.id)
        assert len(cells) > 50, room.id
        assert seen[tuple(cells.T)].mean() > 0.9, room.id
    largest = largest_component(route_graph(walkable.free, preferred_clearance=3))
    assert largest[seen].all()


def test_nothing_stands_in_anything_else(scene: Scene) -> None:
    poses = np.stack([thing.world_from_object for thing in scene.objects])
    sizes = np.stack([thing.size_m for thing in scene.objects]) - 1e-6
    for k in range(len(poses) - 1):
        hits = np.flatnonzero(boxes_overlap(poses[k], sizes[k], poses[k + 1 :], sizes[k + 1 :])) + k + 1
        assert not len(hits), (scene.objects[k].id, [scene.objects[int(hit)].id for hit in hits])
    walls = [part for part in scene.structure if part.label == "building"]
    corners = box_corners(poses, sizes)
    for wall in walls:
        half = np.asarray(wall.size_m) / 2 - 1.0  # cornices and balconies stand out of the walls
        off = np.abs(corners - wall.world_from_object[:3, 3])
        assert not (off < half).all(axis=-1).any()


def test_things_stand_on_their_area_and_cars_on_the_road(scene: Scene) -> None:
    rooms = {room.id: shapely.Polygon(room.floor_polygon_m).buffer(1e-6) for room in scene.rooms}
    floor = shapely.union_all(list(rooms.values()))
    for thing in scene.objects:
        corners = box_corners(thing.world_from_object, thing.size_m)
        ground = shapely.MultiPoint(corners[:, :2]).convex_hull
        if thing.room_id is not None:
            assert corners[:, 2].min() == pytest.approx(0.0)
            assert rooms[thing.room_id].covers(ground), thing.id
        elif thing.label == "awning":
            assert corners[:, 2].min() > 1.8
        else:
            assert thing.label in ("car", "van", "bus", "taxi")
            assert corners[:, 2].min() == pytest.approx(-0.12)
            assert floor.intersection(ground).area < 1e-4, thing.id


def test_boxes_are_the_bounds_of_their_meshes(scene: Scene) -> None:
    for thing in (*scene.objects, *scene.structure):
        points = thing.mesh.positions_m
        np.testing.assert_allclose(points.max(axis=0) - points.min(axis=0), thing.size_m, atol=1e-4)
        np.testing.assert_allclose(points.max(axis=0) + points.min(axis=0), 0, atol=1e-4)
        assert np.isfinite(thing.mesh.normals).all()
        np.testing.assert_allclose(np.linalg.norm(thing.mesh.normals, axis=1), 1, atol=1e-4)


def test_many_kinds_of_things_some_once_and_some_often(scene: Scene) -> None:
    counts = Counter(thing.label for thing in scene.objects)
    assert dict(scene.label_counts) == counts
    assert len(counts) >= 25
    assert len({thing.id for thing in scene.objects}) == len(scene.objects)
    once = [label for label, count in counts.items() if count == 1]
    assert len(once) >= 8
    assert {"bus", "taxi"} <= set(once)
    assert set(once) & set(_ONCE)
    assert all(counts[label] >= 4 for label in ("car", "tree", "lamp post", "awning", "traffic light"))


def test_the_sky_holds_no_lamp_and_streets_are_lit_by_the_sun(scene: Scene) -> None:
    assert len(lights.lamps_of(scene).position_m) == 0
    assert lights.lit_rooms(scene) == ()


def test_panoramas_show_sky_above_ground_below_and_a_street_between() -> None:
    scene = build_streets(1, (2, 2))
    walkable = walkable_map(scene, radius_m=0.35, cell_m=0.1)
    seen: set[str] = set()
    with raster.build(scene, raster.Settings()) as renderer:
        for room in [room for room in scene.rooms if room.kind in ("crossing", "square")][:3]:
            cells = walkable.room_cells(room.id)
            x, y = walkable.world_from_cell(cells[len(cells) // 2])
            camera = Camera(
                model="equirectangular", world_from_camera=camera_at((x, y, 1.5), 0.5), width_px=512, height_px=256
            )
            frame = renderer.render(camera, ("rgb", "id"))
            things = (*scene.objects, *scene.structure)
            assert (frame.id[:20] == -1).mean() > 0.9, "sky overhead"
            assert (frame.id[-100:] >= 0).all(), "ground below the horizon"
            assert things[frame.id[-1, 0]].label == room.kind
            seen |= {things[k].label for k in np.unique(frame.id[frame.id >= 0])}
    assert {"building", "road", "sidewalk", "crossing", "car", "tree", "lamp post", "awning"} <= seen


def test_a_scene_is_quick() -> None:
    assert cpu_s(lambda: build_streets(0, (2, 2)), rounds=2) < 2.5  # five times what it takes

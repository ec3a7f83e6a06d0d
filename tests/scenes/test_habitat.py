"""Habitat's scenes and pictures in this package's axes, with a stand-in for the simulator."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose

from allocentric.core.config import settings_from_mapping
from allocentric.core.errors import DataError, MissingPackageError, SettingsError, UserError
from allocentric.core.geometry import box_corners, camera_at, pinhole_intrinsics, pose, rays
from allocentric.core.types import Camera, Object, Scene
from allocentric.envs.explore import FORWARD, Explore
from allocentric.scenes.render import habitat as habitat_renderer
from allocentric.scenes.render import raycast
from allocentric.scenes.sources import habitat as habitat_source

from .fake_habitat import Thing, World, install, stage_mesh

TURN = np.radians(30.0)
# The same three things twice: in our axes (x, y, z up), and by hand in habitat's (x, z, -y).
OURS = {
    "sofa": (pose([2.0, 0.5, 0.5]), [0.4, 0.6, 1.0]),
    "bed": (pose([0.2, 3.0, 0.25], TURN), [2.0, 1.2, 0.5]),
    "lamp": (pose([-1.5, -1.0, 2.0]), [0.3, 0.2, 0.25]),
}
THEIRS = [
    Thing("sofa_7", 7, "sofa", (2.0, 0.5, -0.5), (0.2, 0.5, 0.3)),
    Thing("bed_3", 3, "bed", (0.2, 0.25, -3.0), (1.0, 0.25, 0.6), TURN),
    Thing("lamp_9", 9, "lamp", (-1.5, 2.0, 1.0), (0.15, 0.125, 0.1)),
]
FLOOR = Thing("", 0, "", (0.0, -0.05, 0.0), (4.0, 0.05, 5.0))


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    region = SimpleNamespace(
        id="r0",
        category=SimpleNamespace(name=lambda: "bedroom"),
        poly_loop_points=[(-4.0, -5.0), (4.0, -5.0), (4.0, 5.0), (-4.0, 5.0)],  # habitat's x, z
        floor_height=0.0,
        extrusion_height=2.5,
    )
    made = World(
        things=THEIRS,
        meshes=[(0, FLOOR.mesh())],
        regions=[region],
        bounds=((-4.0, 0.0, -5.0), (4.0, 0.1, 5.0)),
        navigable=lambda x, z: x > 0 and z < -1.0,
    )
    install(monkeypatch, made)
    return made


@pytest.fixture
def stage(tmp_path: Path) -> Path:
    path = tmp_path / "flat.glb"
    path.write_bytes(b"glTF")
    return path


def ours() -> Scene:
    things = tuple(
        Object(id=f"{name}_{k}", label=name, world_from_object=at, size_m=np.array(size))
        for name, k, (at, size) in zip(OURS, (7, 3, 9), OURS.values(), strict=True)
    )
    floor = Object(id="floor", label="floor", world_from_object=pose([0, 0, -0.05]), size_m=np.array([8, 10, 0.1]))
    return Scene(id="flat", objects=things, structure=(floor,), source="test", license="CC0-1.0")


def load(stage: Path, **settings: Any) -> Scene:
    source = habitat_source.build(habitat_source.Settings(path=stage, gpu_device_id=-1, **settings))
    return source.load("flat")


def cameras() -> dict[str, Camera]:
    at = camera_at([0.3, -0.2, 1.4], np.radians(40), np.radians(-12))
    back = camera_at([0.3, -0.2, 1.4], np.radians(-140), np.radians(15))
    size = {"width_px": 96, "height_px": 64}
    lens = pinhole_intrinsics(96, 64, 1.7)
    return {
        "ahead": Camera(world_from_camera=at, intrinsics_px=lens, **size),
        "back": Camera(world_from_camera=back, intrinsics_px=lens, **size),
        "around": Camera(model="equirectangular", world_from_camera=at, width_px=128, height_px=64),
    }


def test_boxes_rooms_and_names_arrive_in_our_axes(world: World, stage: Path) -> None:
    scene = load(stage, license="CC-BY-4.0")
    assert [thing.label for thing in scene.objects] == ["sofa", "bed", "lamp"]
    for thing, (at, size) in zip(scene.objects, OURS.values(), strict=True):
        found, wanted = box_corners(thing.world_from_object, thing.size_m), box_corners(at, size)
        away = np.linalg.norm(found[:, None] - wanted[None], axis=-1)
        assert away.min(axis=1).max() < 1e-9
        assert thing.world_from_object[2, 2] == pytest.approx(1.0)
        assert thing.size_m[2] == pytest.approx(size[2]), "the third edge is the height"
        assert np.linalg.det(thing.world_from_object[:3, :3]) == pytest.approx(1.0)
    (room,) = scene.rooms
    assert (room.kind, room.floor_z_m, room.height_m, scene.floor_area_m2) == ("bedroom", 0.0, 2.5, 80.0)
    x, y = room.floor_polygon_m.T
    assert np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) > 0, "counter-clockwise"
    (part,) = scene.structure
    assert_allclose(part.world_from_object[:3, 3] + part.size_m / 2, [4, 5, 2.125])
    assert scene.license == "CC-BY-4.0"
    assert world.opened[0].simulator.gpu_device_id == -1
    assert world.closed == 1


@pytest.mark.parametrize("name", cameras())
def test_pictures_agree_with_the_ray_caster(world: World, stage: Path, name: str) -> None:
    camera, scene = cameras()[name], load(stage)
    with raycast.build(ours(), raycast.Settings()) as renderer:
        expected = renderer.render(camera, ("depth", "id"))
    with habitat_renderer.build(scene, habitat_renderer.Settings(gpu_device_id=-1)) as renderer:
        frame = renderer.render(camera, ("rgb", "depth", "id"))
        assert renderer.render(camera, ("rgb", "depth", "id")).rgb.tobytes() == frame.rgb.tobytes()
    assert set(np.unique(expected.id)) >= {-1, 1, 3} or name == "back"
    same = frame.id == expected.id
    assert same.mean() > 0.998  # pixels on an edge may fall to either side
    assert np.array_equal(np.isinf(frame.depth_m), frame.id == -1)
    seen = same & (frame.id >= 0)
    assert_allclose(frame.depth_m[seen], expected.depth_m[seen], rtol=1e-4)
    assert (frame.rgb.shape, frame.rgb.dtype, frame.depth_m.dtype, frame.id.dtype) == (
        (camera.height_px, camera.width_px, 3), np.uint8, np.float32, np.int32,
    )  # fmt: skip


def test_a_mirrored_world_would_be_noticed(world: World, stage: Path) -> None:
    mirrored = replace(ours(), objects=tuple(
        replace(thing, world_from_object=np.diag([1, -1, 1, 1]) @ thing.world_from_object @ np.diag([1, -1, 1, 1]))
        for thing in ours().objects
    ))  # fmt: skip
    camera = cameras()["around"]
    with raycast.build(mirrored, raycast.Settings()) as renderer:
        wrong = renderer.render(camera, ("id",)).id
    with habitat_renderer.build(load(stage), habitat_renderer.Settings()) as renderer:
        found = renderer.render(camera, ("id",)).id
    either = ((wrong >= 0) & (wrong < 3)) | ((found >= 0) & (found < 3))
    assert (found == wrong)[either].mean() < 0.5


def test_one_simulator_per_picture_size_and_silhouettes_from_boxes(world: World, stage: Path) -> None:
    scene, views = load(stage), cameras()
    with habitat_renderer.build(scene) as renderer:
        for name in ("ahead", "back", "ahead"):
            renderer.render(views[name], ("rgb",))
        assert len(world.opened) == 2  # the source's, and one for the three pictures
        renderer.render(views["around"], ("rgb",))
        assert len(world.opened) == 3
        alone = renderer.silhouette_px(views["around"], [0, 1, 2])
        visible = renderer.render(views["around"], ("id",)).id
    for k in range(3):
        assert (visible == k).sum() <= 1.05 * alone[k] + 3
        assert alone[k] > 0
    assert world.closed == len(world.opened)


def test_the_pathfinders_map_in_our_axes(world: World, stage: Path) -> None:
    scene = load(stage)
    grid = habitat_source.navigable_map(scene, cell_m=0.1, gpu_device_id=-1)
    # Free where habitat's x > 0 and z < -1, which is our x > 0 and y > 1.
    points = np.array([[1.0, 2.0], [1.0, 0.5], [-1.0, 2.0], [3.5, 4.5], [1.0, -3.0]])
    cells = grid.cell_from_world(points)
    assert grid.free[tuple(cells.T)].tolist() == [True, False, False, True, False]
    assert (grid.room[tuple(cells.T)] == 0).all()
    # And one can walk there.
    env = Explore([scene], walkable=lambda _: grid, sensors=(), task="point")
    env.reset(seed=0)
    env.step(FORWARD)
    assert env.trail_m[:, 0].min() > 0
    assert env.trail_m[:, 1].min() > 0.9


def test_without_outlines_one_room_spans_the_navigation_mesh(world: World, stage: Path) -> None:
    world.regions = []
    (room,) = load(stage).rooms
    assert room.id == "extent"
    assert_allclose([room.floor_polygon_m.min(axis=0), room.floor_polygon_m.max(axis=0)], [[-4, -5], [4, 5]])
    assert room.height_m == pytest.approx(2.125)


def test_things_without_a_box_are_left_out(world: World, stage: Path) -> None:
    world.things = [*THEIRS, Thing("void_1", 1, "void", (0, 0, 0), (0, 0, 0))]
    assert len(load(stage).objects) == 3


def test_a_real_stage_is_taken_as_z_up(monkeypatch: pytest.MonkeyPatch, shared_data: Path) -> None:
    import open3d as o3d

    path = shared_data / "habitat" / "simple_room.glb"
    if not path.is_file():
        pytest.skip(f"{path} is not here")
    install(monkeypatch, World(meshes=[(0, stage_mesh(path))], bounds=((-2.0, 0.0, -2.0), (2.0, 0.0, 2.0))))
    source = habitat_source.build(habitat_source.Settings(path=path.parent, gpu_device_id=-1))
    assert "simple_room" in source.scene_ids()
    scene = source.load("simple_room")
    (part,) = scene.structure
    assert_allclose(part.size_m, [10.5, 10.9, 2.2], atol=0.06)
    mesh = o3d.io.read_triangle_mesh(str(path))
    low, high = np.asarray(mesh.vertices).min(axis=0), np.asarray(mesh.vertices).max(axis=0)
    eye = [*((low + high) / 2)[:2], low[2] + 1.4]
    camera = Camera(model="equirectangular", world_from_camera=camera_at(eye, 0.4), width_px=64, height_px=32)
    caster = o3d.t.geometry.RaycastingScene()
    caster.add_triangles(o3d.t.geometry.TriangleMesh.from_legacy(mesh))
    origins, directions = rays(camera)
    hit = caster.cast_rays(o3d.core.Tensor(np.concatenate([origins, directions], -1).astype(np.float32)))
    expected = hit["t_hit"].numpy()
    with habitat_renderer.build(scene, habitat_renderer.Settings(gpu_device_id=-1)) as renderer:
        found = renderer.render(camera, ("depth",)).depth_m
    assert np.isclose(found, expected, rtol=1e-3).mean() > 0.99
    assert np.isfinite(found[-1]).all(), "there is a floor below"
    assert np.isinf(found[0]).all(), "and no ceiling above"


# ---------------------------------------------------------------------------------------------------------- bad input


def test_without_the_package_the_conda_command_is_named(monkeypatch: pytest.MonkeyPatch, stage: Path) -> None:
    if importlib.util.find_spec("habitat_sim") is not None:
        monkeypatch.setitem(sys.modules, "habitat_sim", None)
    source = habitat_source.build(habitat_source.Settings(path=stage))
    assert source.scene_ids() == ["flat"]
    with pytest.raises(MissingPackageError, match=r"run: conda install habitat-sim=0\.3\.4 headless -c conda-forge"):
        source.load("flat")


def test_what_habitat_cannot_do_is_one_line(world: World, stage: Path, tmp_path: Path) -> None:
    scene, camera = load(stage), cameras()["ahead"]
    with habitat_renderer.build(scene) as renderer:
        with pytest.raises(UserError, match="no normals"):
            renderer.render(camera)
        shifted = replace(camera, intrinsics_px=camera.intrinsics_px + np.array([[0, 0, 3.0], [0, 0, 0], [0, 0, 0]]))
        with pytest.raises(UserError, match="principal point in the middle"):
            renderer.render(shifted, ("rgb",))
        with pytest.raises(UserError, match="got 'orthographic'"):
            renderer.render(replace(camera, model="orthographic"), ("rgb",))
    with pytest.raises(DataError, match="does not come from the scene source 'habitat'"):
        habitat_renderer.build(ours())
    with pytest.raises(DataError, match="there is no habitat scene 'flet'; did you mean 'flat'"):
        habitat_source.build(habitat_source.Settings(path=stage)).load("flet")
    with pytest.raises(DataError, match="no stage file"):
        habitat_source.build(habitat_source.Settings(path=tmp_path / "nothing")).scene_ids()
    with pytest.raises(SettingsError, match="either path, or dataset with scenes"):
        settings_from_mapping(habitat_source.Settings, {}, where="scenes")

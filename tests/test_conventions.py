"""The sentences of CONVENTIONS.md that no other test file proves, and the check that every sentence has its test."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import numpy as np
import pytest

from allocentric.core import geometry
from allocentric.core.types import Camera, Object, Scene

TESTS = Path(__file__).resolve().parent
SOURCE = TESTS.parent / "src" / "allocentric"


def test_every_sentence_names_an_existing_test() -> None:
    sentences = [line for line in (TESTS.parent / "CONVENTIONS.md").read_text().splitlines() if line.startswith("- ")]
    assert len(sentences) > 10
    functions = {name for path in TESTS.rglob("test_*.py") for name in re.findall(r"def (test_\w+)", path.read_text())}
    for sentence in sentences:
        named = re.findall(r"`(test_\w+)`$", sentence)
        assert named, f"no test behind: {sentence}"
        assert set(named) <= functions, f"unknown test behind: {sentence}"


def test_world_is_right_handed_with_z_up() -> None:
    camera = geometry.camera_at([0, 0, 1.5], yaw_rad=0.4)
    above = Camera(model="equirectangular", world_from_camera=camera, width_px=360, height_px=180)
    uv = geometry.project(above, np.array([[0, 0, 9.0]])).uv_px[0]
    assert uv[1] == pytest.approx(0.0)
    assert np.linalg.det(geometry.rotation_z(0.3)) == pytest.approx(1.0)


def test_heading_is_counter_clockwise_from_x() -> None:
    quarter = geometry.camera_at([0, 0, 0], yaw_rad=np.pi / 2)
    np.testing.assert_allclose(quarter[:3, 2], [0, 1, 0], atol=1e-12)
    np.testing.assert_allclose(geometry.pose([0, 0, 0], np.pi / 2)[:3, 0], [0, 1, 0], atol=1e-12)


def test_a_from_b_chains() -> None:
    world_from_table, table_from_cup = geometry.pose([1, 2, 0], 0.5), geometry.pose([0.2, 0.1, 0.8], -0.3)
    point = np.array([0.01, 0.02, 0.03])
    in_world = geometry.transform_points(world_from_table, geometry.transform_points(table_from_cup, point))
    np.testing.assert_allclose(geometry.transform_points(world_from_table @ table_from_cup, point), in_world)


def test_box_is_centred_with_full_edge_lengths() -> None:
    corners = geometry.box_corners(geometry.pose([1, 2, 3]), [2.0, 4.0, 6.0])
    np.testing.assert_allclose(corners.min(axis=0), [0, 0, 0])
    np.testing.assert_allclose(corners.max(axis=0), [2, 4, 6])


def test_panorama_yaw_and_pitch() -> None:
    pose = geometry.camera_at([0, 0, 0], yaw_rad=0.0)
    camera = Camera(model="equirectangular", world_from_camera=pose, width_px=360, height_px=180)
    ahead, right, up = geometry.project(camera, np.array([[1, 0, 0], [0, -1, 0], [1, 0, 1.0]])).uv_px
    np.testing.assert_allclose(ahead, [180, 90])
    np.testing.assert_allclose(right, [270, 90])
    np.testing.assert_allclose(up, [180, 45])


def test_depth_is_z_depth_or_range() -> None:
    pose, point = geometry.camera_at([0, 0, 0], yaw_rad=0.0), np.array([[4.0, -3.0, 0.0]])
    flat = geometry.pinhole_intrinsics(64, 64, 2.0)
    pinhole = Camera(world_from_camera=pose, width_px=64, height_px=64, intrinsics_px=flat)
    panorama = Camera(model="equirectangular", world_from_camera=pose, width_px=64, height_px=32)
    assert geometry.project(pinhole, point).depth_m[0] == pytest.approx(4.0)
    assert geometry.project(panorama, point).depth_m[0] == pytest.approx(5.0)


def names_in(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    names = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg | ast.keyword) and node.arg}
    names |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return names | {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


def test_degrees_are_never_in_names() -> None:
    offenders = {
        (path.name, name)
        for path in SOURCE.rglob("*.py")
        for name in names_in(path)
        if re.search(r"_(deg|degs|degrees|mm|ms|rads|meters|metres)$", name)
    }
    assert not offenders, f"names with another unit than _m _rad _s _px: {sorted(offenders)}"


def test_id_image_values() -> None:
    from allocentric.core.catalog import RENDERERS

    def cube(name: str, x_m: float) -> Object:
        return Object(id=name, label=name, world_from_object=geometry.pose([x_m, 0, 0]), size_m=np.full(3, 0.5))

    scene = Scene(
        id="two cubes", objects=(cube("left", 0.0),), structure=(cube("wall", 2.0),), source="test", license="CC0-1.0"
    )
    intrinsics = np.array([[20.0, 0, 40], [0, 20.0, 10], [0, 0, 1]])
    down = geometry.look_at([0.5, 0, 5], [0.5, 0, 0])
    camera = Camera(model="orthographic", world_from_camera=down, width_px=80, height_px=20, intrinsics_px=intrinsics)
    for name in ("raster", "raycast"):
        module = RENDERERS.load(name)
        with module.build(scene, module.Settings()) as renderer:
            picture = renderer.render(camera, ("rgb", "id"))
        assert picture.rgb.shape == (20, 80, 3)
        assert picture.rgb.dtype == np.uint8
        assert picture.id.dtype == np.int32
        assert set(np.unique(picture.id)) == {-1, 0, 1}, name
        assert picture.id[10, 30] == 0, name
        assert picture.id[10, 70] == 1, name

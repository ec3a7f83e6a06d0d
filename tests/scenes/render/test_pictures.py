"""Panorama resampling, bird's-eye pictures, textures, flattening."""

from __future__ import annotations

import numpy as np
import pytest
from render_test_scenes import box, box_scene, panorama, pinhole, room_scene

from allocentric.core.geometry import project, rays
from allocentric.scenes.render import panorama as resampling
from allocentric.scenes.render import raster, raycast, textures, topdown
from allocentric.scenes.render._targets import TriangleValues
from allocentric.scenes.render._vertices import vertices_of
from allocentric.scenes.render.flatten import flatten, label_material


def field(directions):
    """A smooth function of direction, periodic around the sphere."""
    unit = directions / np.linalg.norm(directions, axis=-1, keepdims=True)
    x, y, z = np.moveaxis(unit, -1, 0)
    return np.stack([x, y + 0.5 * x * z, z], axis=-1).astype(np.float32)


def analytic_panorama(width=256):
    return field(rays(panorama((0, 0, 0), 0.0, width)).directions @ panorama((0, 0, 0), 0.0).world_from_camera[:3, :3])


def test_perspective_from_panorama_is_the_function_itself():
    source = analytic_panorama()
    for yaw, pitch in ((0.0, 0.0), (np.pi, 0.1), (2.0, 1.3), (4.0, -1.5)):
        camera = pinhole((0, 0, 0), yaw, pitch, (90, 70))
        base = panorama((0, 0, 0), 0.0).world_from_camera
        got = resampling.perspective_from_equirectangular(source, camera, base)
        expected = field(rays(camera).directions @ base[:3, :3])
        assert np.abs(got - expected).max() < 0.004  # also across the seam and over the poles


def test_cube_and_back():
    source = analytic_panorama()
    faces = resampling.cube_from_equirectangular(source, 128)
    back = resampling.equirectangular_from_cube(faces, 256)
    assert np.abs(back - source).max() < 0.02
    assert np.abs(faces[1][64, 64] - field(np.array([1.0, 0, 0]))).max() < 0.02  # the second face looks right
    assert np.abs(faces[4][64, 64] - field(np.array([0, -1.0, 0]))).max() < 0.02  # the fifth up


def test_nearest_keeps_whole_numbers():
    ids = np.arange(64 * 32, dtype=np.int32).reshape(32, 64)
    camera = panorama((0, 0, 0), 0.0, 64)
    local = rays(camera).directions @ camera.world_from_camera[:3, :3]
    assert np.array_equal(resampling.sample_equirectangular(ids, local, "nearest"), ids)


def test_perspective_cut_from_a_rendered_panorama_is_the_perspective_picture():
    with raster.build(room_scene()) as renderer:
        wide, flat = panorama((0, 0, 1.3), 0.4, 2048), pinhole((0, 0, 1.3), 0.9, -0.2)
        cut = resampling.perspective_from_equirectangular(
            renderer.render(wide, ("id",)).id, flat, wide.world_from_camera, "nearest"
        )
        assert np.mean(cut == renderer.render(flat, ("id",)).id) > 0.97


def test_bird_eye_picture_marks_objects_where_they_are():
    scene = room_scene()
    with raster.build(scene) as fast, raycast.build(scene) as exact:
        picture = topdown.topdown_picture(scene, fast, width_px=600)
        ids = fast.render(picture.camera, ("id",)).id
        assert np.mean(ids == exact.render(picture.camera, ("id",)).id) > 0.995
        ceiling = len(scene.objects) + 1
        assert not (ids == ceiling).any()
        assert set(picture.marks) == {thing.id for thing in scene.objects}
        assert sorted(picture.marks.values()) == list(range(1, len(scene.objects) + 1))
        some = topdown.topdown_picture(scene, fast, width_px=600, marked=["ball", "box-3"])
        assert some.marks == {"ball": 1, "box-3": 2}
        column, row = project(picture.camera, scene.objects[3].world_from_object[None, :3, 3]).uv_px[0]
        assert ids[int(row), int(column)] == 3
        near = some.image[int(row) - 8 : int(row) + 9, int(column) - 8 : int(column) + 9].reshape(-1, 3)
        assert (near == 255).all(axis=1).any()


def test_bird_eye_picture_has_x_to_the_right_and_y_up():
    scene = box_scene(box("east", (2, 0, 0.5), (0.4, 0.4, 1)), box("north", (0, 2, 0.5), (0.4, 0.4, 1)))
    with raster.build(scene) as renderer:
        ids = renderer.render(topdown.orthographic_camera(scene, 200), ("id",)).id
    east, north = (np.argwhere(ids == k).mean(axis=0) for k in (0, 1))
    assert east[1] > north[1]
    assert north[0] < east[0]


def test_textures_repeat_and_halve():
    tiles = textures.tiles()
    assert tiles.shape == (len(textures.PATTERNS), textures.TILE_PX, textures.TILE_PX, 4)
    levels = textures.mip_levels()
    assert levels[-1].shape[1] == 1
    means = tiles.mean(axis=(1, 2))
    assert np.abs(levels[-1][:, 0, 0] - means).max() < 4


def test_last_vertices_belong_to_one_triangle():
    flat = flatten(room_scene())
    vertices, triangles = vertices_of(flat)
    assert len(np.unique(triangles[:, 2])) == len(triangles)
    corners = vertices["position"][triangles]
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert (np.einsum("ij,ij->i", cross, flat.face_normals) >= 0).all()  # turning kept the winding
    original = np.sort(flat.positions_m[flat.triangles].round(5).reshape(len(triangles), -1))
    assert np.array_equal(np.sort(corners.round(5).reshape(len(triangles), -1)), original)
    at = vertices["triangle_lamp"][triangles[:, 2], 0]
    values = TriangleValues.of(flat)
    assert (values.ids[at >> 16, at & 0xFFFF] == flat.triangle_object).all()
    assert (values.normals[at >> 16, at & 0xFFFF] == flat.face_normals).all()
    assert values.ids[0, 0] == -1
    rows = flat.uv_rows[:, None] @ np.concatenate([corners, np.ones_like(corners[..., :1])], axis=-1)[..., None]
    assert np.allclose(vertices["uv"][triangles], rows[..., 0], atol=1e-4)


def test_label_colours_are_stable_and_differ():
    assert label_material("chair") == label_material("chair")
    assert len({label_material(name).color for name in ("chair", "table", "sofa", "lamp", "bed")}) == 5


def test_backends_sample_the_same_texture():
    assert raycast.shading.textures.tiles() is textures.tiles()
    assert pytest.approx(1.0) == np.linalg.norm(raster.lights.SUN_DIRECTION)

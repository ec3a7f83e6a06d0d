"""Geometry against independent solvers (SciPy's bounded least squares, Shapely) and against its own inverses."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import lsq_linear
from scipy.spatial.transform import Rotation

from allocentric.core import geometry
from allocentric.core.types import Camera

EIGHT_DEGREES = np.radians(8.0)


def random_boxes(rng: np.random.Generator, count: int, spread_m: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    poses = np.tile(np.eye(4), (count, 1, 1))
    poses[:, :3, :3] = Rotation.random(count, random_state=int(rng.integers(1 << 30))).as_matrix()
    poses[:, :3, 3] = rng.normal(size=(count, 3)) * spread_m
    return poses, rng.uniform(0.05, 1.5, (count, 3))


def least_squares_distance(a: np.ndarray, a_size: np.ndarray, b: np.ndarray, b_size: np.ndarray) -> float:
    """Distance as the convex problem min |(Ra x + ta) - (Rb y + tb)| with x, y bounded by the half sizes."""
    matrix = np.hstack([a[:3, :3], -b[:3, :3]])
    half = np.concatenate([a_size, b_size]) / 2
    solution = lsq_linear(matrix, b[:3, 3] - a[:3, 3], bounds=(-half, half), tol=1e-14, max_iter=1000)
    return float(np.linalg.norm(solution.fun))


def test_box_distance_equals_bounded_least_squares() -> None:
    rng = np.random.default_rng(1)
    (a, a_size), (b, b_size) = random_boxes(rng, 300), random_boxes(rng, 300)
    distances = geometry.box_distance(a, a_size, b, b_size)
    expected = [least_squares_distance(*pair) for pair in zip(a, a_size, b, b_size, strict=True)]
    assert np.sum(distances == 0) > 10
    assert np.sum(distances > 0) > 100
    np.testing.assert_allclose(distances, expected, atol=1e-6)


def test_box_distance_of_axis_aligned_boxes_is_the_gap() -> None:
    rng = np.random.default_rng(2)
    centres, sizes = rng.normal(size=(2, 200, 3)), rng.uniform(0.1, 1.0, (2, 200, 3))
    poses = np.tile(np.eye(4), (2, 200, 1, 1))
    poses[..., :3, 3] = centres
    gap = np.maximum(np.abs(centres[0] - centres[1]) - (sizes[0] + sizes[1]) / 2, 0)
    np.testing.assert_allclose(
        geometry.box_distance(poses[0], sizes[0], poses[1], sizes[1]), np.linalg.norm(gap, axis=1), atol=1e-12
    )


@pytest.mark.parametrize("gap_m", [0.0, 1e-9, 0.001, 0.25])
def test_parallel_faces(gap_m: float) -> None:
    a, b = geometry.pose([0, 0, 0], 0.3), geometry.pose([0, 0, 1.0 + gap_m], 0.3)
    distance = geometry.box_distance(a, [1, 2, 1], b, [2, 1, 1])
    assert distance == pytest.approx(gap_m, abs=1e-6)


def test_closest_points_lie_on_the_boxes_and_realise_the_distance() -> None:
    rng = np.random.default_rng(3)
    (a, a_size), (b, b_size) = random_boxes(rng, 200), random_boxes(rng, 200)
    distances = geometry.box_distance(a, a_size, b, b_size)
    for pose_a, size_a, pose_b, size_b, distance in zip(a, a_size, b, b_size, distances, strict=True):
        closest = geometry.box_closest_points(pose_a, size_a, pose_b, size_b)
        assert closest.distance_m == pytest.approx(distance, abs=1e-9)
        assert np.linalg.norm(closest.a_m - closest.b_m) == pytest.approx(distance, abs=1e-9)
        for point, pose_, size in ((closest.a_m, pose_a, size_a), (closest.b_m, pose_b, size_b)):
            local = geometry.transform_points(geometry.invert(pose_), point)
            assert np.all(np.abs(local) <= size / 2 + 1e-6)


def test_overlap_agrees_with_zero_distance() -> None:
    rng = np.random.default_rng(4)
    (a, a_size), (b, b_size) = random_boxes(rng, 2000, 0.7), random_boxes(rng, 2000, 0.7)
    overlap = geometry.boxes_overlap(a, a_size, b, b_size)
    assert 100 < overlap.sum() < 1900
    np.testing.assert_array_equal(overlap, geometry.box_distance(a, a_size, b, b_size) == 0)


@given(st.floats(-50, 50, allow_nan=False))
def test_wrap_angle(angle_rad: float) -> None:
    wrapped = float(geometry.wrap_angle(angle_rad))
    assert -np.pi < wrapped <= np.pi
    assert np.cos(wrapped) == pytest.approx(np.cos(angle_rad), abs=1e-9)
    assert np.sin(wrapped) == pytest.approx(np.sin(angle_rad), abs=1e-9)


def test_wrap_angle_keeps_plus_pi() -> None:
    assert geometry.wrap_angle(np.pi) == np.pi
    assert geometry.wrap_angle(-np.pi) == np.pi


def test_bearing_is_positive_to_the_left_and_flips_in_a_mirror() -> None:
    assert geometry.bearing_rad([0, 0], [1, 0], [0, 2]) == pytest.approx(np.pi / 2)
    assert geometry.bearing_rad([1, 1], [0, 1], [3, 1]) == pytest.approx(-np.pi / 2)
    rng = np.random.default_rng(5)
    origin, forward, target = rng.normal(size=(3, 50, 2))
    mirror = np.array([-1.0, 1.0])
    np.testing.assert_allclose(
        geometry.bearing_rad(origin * mirror, forward * mirror, target * mirror),
        -geometry.bearing_rad(origin, forward, target),
    )


@settings(max_examples=50)
@given(st.integers(0, 10_000))
def test_hull_area_and_containment_agree_with_shapely(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(12, 2))
    hull = geometry.convex_hull(points)
    expected = shapely.MultiPoint(points).convex_hull
    assert geometry.polygon_area(hull) == pytest.approx(expected.area)
    probes = rng.normal(size=(100, 2))
    np.testing.assert_array_equal(
        geometry.point_in_polygon(probes, hull), shapely.contains_xy(expected, probes[:, 0], probes[:, 1])
    )
    assert geometry.point_in_polygon(hull.mean(axis=0), hull).all()


def test_containment_in_an_l_shaped_room() -> None:
    room = np.array([[0, 0], [4, 0], [4, 2], [2, 2], [2, 4], [0, 4]], dtype=float)
    inside = geometry.point_in_polygon([[1, 1], [3, 1], [1, 3], [3, 3], [5, 1]], room)
    assert inside.tolist() == [True, True, True, False, False]
    assert geometry.polygon_area(room) == 12.0
    assert geometry.polygon_area(room[::-1]) == 12.0


def test_footprint_of_an_upright_box_has_its_base_area() -> None:
    footprint = geometry.box_footprint(geometry.pose([3, -2, 1], 0.7), [0.5, 2.0, 1.3])
    assert geometry.polygon_area(footprint) == pytest.approx(1.0)
    np.testing.assert_allclose(footprint.mean(axis=0), [3, -2], atol=1e-12)


def test_invert_undoes_a_pose() -> None:
    rng = np.random.default_rng(6)
    poses, _ = random_boxes(rng, 20)
    points = rng.normal(size=(20, 3))
    back = geometry.transform_points(geometry.invert(poses), geometry.transform_points(poses, points))
    np.testing.assert_allclose(back, points, atol=1e-12)


def cameras() -> list[Camera]:
    pose = geometry.camera_at([1.0, 2.0, 1.5], yaw_rad=0.8, pitch_rad=-0.2)
    pinhole = geometry.pinhole_intrinsics(64, 48, np.radians(80))
    metres = np.array([[20.0, 0, 32.0], [0, 20.0, 24.0], [0, 0, 1]])
    return [
        Camera(world_from_camera=pose, width_px=64, height_px=48, intrinsics_px=pinhole),
        Camera(model="equirectangular", world_from_camera=pose, width_px=64, height_px=32),
        Camera(model="orthographic", world_from_camera=pose, width_px=64, height_px=48, intrinsics_px=metres),
    ]


@pytest.mark.parametrize("camera", cameras(), ids=lambda camera: camera.model)
def test_rays_hit_the_pixel_they_came_from(camera: Camera) -> None:
    rays = geometry.rays(camera)
    points = (rays.origins_m + 2.5 * rays.directions).reshape(-1, 3)
    projection = geometry.project(camera, points)
    v, u = np.mgrid[: camera.height_px, : camera.width_px] + 0.5
    np.testing.assert_allclose(projection.uv_px, np.column_stack([u.ravel(), v.ravel()]), atol=1e-8)
    np.testing.assert_allclose(projection.depth_m, 2.5, atol=1e-9)


def test_camera_axes() -> None:
    world_from_camera = geometry.camera_at([0, 0, 1], yaw_rad=0.0, pitch_rad=EIGHT_DEGREES)
    assert np.linalg.det(world_from_camera[:3, :3]) == pytest.approx(1.0)
    right, down, forward = world_from_camera[:3, :3].T
    np.testing.assert_allclose(right, [0, -1, 0], atol=1e-12)
    assert forward[2] == pytest.approx(np.sin(EIGHT_DEGREES))
    assert down[2] < 0
    np.testing.assert_allclose(geometry.look_at([0, 0, 1], [5, 0, 1 + 5 * np.tan(EIGHT_DEGREES)]), world_from_camera)


def test_left_of_the_walker_is_left_in_every_picture() -> None:
    for camera in cameras():
        position, forward = camera.world_from_camera[:3, 3], camera.world_from_camera[:3, 2]
        left = np.cross([0, 0, 1], forward)
        uv = geometry.project(camera, (position + 2 * forward + 0.5 * left)[None]).uv_px[0]
        assert uv[0] < camera.width_px / 2


def test_points_behind_a_pinhole_camera_have_no_pixel() -> None:
    camera = cameras()[0]
    behind = camera.world_from_camera[:3, 3] - camera.world_from_camera[:3, 2]
    projection = geometry.project(camera, behind[None])
    assert np.isnan(projection.uv_px).all()
    assert projection.depth_m[0] < 0


def test_look_at_refuses_one_point_twice() -> None:
    with pytest.raises(ValueError, match="two different points"):
        geometry.look_at([0, 0, 0], [0, 0, 0])

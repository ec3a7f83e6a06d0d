"""Poses, oriented boxes, angles, polygons and camera projections in NumPy. Pure: arrays in, arrays out.

Conventions: right-handed world, +z up, metres, radians; headings counter-clockwise from +x; bearings + to the left
(counter-clockwise); OpenCV camera axes; pixel centres at +0.5; panorama yaw + to the right.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from allocentric.core.types import Camera

Array = NDArray[np.float64]

MEET_TOLERANCE_M = 1e-6
"""Boxes whose surfaces are closer than this are reported as meeting (distance 0)."""

# Corner k of a box has sign pattern _CORNER_SIGNS[k]; edges join corners that differ in one sign.
_CORNER_SIGNS: Array = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], dtype=float)
_EDGES = np.array([(i, j) for i in range(8) for j in range(i) if np.sum(_CORNER_SIGNS[i] != _CORNER_SIGNS[j]) == 1])
_PAIRS_PER_BLOCK = 4096

# ------------------------------------------------------------------------------------------------------------ poses


def rotation_z(yaw_rad: ArrayLike) -> Array:
    """(..., 3, 3) rotation counter-clockwise about +z."""
    yaw = np.asarray(yaw_rad, dtype=float)
    out = np.zeros((*yaw.shape, 3, 3))
    out[..., 0, 0] = out[..., 1, 1] = np.cos(yaw)
    out[..., 1, 0] = np.sin(yaw)
    out[..., 0, 1] = -out[..., 1, 0]
    out[..., 2, 2] = 1.0
    return out


def pose(translation_m: ArrayLike, yaw_rad: float = 0.0) -> Array:
    """(4, 4) world_from_local of a body at `translation_m` (3,) turned by `yaw_rad` about +z."""
    out = np.eye(4)
    out[:3, :3] = rotation_z(yaw_rad)
    out[:3, 3] = translation_m
    return out


def invert(a_from_b: ArrayLike) -> Array:
    """b_from_a of rigid transforms (..., 4, 4)."""
    transform = np.asarray(a_from_b, dtype=float)
    rotation_t = np.swapaxes(transform[..., :3, :3], -1, -2)
    out = np.zeros_like(transform)
    out[..., :3, :3] = rotation_t
    out[..., :3, 3] = -(rotation_t @ transform[..., :3, 3, None])[..., 0]
    out[..., 3, 3] = 1.0
    return out


def transform_points(a_from_b: ArrayLike, points_m: ArrayLike) -> Array:
    """Points (..., 3) in b -> (..., 3) in a. The transform's leading dimensions broadcast against the points'."""
    transform = np.asarray(a_from_b, dtype=float)
    points = np.asarray(points_m, dtype=float)
    if transform.ndim == 2:
        return np.asarray(points @ transform[:3, :3].T + transform[:3, 3])
    return np.asarray(np.einsum("...ij,...j->...i", transform[..., :3, :3], points) + transform[..., :3, 3])


# ----------------------------------------------------------------------------------------------------------- angles


def wrap_angle(angle_rad: ArrayLike) -> Array:
    """Angle(s) brought to (-pi, pi]."""
    angle = np.asarray(angle_rad, dtype=float)
    return -(np.mod(-angle + np.pi, 2 * np.pi) - np.pi)


def bearing_rad(origin_xy: ArrayLike, forward_xy: ArrayLike, target_xy: ArrayLike) -> Array:
    """Signed angle in (-pi, pi] from the direction `forward_xy` to the target seen from the origin; + is left.

    `forward_xy` is a direction, not a point. All arguments are (..., 2) and broadcast.
    """
    forward = np.asarray(forward_xy, dtype=float)
    to_target = np.asarray(target_xy, dtype=float) - np.asarray(origin_xy, dtype=float)
    cross = forward[..., 0] * to_target[..., 1] - forward[..., 1] * to_target[..., 0]
    dot = forward[..., 0] * to_target[..., 0] + forward[..., 1] * to_target[..., 1]
    return np.asarray(np.arctan2(cross, dot))


# ------------------------------------------------------------------------------------------------------------ boxes


def box_corners(world_from_box: ArrayLike, size_m: ArrayLike) -> Array:
    """(..., 8, 3) world corners of boxes with poses (..., 4, 4) and full edge lengths (..., 3)."""
    world = np.asarray(world_from_box, dtype=float)
    local = _CORNER_SIGNS * (np.asarray(size_m, dtype=float)[..., None, :] / 2)
    return np.asarray(local @ np.swapaxes(world[..., :3, :3], -1, -2) + world[..., None, :3, 3])


def box_footprint(world_from_box: ArrayLike, size_m: ArrayLike) -> Array:
    """(P, 2) counter-clockwise convex hull of one box's corners seen from above."""
    return convex_hull(box_corners(world_from_box, size_m)[:, :2])


def boxes_overlap(a_pose: ArrayLike, a_size_m: ArrayLike, b_pose: ArrayLike, b_size_m: ArrayLike) -> NDArray[np.bool_]:
    """Whether boxes share a point, by the 15 separating axes. Leading dimensions broadcast."""
    a, a_size, b, b_size = _as_boxes(a_pose, a_size_m, b_pose, b_size_m)
    return np.asarray(_largest_separation(a, a_size, b, b_size) <= 0.0)


def box_distance(a_pose: ArrayLike, a_size_m: ArrayLike, b_pose: ArrayLike, b_size_m: ArrayLike) -> Array:
    """Exact distance in metres between oriented boxes; 0 where they meet (tolerance 1e-6 m).

    Two disjoint boxes are closest either at a corner of one and a point of the other, or at a pair of edges, so the
    minimum over 2 x 8 corner-box and 12 x 12 edge-edge distances is exact; overlap is decided by the separating-axis
    test. Poses (..., 4, 4) and sizes (..., 3) broadcast over leading dimensions.
    """
    a, a_size, b, b_size = _as_boxes(a_pose, a_size_m, b_pose, b_size_m)
    shape = a.shape[:-2]
    flat = [value.reshape(-1, *value.shape[len(shape) :]) for value in (a, a_size, b, b_size)]
    out = np.empty(flat[0].shape[0])
    for start in range(0, len(out), _PAIRS_PER_BLOCK):  # bounds the memory of the 144 edge pairs
        block = slice(start, start + _PAIRS_PER_BLOCK)
        out[block] = _box_distance_block(*(value[block] for value in flat))
    return out.reshape(shape)


class ClosestPoints(NamedTuple):
    """The shortest segment between two boxes."""

    a_m: Array
    """(3,) point of the first box."""
    b_m: Array
    """(3,) point of the second box."""
    distance_m: float
    """Its length; 0 where the boxes meet (the points are then the same)."""


def box_closest_points(
    a_pose: ArrayLike, a_size_m: ArrayLike, b_pose: ArrayLike, b_size_m: ArrayLike
) -> ClosestPoints:
    """A shortest segment between two boxes (one pair). Where faces are parallel it is one of many."""
    a, a_size, b, b_size = _as_boxes(a_pose, a_size_m, b_pose, b_size_m)
    if _largest_separation(a, a_size, b, b_size) <= MEET_TOLERANCE_M:
        middle = _common_point(a, a_size, b, b_size)
        return ClosestPoints(middle, middle, 0.0)
    corners_a, corners_b = box_corners(a, a_size), box_corners(b, b_size)
    on_b, on_a = _clamp_to_box(corners_a, b, b_size), _clamp_to_box(corners_b, a, a_size)
    edge_a, edge_b = _closest_on_segments(
        corners_a[_EDGES[:, 0]][:, None], corners_a[_EDGES[:, 1]][:, None],
        corners_b[_EDGES[:, 0]][None], corners_b[_EDGES[:, 1]][None],
    )  # fmt: skip
    candidates_a = np.concatenate([corners_a, on_a, edge_a.reshape(-1, 3)])
    candidates_b = np.concatenate([on_b, corners_b, edge_b.reshape(-1, 3)])
    lengths = np.linalg.norm(candidates_a - candidates_b, axis=1)
    best = int(np.argmin(lengths))
    return ClosestPoints(candidates_a[best], candidates_b[best], float(lengths[best]))


def _as_boxes(a_pose: ArrayLike, a_size: ArrayLike, b_pose: ArrayLike, b_size: ArrayLike) -> tuple[Array, ...]:
    poses = [np.asarray(value, dtype=float) for value in (a_pose, b_pose)]
    sizes = [np.asarray(value, dtype=float) for value in (a_size, b_size)]
    shape = np.broadcast_shapes(*(p.shape[:-2] for p in poses), *(s.shape[:-1] for s in sizes))
    a, b = (np.broadcast_to(value, (*shape, 4, 4)) for value in poses)
    size_a, size_b = (np.broadcast_to(value, (*shape, 3)) for value in sizes)
    return a, size_a, b, size_b


def _largest_separation(a: Array, a_size: Array, b: Array, b_size: Array) -> Array:
    """Largest gap over the 15 separating axes, (...,): a lower bound of the distance; <= 0 means overlap."""
    axes_a, axes_b = np.swapaxes(a[..., :3, :3], -1, -2), np.swapaxes(b[..., :3, :3], -1, -2)  # rows are axes
    crosses = np.cross(axes_a[..., :, None, :], axes_b[..., None, :, :]).reshape(*a.shape[:-2], 9, 3)
    length = np.linalg.norm(crosses, axis=-1, keepdims=True)
    # Parallel edges span no new axis; their cross product is replaced by a face axis already in the list.
    crosses = np.where(length > 1e-9, crosses / np.maximum(length, 1e-9), axes_a[..., :1, :])
    axes = np.concatenate([axes_a, axes_b, crosses], axis=-2)
    centre_gap = np.abs(np.einsum("...kj,...j->...k", axes, b[..., :3, 3] - a[..., :3, 3]))
    reach_a = np.einsum("...ki,...i->...k", np.abs(axes @ a[..., :3, :3]), a_size / 2)
    reach_b = np.einsum("...ki,...i->...k", np.abs(axes @ b[..., :3, :3]), b_size / 2)
    return np.asarray(np.max(centre_gap - reach_a - reach_b, axis=-1))


def _box_distance_block(a: Array, a_size: Array, b: Array, b_size: Array) -> Array:
    out = np.zeros(len(a))
    apart = np.flatnonzero(_largest_separation(a, a_size, b, b_size) > MEET_TOLERANCE_M)
    if apart.size == 0:
        return out
    a, a_size, b, b_size = a[apart], a_size[apart], b[apart], b_size[apart]
    corners_a, corners_b = box_corners(a, a_size), box_corners(b, b_size)
    best = np.minimum(_corner_distances(corners_a, b, b_size), _corner_distances(corners_b, a, a_size))
    a_from, a_to = corners_a[:, _EDGES[:, 0]][:, :, None], corners_a[:, _EDGES[:, 1]][:, :, None]
    b_from, b_to = corners_b[:, _EDGES[:, 0]][:, None], corners_b[:, _EDGES[:, 1]][:, None]
    on_a, on_b = _closest_on_segments(a_from, a_to, b_from, b_to)
    edge_squared = np.sum((on_a - on_b) ** 2, axis=-1).reshape(len(a), -1).min(axis=1)
    out[apart] = np.minimum(best, np.sqrt(edge_squared))
    return out


def _corner_distances(corners: Array, pose_: Array, size: Array) -> Array:
    """Smallest distance (N,) from corners (N, 8, 3) to the solid boxes."""
    local = (corners - pose_[:, None, :3, 3]) @ pose_[:, :3, :3]
    outside = np.maximum(np.abs(local) - size[:, None] / 2, 0.0)
    return np.asarray(np.sqrt(np.min(np.sum(outside**2, axis=-1), axis=1)))


def _clamp_to_box(points: Array, pose_: Array, size: Array) -> Array:
    """Nearest point of one solid box to each of (N, 3) points."""
    local = (points - pose_[:3, 3]) @ pose_[:3, :3]
    return np.asarray(np.clip(local, -size / 2, size / 2) @ pose_[:3, :3].T + pose_[:3, 3])


def _closest_on_segments(p0: Array, p1: Array, q0: Array, q1: Array) -> tuple[Array, Array]:
    """Closest points of segment pairs, broadcasting (..., 3).

    The two-parameter problem after Ericson, Real-Time Collision Detection (2005), 5.1.9: solve for the lines, clamp
    one parameter, solve for the other, clamp it and correct the first.
    """
    d1, d2, r = p1 - p0, q1 - q0, p0 - q0
    a, e = np.sum(d1 * d1, axis=-1), np.sum(d2 * d2, axis=-1)
    b, c, f = np.sum(d1 * d2, axis=-1), np.sum(d1 * r, axis=-1), np.sum(d2 * r, axis=-1)
    tiny = 1e-18
    a, e = np.maximum(a, tiny), np.maximum(e, tiny)
    determinant = a * e - b * b
    parallel = determinant < 1e-12 * a * e
    s = np.where(parallel, 0.0, np.clip((b * f - c * e) / np.where(parallel, 1.0, determinant), 0.0, 1.0))
    t = np.clip((b * s + f) / e, 0.0, 1.0)
    s = np.clip((b * t - c) / a, 0.0, 1.0)
    return p0 + s[..., None] * d1, q0 + t[..., None] * d2


def _common_point(a: Array, a_size: Array, b: Array, b_size: Array) -> Array:
    """A point of both boxes, which are known to meet: the point of `a` nearest to `b`, by bounded least squares."""
    from scipy.optimize import lsq_linear

    half = np.concatenate([a_size, b_size]) / 2
    offsets = lsq_linear(
        np.hstack([a[:3, :3], -b[:3, :3]]), b[:3, 3] - a[:3, 3], bounds=(-half, half), method="bvls", tol=1e-12
    ).x
    return np.asarray(a[:3, :3] @ offsets[:3] + a[:3, 3])


# --------------------------------------------------------------------------------------------------------- polygons


def polygon_area(polygon_m: ArrayLike) -> float:
    """Area in m2 of a simple polygon (P, 2), either orientation."""
    return abs(_signed_area(np.asarray(polygon_m, dtype=float)))


def _signed_area(polygon: Array) -> float:
    x, y = polygon[:, 0], polygon[:, 1]
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) / 2)


def point_in_polygon(points_m: ArrayLike, polygon_m: ArrayLike) -> NDArray[np.bool_]:
    """Whether each of (N, 2) points lies inside a simple polygon (P, 2), by the even-odd rule.

    Points on the boundary may fall on either side.
    """
    points = np.atleast_2d(np.asarray(points_m, dtype=float))
    polygon = np.asarray(polygon_m, dtype=float)
    inside = np.zeros(len(points), dtype=bool)
    for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, axis=0), strict=True):
        if y0 == y1:
            continue  # a horizontal edge is never crossed by a horizontal ray
        straddles = (points[:, 1] < y0) != (points[:, 1] < y1)
        crossing_x = x0 + (points[:, 1] - y0) * (x1 - x0) / (y1 - y0)
        inside ^= straddles & (points[:, 0] < crossing_x)
    return inside


def convex_hull(points_m: ArrayLike) -> Array:
    """(P, 2) counter-clockwise convex hull of (N, 2) points (Andrew's monotone chain)."""
    points = np.unique(np.asarray(points_m, dtype=float), axis=0)
    if len(points) <= 2:
        return points

    def chain(ordered: Array) -> list[Array]:
        hull: list[Array] = []
        for p in ordered:
            while len(hull) >= 2 and _turn(hull[-2], hull[-1], p) <= 1e-15:
                hull.pop()
            hull.append(p)
        return hull[:-1]

    return np.array(chain(points) + chain(points[::-1]))


def _turn(o: Array, a: Array, b: Array) -> float:
    return float((a[0] - o[0]) * (b[1] - o[1]) - (a[1] - o[1]) * (b[0] - o[0]))


# ---------------------------------------------------------------------------------------------------------- cameras


def camera_at(position_m: ArrayLike, yaw_rad: float, pitch_rad: float = 0.0) -> Array:
    """(4, 4) world_from_camera at (3,) looking along heading `yaw_rad` (CCW from +x), pitch + up, level horizon."""
    forward = np.array([np.cos(yaw_rad) * np.cos(pitch_rad), np.sin(yaw_rad) * np.cos(pitch_rad), np.sin(pitch_rad)])
    right = np.array([np.sin(yaw_rad), -np.cos(yaw_rad), 0.0])
    return _world_from_camera(np.asarray(position_m, dtype=float), right, forward)


def look_at(eye_m: ArrayLike, target_m: ArrayLike) -> Array:
    """(4, 4) world_from_camera at `eye_m` (3,) looking at `target_m` (3,), level horizon.

    Looking straight up or down, the picture's right is world +x.
    """
    eye = np.asarray(eye_m, dtype=float)
    forward = np.asarray(target_m, dtype=float) - eye
    length = float(np.linalg.norm(forward))
    if length == 0.0:
        raise ValueError("look_at needs two different points")
    forward = forward / length
    right = np.array([forward[1], -forward[0], 0.0])
    if np.linalg.norm(right) < 1e-9:
        right = np.array([1.0, 0.0, 0.0])
    return _world_from_camera(eye, right / np.linalg.norm(right), forward)


def _world_from_camera(position: Array, right: Array, forward: Array) -> Array:
    out = np.eye(4)
    out[:3, 0], out[:3, 1], out[:3, 2], out[:3, 3] = right, np.cross(forward, right), forward, position
    return out


def pinhole_intrinsics(width_px: int, height_px: int, horizontal_fov_rad: float) -> Array:
    """(3, 3) intrinsics with square pixels and the principal point in the middle. Field of view in (0, pi)."""
    if not 0 < horizontal_fov_rad < np.pi:
        raise ValueError(f"expected a horizontal field of view in (0, pi), got {horizontal_fov_rad}")
    focal_px = width_px / 2 / np.tan(horizontal_fov_rad / 2)
    return np.array([[focal_px, 0, width_px / 2], [0, focal_px, height_px / 2], [0, 0, 1.0]])


class Projection(NamedTuple):
    """Where points fall in a picture."""

    uv_px: Array
    """(N, 2) column, row; pixel (i, j) covers [i, i+1) x [j, j+1)."""
    depth_m: Array
    """(N,) z-depth, or range for an equirectangular camera; <= 0 is behind a pinhole camera."""


def project(camera: Camera, points_m: ArrayLike) -> Projection:
    """Project world points (N, 3). Points behind a pinhole camera get NaN pixels."""
    local = transform_points(invert(camera.world_from_camera), points_m)
    x, y, z = local[:, 0], local[:, 1], local[:, 2]
    if camera.model == "equirectangular":
        range_m = np.linalg.norm(local, axis=1)
        yaw, pitch = np.arctan2(x, z), np.arcsin(np.clip(-y / np.maximum(range_m, 1e-12), -1, 1))
        u = (yaw / (2 * np.pi) + 0.5) * camera.width_px
        v = (0.5 - pitch / np.pi) * camera.height_px
        return Projection(np.column_stack([u, v]), range_m)
    intrinsics = intrinsics_of(camera)
    if camera.model == "pinhole":
        with np.errstate(divide="ignore", invalid="ignore"):
            scale = np.where(z > 0, 1.0 / z, np.nan)
        x, y = x * scale, y * scale
    u = intrinsics[0, 0] * x + intrinsics[0, 1] * y + intrinsics[0, 2]
    v = intrinsics[1, 1] * y + intrinsics[1, 2]
    return Projection(np.column_stack([u, v]), z)


class Rays(NamedTuple):
    """One ray per pixel centre."""

    origins_m: Array
    """(H, W, 3) world."""
    directions: Array
    """(H, W, 3) world; scaled so that the ray parameter is the camera's depth (z-depth, or range for panoramas)."""


def rays(camera: Camera) -> Rays:
    """Rays through the pixel centres of a camera."""
    u, v = np.meshgrid(np.arange(camera.width_px) + 0.5, np.arange(camera.height_px) + 0.5)
    origin_x, origin_y = np.zeros_like(u), np.zeros_like(u)
    if camera.model == "equirectangular":
        yaw, pitch = (u / camera.width_px - 0.5) * 2 * np.pi, (0.5 - v / camera.height_px) * np.pi
        local = np.stack([np.sin(yaw) * np.cos(pitch), -np.sin(pitch), np.cos(yaw) * np.cos(pitch)], axis=-1)
    else:
        intrinsics = intrinsics_of(camera)
        y = (v - intrinsics[1, 2]) / intrinsics[1, 1]
        x = (u - intrinsics[0, 2] - intrinsics[0, 1] * y) / intrinsics[0, 0]
        local = np.stack([x, y, np.ones_like(x)], axis=-1)
        if camera.model == "orthographic":
            origin_x, origin_y = x, y
            local = np.broadcast_to(np.array([0.0, 0.0, 1.0]), local.shape)
    world = np.asarray(camera.world_from_camera, dtype=float)
    origins = np.stack([origin_x, origin_y, np.zeros_like(origin_x)], axis=-1) @ world[:3, :3].T + world[:3, 3]
    return Rays(origins, local @ world[:3, :3].T)


def intrinsics_of(camera: Camera) -> Array:
    """(3, 3) intrinsics of a pinhole or orthographic camera; ValueError where they are missing."""
    if camera.intrinsics_px is None:
        raise ValueError(f"a {camera.model} camera needs intrinsics_px (3, 3), got None")
    return np.asarray(camera.intrinsics_px, dtype=float)

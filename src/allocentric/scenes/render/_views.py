"""Cameras as clip matrices, and which triangles they can see. Clip space has row 0 of the picture at y = -1."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from allocentric.core.geometry import intrinsics_of, invert
from allocentric.core.types import Camera
from allocentric.scenes.render.flatten import FlatScene

Array = NDArray[np.float64]

NEAR_M = 0.02
"""Surfaces nearer than this to a perspective camera are not drawn by the rasteriser."""


class ClipView(NamedTuple):
    """One planar picture of the scene."""

    clip_from_world: Array
    """(4, 4)."""
    eye_m: Array
    """(3,) world."""
    forward: Array
    """(3,) world viewing direction."""
    far_m: float
    """Depth of the far plane."""
    parallel: bool
    """Orthographic."""


def clip_view(camera: Camera, bounds_m: Array) -> ClipView:
    """The view of a pinhole or orthographic camera over a scene with overall bounds (2, 3)."""
    world = np.asarray(camera.world_from_camera, dtype=float)
    k = intrinsics_of(camera)
    far_m = farthest(world[:3, 3], bounds_m)
    scale_x, scale_y = 2 / camera.width_px, 2 / camera.height_px
    clip = np.zeros((4, 4))
    parallel = camera.model == "orthographic"
    centre = 3 if parallel else 2
    clip[0, :2] = scale_x * k[0, 0], scale_x * k[0, 1]
    clip[1, 1] = scale_y * k[1, 1]
    clip[0, centre], clip[1, centre] = scale_x * k[0, 2] - 1, scale_y * k[1, 2] - 1
    if parallel:
        clip[2, 2], clip[2, 3], clip[3, 3] = 2 / far_m, -1.0, 1.0
    else:
        clip[2:] = perspective_rows(far_m)
    return ClipView(clip @ invert(world), world[:3, 3], world[:3, 2], far_m, parallel)


def perspective_rows(far_m: float) -> Array:
    """Rows z and w of a clip matrix for camera axes with +z forward."""
    span = far_m - NEAR_M
    return np.array([[0, 0, (far_m + NEAR_M) / span, -2 * far_m * NEAR_M / span], [0, 0, 1.0, 0]])


def farthest(eye_m: Array, bounds_m: Array) -> float:
    """A depth beyond everything."""
    if not np.isfinite(bounds_m).all():
        return 1.0
    return float(np.linalg.norm(np.maximum(np.abs(bounds_m[0] - eye_m), np.abs(bounds_m[1] - eye_m)))) * 1.001 + 1.0


class Culling:
    """Chooses the triangles a view may show: by object against the frustum, by triangle against the eye."""

    def __init__(self, flat: FlatScene) -> None:
        self._ranges = flat.ranges
        self._normals = np.ascontiguousarray(flat.face_normals)
        self._offsets = flat.face_offsets
        low, high = np.nan_to_num(flat.bounds_m, nan=1e30).transpose(1, 0, 2).astype(float)
        self._low, self._high = low, high
        self._centre, self._half = (low + high) / 2, (high - low) / 2
        self._object_count = flat.object_count

    def objects_in(self, clip_from_world: Array) -> NDArray[np.bool_]:
        """(M,) whether an object's bounds reach into the frustum."""
        planes = np.concatenate([clip_from_world[3] + clip_from_world[:3], clip_from_world[3] - clip_from_world[:3]])
        reach = self._centre @ planes[:, :3].T + self._half @ np.abs(planes[:, :3]).T + planes[:, 3]
        return np.asarray((reach >= 0).all(axis=1))

    def facing(self, view: ClipView) -> NDArray[np.bool_]:
        """(T,) triangles that can show their front; a little generous, the rasteriser decides."""
        if view.parallel:
            return np.asarray(self._normals @ view.forward.astype(np.float32) < 1e-4)
        return np.asarray(self._normals @ view.eye_m.astype(np.float32) - self._offsets > -1e-4)

    def order(self, view: ClipView, shown: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Indices of `shown` objects, near ones first so that the depth test spares what they hide."""
        index = np.flatnonzero(shown)
        low, high = self._low[index], self._high[index]
        nearest = np.clip(view.eye_m, low, high)
        distance = np.linalg.norm(nearest - view.eye_m, axis=1)
        shell = np.linalg.norm(np.maximum(np.abs(low - view.eye_m), np.abs(high - view.eye_m)), axis=1)
        distance = np.where(index >= self._object_count, (distance + shell) / 2, distance)
        return np.asarray(index[np.argsort(distance, kind="stable")])

    def triangles(self, order: NDArray[np.int64], facing: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Triangle indices to draw, object by object in `order`."""
        chunks = [np.arange(start, end) for start, end in self._ranges[order]]
        if not chunks:
            return np.zeros(0, dtype=np.int64)
        chosen = np.concatenate(chunks)
        return np.asarray(chosen[facing[chosen]])

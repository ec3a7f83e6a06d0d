"""Per-triangle rows that let a shader compute everything about a point of a triangle from its world position."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from allocentric.scenes.render._vertices import packed_colors
from allocentric.scenes.render.flatten import FlatScene

SLOTS = 8
PER_ROW = 256
"""Triangles in one texture row."""


class TriangleTable(NamedTuple):
    """Contents of two textures, PER_ROW triangles a row."""

    rows: NDArray[np.float32]
    """(R, PER_ROW * SLOTS, 4): plane (n, n.x); texture u, v; weights of corners 1 and 2; shading normal x, y, z. Each
    but the plane is affine: row @ (x, y, z, 1)."""
    looks: NDArray[np.uint32]
    """(R, PER_ROW, 4): two packed colours, nothing, (lamp + 1) | smooth << 16."""


def triangle_table(flat: FlatScene) -> TriangleTable:
    """The table of a scene."""
    count = len(flat.triangles)
    texture_rows = max(1, -(-count // PER_ROW))
    rows = np.zeros((texture_rows * PER_ROW, SLOTS, 4), dtype=np.float32)
    looks = np.zeros((texture_rows * PER_ROW, 4), dtype=np.uint32)
    if count:
        rows[:count, 0, :3], rows[:count, 0, 3] = flat.face_normals, flat.face_offsets
        rows[:count, 1:3] = flat.uv_rows
        weights = _weight_rows(flat)
        rows[:count, 3:5] = weights
        rows[:count, 5:8] = _normal_rows(flat, weights)
        looks[:count, :2] = packed_colors(flat)[flat.triangle_material]
        looks[:count, 3] = (flat.triangle_lamp + 1) | (_is_smooth(flat).astype(np.int32) << 16)
    return TriangleTable(rows.reshape(texture_rows, PER_ROW * SLOTS, 4), looks.reshape(texture_rows, PER_ROW, 4))


def _weight_rows(flat: FlatScene) -> NDArray[np.float64]:
    """(T, 2, 4) affine rows of the barycentric weights of corners 1 and 2."""
    a, b, c = (flat.positions_m[flat.triangles[:, k]].astype(float) for k in range(3))
    normal = np.cross(b - a, c - a)
    squared = np.maximum(np.einsum("ij,ij->i", normal, normal), 1e-30)[:, None]
    out = np.empty((len(a), 2, 4))
    out[:, 0, :3] = np.cross(c - a, normal) / squared
    out[:, 1, :3] = np.cross(normal, b - a) / squared
    out[:, :, 3] = -np.einsum("trk,tk->tr", out[:, :, :3], a)
    return out


def _normal_rows(flat: FlatScene, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """(T, 3, 4) affine rows of the shading normal."""
    corner = flat.normals[flat.triangles].astype(float)
    rows = np.einsum("tsn,tsk->tnk", corner[:, 1:] - corner[:, :1], weights)
    rows[:, :, 3] += corner[:, 0]
    return np.asarray(rows)


def _is_smooth(flat: FlatScene) -> NDArray[np.bool_]:
    """(T,) whether the shading normal leaves the triangle's own."""
    corner = flat.normals[flat.triangles]
    return np.asarray(np.abs(corner - flat.face_normals[:, None]).max(axis=(1, 2)) > 1e-3)

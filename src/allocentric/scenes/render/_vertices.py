"""The vertex buffer of the rasteriser.

What is constant on a triangle (its number, colours, normal) travels with the triangle's last vertex, so that vertex
must belong to no other triangle in that role: triangles are turned, and vertices doubled where turning is not enough.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from allocentric.scenes.render._targets import places
from allocentric.scenes.render.flatten import FlatScene
from allocentric.scenes.render.textures import PATTERNS

VERTEX = np.dtype(
    [
        ("position", "f4", 3), ("normal", "f4", 3), ("uv", "f4", 2), ("face_normal", "f4", 3), ("colors", "u4", 2),
        ("triangle_lamp", "i4", 2),
    ]
)  # fmt: skip
VERTEX_FORMAT = "3f4 3f4 2f4 3f4 4f1 4f1 2i4"
VERTEX_NAMES = (
    "in_position", "in_normal", "in_uv", "in_face_normal", "in_color_roughness", "in_color_layer", "in_triangle_lamp",
)  # fmt: skip


class Vertices(NamedTuple):
    """Buffers for the rasteriser."""

    vertices: NDArray[np.void]
    """(N,) of dtype VERTEX."""
    triangles: NDArray[np.uint32]
    """(T, 3) in the order of the flat scene's triangles; the last vertex of each is its own."""


def vertices_of(flat: FlatScene) -> Vertices:
    """Split and double the vertices of `flat` where texture, lamp or per-triangle values require it."""
    corner_vertex, corner_of_vertex, triangles = _split(flat)
    triangles, source = _own_last_vertex(triangles, len(corner_vertex))
    triangle_of = corner_of_vertex[source]
    vertex = corner_vertex[source]
    own = np.arange(len(triangles))
    triangle_of[triangles[:, 2]] = own
    out = np.zeros(len(vertex), dtype=VERTEX)
    position = flat.positions_m[vertex]
    out["position"], out["normal"] = position, flat.normals[vertex]
    rows = flat.uv_rows[triangle_of]
    out["uv"] = np.einsum("vrk,vk->vr", rows[:, :, :3], position) + rows[:, :, 3]
    out["face_normal"] = flat.face_normals[triangle_of]
    out["colors"] = packed_colors(flat)[flat.triangle_material[triangle_of]]
    out["triangle_lamp"][:, 0] = places(triangle_of)
    out["triangle_lamp"][:, 1] = flat.triangle_lamp[triangle_of]
    return Vertices(out, triangles.astype(np.uint32))


def packed_colors(flat: FlatScene) -> NDArray[np.uint32]:
    """(materials, 2): color and roughness, color2 and texture layer, a byte each."""
    out = np.zeros((len(flat.materials), 8), dtype=np.uint8)
    for row, material in zip(out, flat.materials, strict=True):
        row[:3] = np.round(np.clip(material.color, 0, 1) * np.float64(255))
        row[3] = round(float(np.clip(material.roughness, 0, 1)) * 255)
        row[4:7] = np.round(np.clip(material.color2, 0, 1) * np.float64(255))
        row[7] = PATTERNS.index(material.pattern)
    return out.view("<u4").astype(np.uint32)


def _split(flat: FlatScene) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """New vertex -> old vertex, new vertex -> a triangle it belongs to, and triangles of new vertices.

    Corners of one vertex stay together where texture rows, material and lamp agree.
    """
    looks = np.concatenate([
        np.ascontiguousarray(flat.uv_rows.reshape(-1, 8)).view(np.int32),
        flat.triangle_material[:, None], flat.triangle_lamp[:, None],
    ], axis=1)  # fmt: skip
    weights = np.random.default_rng(0).integers(1, 2**62, looks.shape[1], dtype=np.int64) | 1
    digest = (looks.astype(np.int64) * weights).sum(axis=1)  # wraps; distinct looks of one vertex differ but by chance
    _, look = np.unique(digest, return_inverse=True)
    key = flat.triangles.astype(np.int64) * (int(look.max(initial=0)) + 1) + look[:, None]
    _, first, inverse = np.unique(key.ravel(), return_index=True, return_inverse=True)
    return flat.triangles.ravel()[first].astype(np.int64), first // 3, inverse.reshape(-1, 3)


def _own_last_vertex(triangles: NDArray[np.int64], count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Turned triangles whose last vertices are all different, and new vertex -> given vertex."""
    out = triangles.copy()
    free = np.ones(count, dtype=bool)
    waiting = np.arange(len(triangles))
    for turn in (0, 1, 2):
        turned = np.roll(triangles[waiting], turn, axis=1)
        candidate = turned[:, 2]
        _, first = np.unique(candidate, return_index=True)
        first = first[free[candidate[first]]]
        out[waiting[first]] = turned[first]
        free[candidate[first]] = False
        waiting = np.delete(waiting, first)
    source = np.concatenate([np.arange(count), triangles[waiting, 2]])
    out[waiting, 2] = count + np.arange(len(waiting))
    return out, source

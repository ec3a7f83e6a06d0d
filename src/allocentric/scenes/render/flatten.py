"""A scene as one merged triangle mesh in world coordinates, with everything a backend needs per triangle.

Texture coordinates are affine functions of the world position on each triangle: the triangle's dominant axis in its
object's frame picks a plane, so no mesh needs UVs and both backends compute the same ones.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allocentric.core.errors import DataError
from allocentric.core.geometry import point_in_polygon
from allocentric.core.types import Material, Mesh, Object, Pattern, Room, Scene
from allocentric.scenes.render import textures
from allocentric.scenes.render.lights import lit_rooms

Float32 = NDArray[np.float32]
Int32 = NDArray[np.int32]

_BOX_PATTERNS: tuple[Pattern, ...] = ("wood", "fabric", "noise", "stripes", "plain")
# Face k of a box looks along axis k // 2; a viewer before it sees (right, up) as these axes with these signs.
_FACE_RIGHT = {0: (1, 1.0), 1: (0, -1.0), 2: (0, 1.0)}
_FACE_UP = {0: 2, 1: 2, 2: 1}


@dataclass(frozen=True, slots=True, eq=False)
class FlatScene:
    """All triangles of a scene, object by object (objects first, then structure)."""

    positions_m: Float32
    """(V, 3) world."""
    normals: Float32
    """(V, 3) world unit normals for shading; they differ from the triangle's on round things."""
    triangles: Int32
    """(T, 3) indices of vertices, counter-clockwise seen from outside."""
    face_normals: Float32
    """(T, 3) world unit normal of each triangle; 0 where it has no area."""
    face_offsets: Float32
    """(T,) n.x of the triangle's plane."""
    uv_rows: Float32
    """(T, 2, 4): (u, v) of the texture tile = rows @ (x, y, z, 1)."""
    triangle_object: Int32
    """(T,) id-image value."""
    triangle_material: Int32
    """(T,) index into `materials`."""
    triangle_lamp: Int32
    """(T,) room whose lamp lights it, -1 none."""
    materials: tuple[Material, ...]
    """Distinct materials."""
    ranges: Int32
    """(M, 2) first and past-last triangle of each object and structure part."""
    bounds_m: Float32
    """(M, 2, 3) lowest and highest corner of each object's mesh in world axes; nan for an empty mesh."""
    object_count: int
    """Objects before structure."""


def flatten(scene: Scene) -> FlatScene:
    """Merge `scene`. DataError names the object whose mesh is malformed."""
    parts = [_part(thing) for thing in (*scene.objects, *scene.structure)]
    materials: dict[Material, int] = {}
    remapped = []
    for part in parts:
        table = np.array([materials.setdefault(m, len(materials)) for m in part.materials], dtype=np.int32)
        remapped.append(table[part.triangle_material])
    vertex_starts = np.cumsum([0, *(len(part.positions) for part in parts)])
    ends = np.cumsum([0, *(len(part.triangles) for part in parts)])
    positions = _joined([part.positions for part in parts], (0, 3), np.float32)
    triangles = _joined(
        [part.triangles + start for part, start in zip(parts, vertex_starts[:-1], strict=True)], (0, 3), np.int32
    )
    normals = _joined([part.face_normals for part in parts], (0, 3), np.float32)
    first = positions[triangles[:, 0]]
    return FlatScene(
        positions_m=positions,
        normals=_joined([part.normals for part in parts], (0, 3), np.float32),
        triangles=triangles,
        face_normals=normals,
        face_offsets=np.einsum("ij,ij->i", normals, first),
        uv_rows=_joined([part.uv_rows for part in parts], (0, 2, 4), np.float32),
        triangle_object=np.repeat(np.arange(len(parts), dtype=np.int32), np.diff(ends)),
        triangle_material=_joined(remapped, (0,), np.int32),
        triangle_lamp=_lamp_of_triangles(lit_rooms(scene), positions[triangles].mean(axis=1), normals),
        materials=tuple(materials),
        ranges=np.stack([ends[:-1], ends[1:]], axis=1).astype(np.int32),
        bounds_m=_joined([part.bounds[None] for part in parts], (0, 2, 3), np.float32),
        object_count=len(scene.objects),
    )


def _joined(arrays: Sequence[NDArray[Any]], empty: tuple[int, ...], dtype: type) -> NDArray[Any]:
    return np.concatenate(arrays).astype(dtype, copy=False) if arrays else np.zeros(empty, dtype=dtype)


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """One object in world coordinates, its indices and materials still its own."""

    positions: NDArray[np.float32]
    normals: NDArray[np.float32]
    triangles: NDArray[np.int32]
    face_normals: NDArray[np.float32]
    uv_rows: NDArray[np.float32]
    triangle_material: NDArray[np.int32]
    materials: tuple[Material, ...]
    bounds: NDArray[np.float32]


def _part(thing: Object) -> _Part:
    mesh = thing.mesh if thing.mesh is not None else box_mesh(thing)
    _check(mesh, thing)
    world = np.asarray(thing.world_from_object, dtype=float)
    rotation, shift = world[:3, :3], world[:3, 3]
    local = np.asarray(mesh.positions_m, dtype=float)
    corners = local[mesh.triangles]
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.linalg.norm(cross, axis=1, keepdims=True)
    faces = np.where(length > 1e-14, cross / np.maximum(length, 1e-14), 0.0)
    material = np.asarray(mesh.vertex_material, dtype=np.int32)[mesh.triangles[:, 0]]
    positions = (local @ rotation.T + shift).astype(np.float32)
    empty = np.full((2, 3), np.nan, dtype=np.float32)
    return _Part(
        positions=positions,
        normals=(np.asarray(mesh.normals, dtype=float) @ rotation.T).astype(np.float32),
        triangles=np.asarray(mesh.triangles, dtype=np.int32),
        face_normals=(faces @ rotation.T).astype(np.float32),
        uv_rows=_uv_rows(corners, faces, material, mesh.materials, world),
        triangle_material=material,
        materials=mesh.materials,
        bounds=np.stack([positions.min(axis=0), positions.max(axis=0)]) if len(positions) else empty,
    )


def _check(mesh: Mesh, thing: Object) -> None:
    count = len(mesh.positions_m)
    problems = {
        "normals and positions differ in number": len(mesh.normals) != count,
        "vertex_material and positions differ in number": len(mesh.vertex_material) != count,
        "a triangle names a vertex that is not there": mesh.triangles.size
        and not 0 <= mesh.triangles.min() <= mesh.triangles.max() < count,
        "a vertex names a material that is not there": count
        and not 0 <= np.min(mesh.vertex_material) <= np.max(mesh.vertex_material) < len(mesh.materials),
        "a position is not finite": not np.isfinite(mesh.positions_m).all(),
    }
    for problem, found in problems.items():
        if found:
            raise DataError(f"the mesh of {thing.id!r} ({thing.label}) can't be drawn: {problem}")


def _uv_rows(
    corners: NDArray[np.float64],
    faces: NDArray[np.float64],
    material: Int32,
    materials: tuple[Material, ...],
    world: NDArray[np.float64],
) -> Float32:
    """Rows that take world (x, y, z, 1) to tile coordinates, (T, 2, 4)."""
    axis = np.argmax(np.abs(faces), axis=1)
    sign = np.where(faces[np.arange(len(faces)), axis] < 0, -1.0, 1.0)
    local_rows = np.zeros((len(faces), 2, 4))
    for face_axis, (right, right_sign) in _FACE_RIGHT.items():
        on = np.flatnonzero(axis == face_axis)
        local_rows[on, 0, right] = right_sign * (sign[on] if face_axis != 2 else 1.0)
        local_rows[on, 1, _FACE_UP[face_axis]] = 1.0
    for index, look in enumerate(materials):
        of_material = material == index
        if look.pattern in textures.FITTED:
            _fit(local_rows, corners, 2 * axis + (sign > 0), of_material)
        else:
            local_rows[of_material] /= look.scale_m * np.reshape(textures.REPEATS.get(look.pattern, (1, 1)), (2, 1))
    object_from_world = np.eye(4)
    object_from_world[:3, :3] = world[:3, :3].T
    object_from_world[:3, 3] = -world[:3, :3].T @ world[:3, 3]
    return np.asarray(local_rows @ object_from_world, dtype=np.float32)


def _fit(
    rows: NDArray[np.float64], corners: NDArray[np.float64], side: NDArray[np.int64], chosen: NDArray[np.bool_]
) -> None:
    """Stretch the tile once over each side of the object that has the material."""
    for value in np.unique(side[chosen]):
        on = np.flatnonzero(chosen & (side == value))
        flat = np.einsum("trk,tck->tcr", rows[on][:, :, :3], corners[on]).reshape(-1, 2)
        low, span = flat.min(axis=0), np.maximum(np.ptp(flat, axis=0), 1e-6)
        rows[on, :, 3] -= low
        rows[on] /= span[:, None]


def _lamp_of_triangles(rooms: tuple[Room, ...], centroids: Float32, normals: Float32) -> Int32:
    """The room each triangle looks into (a wall belongs to the room on that side), else the nearest room below 1 m."""
    lamp = np.full(len(centroids), -1, dtype=np.int32)
    if not len(centroids):
        return lamp
    for reach_m in (0.06, 0.0, 0.3):
        points = centroids[:, :2] + reach_m * normals[:, :2]
        for index, room in enumerate(rooms):
            open_ = np.flatnonzero(lamp < 0)
            height = centroids[open_, 2] - room.floor_z_m
            near = (height > -0.2) & (height < room.height_m + 0.2)
            inside = point_in_polygon(points[open_], room.floor_polygon_m) & near
            lamp[open_[inside]] = index
    return lamp


# ------------------------------------------------------------------------------------------------------------- boxes


def box_mesh(thing: Object) -> Mesh:
    """The object's box as 12 triangles, in a colour and pattern that belong to its label."""
    corners: list[NDArray[np.float64]] = []
    normals, triangles = [], []
    half = np.asarray(thing.size_m, dtype=float) / 2
    for axis in range(3):
        u, v = (axis + 1) % 3, (axis + 2) % 3
        for sign in (-1.0, 1.0):
            face = np.zeros((4, 3))
            face[:, axis] = sign
            face[:, u] = np.array([-1, 1, 1, -1])
            face[:, v] = np.array([-1, -1, 1, 1]) * sign
            first = 4 * len(corners)
            corners.append(face * half)
            normals.append(np.tile(np.eye(3)[axis] * sign, (4, 1)))
            triangles += [[first, first + 1, first + 2], [first, first + 2, first + 3]]
    return Mesh(
        positions_m=np.concatenate(corners).astype(np.float32),
        normals=np.concatenate(normals).astype(np.float32),
        triangles=np.array(triangles, dtype=np.int32),
        vertex_material=np.zeros(24, dtype=np.int32),
        materials=(label_material(thing.label),),
    )


def label_material(label: str) -> Material:
    """A material that depends on nothing but the label, so that a category looks alike in every scene."""
    code = zlib.crc32(label.encode())
    hue, light = (code % 360) / 360, 0.55 + 0.3 * ((code >> 9) % 8) / 8
    channels = np.clip(np.abs((hue + np.array([0.0, 2 / 3, 1 / 3])) % 1 * 6 - 3) - 1, 0, 1)
    color = light * (0.45 + 0.55 * channels)
    r, g, b = (float(value) for value in color)
    pattern = _BOX_PATTERNS[(code >> 13) % len(_BOX_PATTERNS)]
    return Material(pattern=pattern, color=(r, g, b), color2=(0.75 * r, 0.75 * g, 0.75 * b), scale_m=0.15)

"""Panoramas in two passes: cube faces that hold nothing but triangle indices, then one exact ray per pixel."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from allocentric.core import geometry
from allocentric.core.types import Camera
from allocentric.scenes.render import _gl
from allocentric.scenes.render._table import triangle_table
from allocentric.scenes.render._targets import output_defines
from allocentric.scenes.render._vertices import Vertices
from allocentric.scenes.render._views import ClipView, Culling, farthest, perspective_rows
from allocentric.scenes.render.flatten import FlatScene
from allocentric.scenes.render.panorama import FACES, face_of
from allocentric.scenes.render.textures import TILE_PX

Array = NDArray[np.float64]

_GUARD_PX = 1
"""A face reaches this far beyond 90 degrees, so that every pixel has neighbours in its own face."""
_FIRST_UNIT = 3
"""Texture units below belong to the lights."""


class CubePass:
    """Draws the six faces of a panorama into one atlas of triangle numbers, 1 the first, 0 nothing."""

    def __init__(self, context: Any, vertices: Vertices, culling: Culling) -> None:
        self._context = context
        self._culling = culling
        self._triangles = vertices.triangles
        stream = np.zeros(max(len(vertices.vertices), 1), dtype=[("position", "f4", 3), ("triangle", "i4")])
        if len(vertices.vertices):
            stream["position"] = vertices.vertices["position"]
            stream["triangle"][vertices.triangles[:, 2]] = np.arange(len(vertices.triangles)) + 1
        self._vertices = context.buffer(stream.tobytes())
        self._capacity = 0
        self._indices: Any = None
        self._array: Any = None
        self._shader = _gl.program(context, "cube", "cube", {})
        self._atlases: dict[int, tuple[Any, Any]] = {}

    def draw(self, camera: Camera, bounds_m: Array, only: NDArray[np.bool_] | None = None) -> Any:
        """The atlas texture of what `camera` sees; `only` (M,) restricts it to some objects."""
        context, face_px = self._context, face_size_px(camera)
        texture, framebuffer = self._atlas(face_px)
        framebuffer.use()
        framebuffer.clear(depth=1.0)
        context.enable_only(context.DEPTH_TEST | context.CULL_FACE)
        context.depth_func, context.front_face, context.cull_face = "<=", "cw", "back"
        views = _face_views(camera, bounds_m, face_px)
        facing = self._culling.facing(views[0])
        chosen = []
        for view in views:
            shown = self._culling.objects_in(view.clip_from_world)
            shown = shown if only is None else shown & only
            chosen.append(self._culling.triangles(self._culling.order(view, shown), facing))
        array = self._upload(np.concatenate(chosen))
        first = 0
        for face, (view, part) in enumerate(zip(views, chosen, strict=True)):
            framebuffer.viewport = (face % 3 * face_px, face // 3 * face_px, face_px, face_px)
            if len(part):
                matrix = np.ascontiguousarray(view.clip_from_world.T, dtype=np.float32)
                _gl.set_uniforms(self._shader, {"clip_from_world": matrix})
                array.render(context.TRIANGLES, vertices=3 * len(part), first=3 * first)
            first += len(part)
        framebuffer.viewport = (0, 0, *framebuffer.size)
        return texture

    def _upload(self, chosen: NDArray[np.int64]) -> Any:
        if self._indices is None or len(chosen) > self._capacity:
            self._capacity = max(2 * len(chosen), 1024)
            if self._indices is not None:
                self._array.release()
                self._indices.release()
            self._indices = self._context.buffer(reserve=self._capacity * 12, dynamic=True)
            content = [(self._vertices, "3f4 1i4", "in_position", "in_triangle")]
            self._array = self._context.vertex_array(self._shader, content, self._indices)
        if len(chosen):
            self._indices.write(self._triangles[chosen])
        return self._array

    def _atlas(self, face_px: int) -> tuple[Any, Any]:
        if face_px not in self._atlases:
            size = (3 * face_px, 2 * face_px)
            texture = self._context.texture(size, 1, dtype="i4")
            texture.filter = (self._context.NEAREST, self._context.NEAREST)
            depth = self._context.depth_renderbuffer(size)
            self._atlases[face_px] = (texture, self._context.framebuffer([texture], depth))
        return self._atlases[face_px]


class Resolve:
    """Turns an atlas into the pixels of a panorama."""

    def __init__(self, context: Any, flat: FlatScene) -> None:
        self._context = context
        table = triangle_table(flat)
        self._rows = context.texture(table.rows.shape[1::-1], 4, table.rows.tobytes(), dtype="f4")
        self._looks = context.texture(table.looks.shape[1::-1], 4, table.looks.tobytes(), dtype="u4")
        self._maps: dict[tuple[int, int], tuple[Any, Any]] = {}
        for texture in (self._rows, self._looks):
            texture.filter = (context.NEAREST, context.NEAREST)

    def programs(self, outputs: tuple[str, ...], defines: dict[str, object]) -> tuple[Any, Any]:
        """The vertex arrays that draw a panorama with these outputs: plain pixels, then edges."""
        every = {**defines, **output_defines(outputs), "TILE_PX": float(TILE_PX)}
        names = ("pixel_direction", "atlas_position", "atlas", "triangle_rows", "triangle_looks")
        arrays = []
        for stage in ({"FULL_DEPTH": 0.0}, {"FULL_DEPTH": 0.5, "EDGES": 1}):
            shader = _gl.program(self._context, "full", "resolve", {**every, **stage}, parts=("shade",))
            _gl.set_uniforms(shader, {name: _FIRST_UNIT + unit for unit, name in enumerate(names)})
            arrays.append(self._context.vertex_array(shader, []))
        return arrays[0], arrays[1]

    def draw(self, arrays: tuple[Any, Any], atlas: Any, camera: Camera) -> None:
        """Fill the framebuffer in use, whose depth is 1 everywhere."""
        context = self._context
        context.enable_only(context.DEPTH_TEST)
        context.depth_func = "<"
        for unit, texture in enumerate((*self._pixel_maps(camera), atlas, self._rows, self._looks)):
            texture.use(_FIRST_UNIT + unit)
        world = np.asarray(camera.world_from_camera, dtype=float)
        view = {
            "world_from_camera": np.ascontiguousarray(world[:3, :3].T, dtype=np.float32),
            "eye": tuple(world[:3, 3]),
            "pixel_rad": np.pi / camera.height_px,
        }
        for array in arrays:
            _gl.set_uniforms(array.program, view)
            array.render(context.TRIANGLES, vertices=3)

    def _pixel_maps(self, camera: Camera) -> tuple[Any, Any]:
        size = (camera.width_px, camera.height_px)
        if size not in self._maps:
            at_rest = Camera(model="equirectangular", world_from_camera=np.eye(4), width_px=size[0], height_px=size[1])
            direction = geometry.rays(at_rest).directions
            filled = np.concatenate([direction, np.zeros((*direction.shape[:2], 1))], axis=2).astype(np.float32)
            where = atlas_positions(direction, face_size_px(camera)).astype(np.float32)
            maps = (
                self._context.texture(size, 4, filled.tobytes(), dtype="f4"),
                self._context.texture(size, 2, where.tobytes(), dtype="f4"),
            )
            for texture in maps:
                texture.filter = (self._context.NEAREST, self._context.NEAREST)
            self._maps[size] = maps
        return self._maps[size]


# ---------------------------------------------------------------------------------------------------------- geometry


def face_size_px(camera: Camera) -> int:
    """Edge of a face: a little finer than the panorama everywhere."""
    return max(8, -(-camera.width_px * 7 // 20) + 2 * _GUARD_PX)


def atlas_positions(directions: Array, face_px: int) -> Array:
    """(..., 2) atlas pixels of directions (..., 3) in camera axes."""
    face = face_of(directions)
    local = np.einsum("...rk,...k->...r", FACES[face], directions)
    focal = face_px / 2 - _GUARD_PX
    inside = local[..., :2] / local[..., 2:] * focal + face_px / 2
    return np.asarray(inside + np.stack([face % 3, face // 3], axis=-1) * face_px)


def _face_views(camera: Camera, bounds_m: Array, face_px: int) -> list[ClipView]:
    world = np.asarray(camera.world_from_camera, dtype=float)
    far_m = farthest(world[:3, 3], bounds_m)
    clip = np.zeros((4, 4))
    clip[0, 0] = clip[1, 1] = 1 - 2 * _GUARD_PX / face_px
    clip[2:] = perspective_rows(far_m)
    views = []
    for face in FACES:
        pose = world.copy()
        pose[:3, :3] = world[:3, :3] @ face.T
        views.append(ClipView(clip @ geometry.invert(pose), pose[:3, 3], pose[:3, 2], far_m, False))
    return views

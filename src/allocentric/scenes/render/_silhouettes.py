"""Pixels that objects would cover alone, counted by occlusion queries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allocentric.core.types import FloatArray
from allocentric.scenes.render import _gl
from allocentric.scenes.render._views import ClipView
from allocentric.scenes.render.flatten import FlatScene

_CLIP_DISTANCE_0 = 0x3000  # GL_CLIP_DISTANCE0, the plane that cuts off what is behind the camera


class Silhouettes:
    """Counts samples, object by object, in one framebuffer that is cleared once."""

    def __init__(self, context: Any, flat: FlatScene) -> None:
        self._context = context
        self._ranges = flat.ranges
        self._positions = context.buffer(np.ascontiguousarray(flat.positions_m).tobytes() or bytes(12))
        self._indices = context.buffer(np.ascontiguousarray(flat.triangles).tobytes() or bytes(12))
        self._shader = _gl.program(context, "silhouette", None, {})
        self._array = context.vertex_array(self._shader, [(self._positions, "3f4", "in_position")], self._indices)
        self._queries: list[Any] = []
        self._targets: dict[tuple[int, int], Any] = {}

    def count(self, view: ClipView, width_px: int, height_px: int, objects: Sequence[int]) -> NDArray[np.int64]:
        """(K,) pixels of a planar picture."""
        context = self._context
        self._begin(width_px, height_px)
        _gl.set_uniforms(
            self._shader, {"clip_from_world": np.ascontiguousarray(view.clip_from_world.T, dtype=np.float32)}
        )
        while len(self._queries) < len(objects):
            self._queries.append(context.query(samples=True))
        for row, index in enumerate(objects):
            with self._queries[row]:
                self.draw(index, 0.9 - 0.8 * row / len(objects))
        self._end()
        return np.array([query.samples for query in self._queries[: len(objects)]], dtype=np.int64)

    def draw(self, index: int, layer: float) -> None:
        """Draw one object, all of it at the depth `layer` in [0, 1]."""
        start, end = (int(value) for value in self._ranges[index])
        if end > start:
            self._context.depth_clamp_range = (layer, layer)
            self._array.render(self._context.TRIANGLES, vertices=3 * (end - start), first=3 * start)

    def _end(self) -> None:
        self._context.disable_direct(_CLIP_DISTANCE_0)
        self._context.depth_clamp_range = None
        self._context.depth_func = "<="

    def _begin(self, width_px: int, height_px: int) -> None:
        context, size = self._context, (width_px, height_px)
        if size not in self._targets:
            self._targets[size] = context.framebuffer(depth_attachment=context.depth_renderbuffer(size))
        self._targets[size].use()
        self._targets[size].clear(depth=1.0)
        context.enable_only(context.DEPTH_TEST | context.CULL_FACE)
        context.enable_direct(_CLIP_DISTANCE_0)
        context.depth_func, context.front_face, context.cull_face = "<", "cw", "back"


def apart(objects: NDArray[np.int64], bounds_m: NDArray[np.float32], eye_m: FloatArray) -> list[list[int]]:
    """Groups of objects whose bounding spheres are seen in disjoint cones from `eye_m`."""
    low, high = bounds_m[objects, 0].astype(float), bounds_m[objects, 1].astype(float)
    towards = (low + high) / 2 - eye_m
    distance = np.maximum(np.linalg.norm(towards, axis=1), 1e-9)
    radius = np.linalg.norm(high - low, axis=1) / 2
    half_angle = np.where(radius < distance, np.arcsin(np.minimum(radius / distance, 1.0)), np.pi) + 0.01
    direction = towards / distance[:, None]
    gap = np.arccos(np.clip(direction @ direction.T, -1, 1)) - half_angle[:, None] - half_angle[None]
    groups: list[list[int]] = []
    for row in np.argsort(-half_angle, kind="stable"):
        for group in groups:
            if (gap[row, group] > 0).all():
                group.append(int(row))
                break
        else:
            groups.append([int(row)])
    return [[int(objects[row]) for row in group] for group in groups]

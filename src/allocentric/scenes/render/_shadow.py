"""Shadow maps, drawn once per scene: one of the sun, and one per lamp that looks straight down.

A map that looks down from the ceiling keeps the same sharpness all over the floor. Back faces are drawn, so that lit
surfaces don't shade themselves.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from allocentric.core.types import Scene
from allocentric.scenes.render import _gl
from allocentric.scenes.render.flatten import FlatScene
from allocentric.scenes.render.lights import LAMP_TANGENT, SUN_DIRECTION, Lamps, casters_of

Array = NDArray[np.float64]

_SUN_PX = 2048
_LAMP_NEAR_M = 0.05


class ShadowMaps(NamedTuple):
    """Textures and how to look them up."""

    sun: Any
    """Depth texture."""
    sun_from_world: Array
    """(4, 4): world to (column, row, depth) in [0, 1]."""
    lamps: Any
    """Depth texture, an atlas of square tiles."""
    lamp_map: tuple[float, float, float, float]
    """Tiles along an edge, largest tangent, and a, b of depth = a - b / drop."""


def bake(context: Any, flat: FlatScene, scene: Scene, lamps: Lamps, bounds_m: Array) -> ShadowMaps:
    """Draw the maps of a scene."""
    shader = _gl.program(context, "shadow", None, {})
    vertices = context.buffer(np.ascontiguousarray(flat.positions_m).tobytes() or bytes(12))
    casters = casters_of(scene, flat.bounds_m, lamps)
    maps = ShadowMaps(
        sun=_depth_texture(context, _SUN_PX),
        sun_from_world=_sun_from_world(bounds_m),
        lamps=_depth_texture(context, _atlas_px(len(lamps.reach_m))),
        lamp_map=_lamp_map(lamps, bounds_m),
    )
    context.enable_only(context.DEPTH_TEST | context.CULL_FACE)
    context.front_face, context.cull_face = "ccw", "front"
    _draw_sun(context, shader, vertices, flat, casters.sun, maps)
    _draw_lamps(context, shader, vertices, flat, casters.lamps, maps, lamps)
    context.cull_face = "back"
    for thing in (vertices, shader):
        thing.release()
    return maps


def _draw_sun(
    context: Any, shader: Any, vertices: Any, flat: FlatScene, blocking: NDArray[np.bool_], maps: ShadowMaps
) -> None:
    target = context.framebuffer(depth_attachment=maps.sun)
    target.use()
    target.clear(depth=1.0)
    clip_from_unit = np.diag([2.0, 2.0, 2.0, 1.0])
    clip_from_unit[:3, 3] = -1
    _draw(context, shader, vertices, flat, blocking, clip_from_unit @ maps.sun_from_world)
    target.release()


def _draw_lamps(
    context: Any,
    shader: Any,
    vertices: Any,
    flat: FlatScene,
    blocking: NDArray[np.bool_],
    maps: ShadowMaps,
    lamps: Lamps,
) -> None:
    target = context.framebuffer(depth_attachment=maps.lamps)
    target.use()
    target.clear(depth=1.0)
    edge, tangent, a, b = maps.lamp_map
    tile_px = maps.lamps.width // int(edge)
    for index, position in enumerate(lamps.position_m):
        clip = np.zeros((4, 4))
        clip[0, 0] = clip[1, 1] = 1 / tangent
        clip[0, 3], clip[1, 3] = -position[:2] / tangent
        clip[3, 2], clip[3, 3] = -1.0, position[2]
        clip[2] = (2 * a - 1) * clip[3]
        clip[2, 3] -= 2 * b
        target.viewport = (index % int(edge) * tile_px, index // int(edge) * tile_px, tile_px, tile_px)
        _draw(context, shader, vertices, flat, blocking, clip)
    target.release()


def _draw(
    context: Any, shader: Any, vertices: Any, flat: FlatScene, casting: NDArray[np.bool_], clip_from_world: Array
) -> None:
    triangles = flat.triangles[casting[flat.triangle_object]]
    if len(triangles) == 0:
        return
    _gl.set_uniforms(shader, {"clip_from_world": clip_from_world.T.astype(np.float32)})
    indices = context.buffer(np.ascontiguousarray(triangles).tobytes())
    array = context.vertex_array(shader, [(vertices, "3f4", "in_position")], indices)
    array.render(context.TRIANGLES)  # the default for a program without fragment shader is points
    array.release()
    indices.release()


def _depth_texture(context: Any, size_px: int) -> Any:
    texture = context.depth_texture((size_px, size_px))
    texture.compare_func = "<="
    texture.filter = (context.LINEAR, context.LINEAR)
    texture.repeat_x = texture.repeat_y = False
    return texture


def _edge(count: int) -> int:
    return max(1, int(np.ceil(np.sqrt(count))))


def _atlas_px(count: int) -> int:
    edge = _edge(count)
    return edge * {1: 1536, 2: 1024, 3: 768}.get(edge, 640)


def _lamp_map(lamps: Lamps, bounds_m: Array) -> tuple[float, float, float, float]:
    far_m = float(np.ptp(bounds_m[:, 2])) + 1.0 if np.isfinite(bounds_m).all() else 2.0
    span = far_m - _LAMP_NEAR_M
    return float(_edge(len(lamps.reach_m))), LAMP_TANGENT, far_m / span, far_m * _LAMP_NEAR_M / span


def _sun_from_world(bounds_m: Array) -> Array:
    right = np.cross([0.0, 0.0, 1.0], SUN_DIRECTION)
    right /= np.linalg.norm(right)
    axes = np.stack([right, np.cross(SUN_DIRECTION, right), -SUN_DIRECTION])
    low, high = bounds_m if np.isfinite(bounds_m).all() else np.array([[-1.0] * 3, [1.0] * 3])
    corners = np.array([[x, y, z] for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])])
    flat = corners @ axes.T
    least, size = flat.min(axis=0) - 0.05, np.ptp(flat, axis=0) + 0.1
    out = np.eye(4)
    out[:3, :3] = axes / size[:, None]
    out[:3, 3] = -least / size
    return out

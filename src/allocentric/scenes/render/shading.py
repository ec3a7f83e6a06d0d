"""The rasteriser's look in NumPy, for the ray-caster. Its GLSL twin is shaders/shade.glsl."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from allocentric.core.types import Camera, Scene
from allocentric.scenes.render import lights, textures
from allocentric.scenes.render.flatten import FlatScene

Float32 = NDArray[np.float32]
Occluded = Callable[[str, Float32, Float32], NDArray[np.bool_]]
"""Which light ("sun" or "lamps"), rays (N, 6) with unit directions, lengths (N,) -> whether each is blocked."""

_MISS = np.uint32(0xFFFFFFFF)


class _Hits(NamedTuple):
    """Rays that met something, P of them."""

    triangle: NDArray[np.int64]
    point: Float32
    direction: Float32
    footprint: Float32
    """(P, 2, 3) how the point moves from pixel to pixel, to the right and down."""


class Look:
    """Colours of one scene."""

    def __init__(self, scene: Scene, flat: FlatScene, occluded: Occluded | None) -> None:
        self._flat = flat
        self._occluded = occluded
        self._lamps = lights.lamps_of(scene)
        self._sun = np.array(lights.SUN, np.float32) * (lights.FILL if occluded is None else 1.0)
        looks = [(*m.color, m.roughness, *m.color2, textures.PATTERNS.index(m.pattern)) for m in flat.materials]
        self._materials = np.array(looks, dtype=np.float32).reshape(-1, 8)

    def rgb(self, rays: Float32, distance: Float32, triangle: NDArray[np.uint32], camera: Camera) -> NDArray[np.uint8]:
        """(N, 3) sRGB of hits along `rays` (N, 6), in the order of the camera's pixels."""
        direction = rays[:, 3:]
        up = direction[:, 2] / np.linalg.norm(direction, axis=1)
        blend = np.clip(up, 0, 1)[:, None]
        light = np.asarray(lights.HORIZON, np.float32) * (1 - blend) + np.asarray(lights.ZENITH, np.float32) * blend
        hit = np.flatnonzero(triangle != _MISS)
        if len(hit):
            light[hit] = self._surface(self._hits(rays, distance, triangle, hit, camera))
        return np.asarray(np.round(255 * lights.to_display(light)), dtype=np.uint8)

    def _hits(
        self, rays: Float32, distance: Float32, triangle: NDArray[np.uint32], hit: NDArray[np.int64], camera: Camera
    ) -> _Hits:
        index = triangle[hit].astype(np.int64)
        grid = rays.reshape(camera.height_px, camera.width_px, 6)
        steps = [np.asarray(np.gradient(grid, axis=axis)).reshape(-1, 6)[hit] for axis in (1, 0)]
        direction, far = rays[hit, 3:], distance[hit][:, None]
        normal = self._flat.face_normals[index]
        slope = np.einsum("ij,ij->i", normal, direction)[:, None]
        slope = np.where(np.abs(slope) < 1e-6, np.float32(-1e-6), slope)
        moved = [step[:, :3] + far * step[:, 3:] for step in steps]
        on_plane = [m - direction * (np.einsum("ij,ij->i", normal, m)[:, None] / slope) for m in moved]
        return _Hits(index, rays[hit, :3] + far * direction, direction, np.stack(on_plane, axis=1))

    def _surface(self, hits: _Hits) -> Float32:
        flat, index = self._flat, hits.triangle
        material = self._materials[flat.triangle_material[index]]
        albedo = self._albedo(hits, material)
        normal = self._smooth_normals(hits)
        light = _mix(lights.GROUND, lights.SKY, 0.5 + 0.5 * normal[:, 2:])
        light += self._sun_strength(hits, normal)[:, None] * self._sun
        strength, to_lamp = self._lamp_strength(hits, normal)
        lamp = np.asarray(lights.LAMP, np.float32)
        light += strength[:, None] * lamp
        half_way = _unit(to_lamp) - _unit(hits.direction)
        shine = np.maximum(_dot(normal, _unit(half_way)), 0) ** 32
        gloss = 1 - material[:, 3]
        return np.asarray(albedo * light + (gloss**2 * lights.GLOSS * shine * strength)[:, None] * lamp, np.float32)

    def _albedo(self, hits: _Hits, material: Float32) -> Float32:
        rows = self._flat.uv_rows[hits.triangle]
        uv = np.einsum("trk,tk->tr", rows[:, :, :3], hits.point) + rows[:, :, 3]
        steps = np.einsum("trk,tsk->tsr", rows[:, :, :3], hits.footprint)
        rho = np.linalg.norm(steps, axis=2).max(axis=1) * textures.TILE_PX
        levels = textures.mip_levels()
        level = np.clip(np.round(np.log2(np.maximum(rho, 1e-6))), 0, len(levels) - 1).astype(int)
        texel = np.empty((len(uv), 4), dtype=np.float32)
        for number in np.unique(level):
            at = np.flatnonzero(level == number)
            texel[at] = _bilinear(levels[number], material[at, 7].astype(int), uv[at])
        color = material[:, :3] + (material[:, 4:7] - material[:, :3]) * texel[:, :1]
        color = color + (color[:, [1, 2, 0]] - color) * texel[:, 2:3]
        return np.asarray((color * 2 * texel[:, 1:2]) ** 2, np.float32)

    def _smooth_normals(self, hits: _Hits) -> Float32:
        corner = self._flat.triangles[hits.triangle]
        a, b, c = (self._flat.positions_m[corner[:, k]] for k in range(3))
        normal = self._flat.face_normals[hits.triangle]
        area = np.maximum(_dot(np.cross(b - a, c - a), normal), 1e-12)
        wb = _dot(np.cross(hits.point - a, c - a), normal) / area
        wc = _dot(np.cross(b - a, hits.point - a), normal) / area
        weights = np.stack([1 - wb - wc, wb, wc], axis=1)
        return _unit(np.einsum("tk,tkj->tj", weights, self._flat.normals[corner]))

    def _sun_strength(self, hits: _Hits, normal: Float32) -> Float32:
        strength = np.maximum(normal @ lights.SUN_DIRECTION.astype(np.float32), 0)
        lit = np.flatnonzero(strength > 0)
        if self._occluded is not None and len(lit):
            rays = np.empty((len(lit), 6), dtype=np.float32)
            rays[:, :3] = hits.point[lit] + self._flat.face_normals[hits.triangle[lit]] * np.float32(
                lights.SHADOW_LIFT_M
            )
            rays[:, 3:] = lights.SUN_DIRECTION
            strength[lit[self._occluded("sun", rays, np.full(len(lit), np.inf, np.float32))]] = 0
        return np.asarray(strength, np.float32)

    def _lamp_strength(self, hits: _Hits, normal: Float32) -> tuple[Float32, Float32]:
        lamp = self._flat.triangle_lamp[hits.triangle]
        to_lamp = np.tile(np.array([0, 0, 1], np.float32), (len(lamp), 1))
        strength = np.zeros(len(lamp), dtype=np.float32)
        on = np.flatnonzero(lamp >= 0)
        if not len(on):
            return strength, to_lamp
        to_lamp[on] = self._lamps.position_m[lamp[on]].astype(np.float32) - hits.point[on]
        squared = _dot(to_lamp[on], to_lamp[on])
        facing = np.maximum(_dot(normal[on], _unit(to_lamp[on])), 0)
        strength[on] = facing / (1 + squared / self._lamps.reach_m[lamp[on]].astype(np.float32) ** 2)
        self._shade_lamps(hits, to_lamp, strength)
        return strength, to_lamp

    def _shade_lamps(self, hits: _Hits, to_lamp: Float32, strength: Float32) -> None:
        drop = to_lamp[:, 2]
        steep = np.abs(to_lamp[:, :2]).max(axis=1) > lights.LAMP_TANGENT * drop
        lit = np.flatnonzero((strength > 0) & (drop > 0.05) & ~steep)
        if self._occluded is None or not len(lit):
            return
        rays = np.empty((len(lit), 6), dtype=np.float32)
        rays[:, :3] = hits.point[lit] + self._flat.face_normals[hits.triangle[lit]] * np.float32(lights.SHADOW_LIFT_M)
        rays[:, 3:] = _unit(to_lamp[lit])
        far = np.linalg.norm(to_lamp[lit], axis=1) - np.float32(0.05)
        strength[lit[self._occluded("lamps", rays, far)]] = 0


def _bilinear(tiles: NDArray[np.uint8], layer: NDArray[np.int64], uv: Float32) -> Float32:
    """Samples in [0, 1] of periodic tiles (P, S, S, 4) at uv in tiles."""
    size = tiles.shape[1]
    at = (uv % 1.0) * size - 0.5
    low = np.floor(at).astype(int)
    fraction = (at - low).astype(np.float32)
    (x0, y0), (x1, y1) = (low % size).T, ((low + 1) % size).T
    fx, fy = fraction[:, :1], fraction[:, 1:]
    below = tiles[layer, y0, x0] * (1 - fx) + tiles[layer, y0, x1] * fx
    above = tiles[layer, y1, x0] * (1 - fx) + tiles[layer, y1, x1] * fx
    return np.asarray((below * (1 - fy) + above * fy) / 255, np.float32)


def _mix(a: tuple[float, ...], b: tuple[float, ...], share: Float32) -> Float32:
    first, second = np.asarray(a, np.float32), np.asarray(b, np.float32)
    return np.asarray(first * (1 - share) + second * share, np.float32)


def _dot(a: Float32, b: Float32) -> Float32:
    out: Float32 = np.einsum("ij,ij->i", a, b)
    return out


def _unit(vectors: Float32) -> Float32:
    return np.asarray(vectors / np.sqrt(_dot(vectors, vectors) + np.float32(1e-12))[:, None], np.float32)

"""Procedural textures as small tiles that every backend samples.

A tile does not hold colours but how to mix a material's two: channel 0 goes from `color` to `color2`, channel 1 is
brightness (0.5 leaves it as it is), channel 2 shifts the hue by turning the colour's channels round. So one stack of
tiles serves every material, and both backends sample the same texels. Column u runs to the right, row v upwards, one
repeat of the pattern per tile unless `REPEATS` says more.
"""

from __future__ import annotations

from functools import lru_cache
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from allocentric.core.types import Pattern

Array = NDArray[np.float64]

TILE_PX = 256
PATTERNS: tuple[Pattern, ...] = get_args(Pattern)
REPEATS: dict[Pattern, tuple[float, float]] = {
    "planks": (12, 4), "wood": (8, 8), "tiles": (2, 2), "bricks": (4, 2.4), "fabric": (16, 16), "stripes": (2, 2),
    "checker": (1, 1), "marble": (2, 2), "carpet": (32, 32), "leaves": (2, 2), "noise": (4, 4), "books": (4, 4),
}  # fmt: skip
"""Length of a tile (across, up) in units of a material's scale; 1 for patterns that are not named. A plank is as wide
as the scale, a brick as long."""
FITTED: frozenset[Pattern] = frozenset({"picture", "screen"})
"""Patterns stretched once over the surface that has them, whatever their scale."""


@lru_cache(maxsize=1)
def tiles() -> NDArray[np.uint8]:
    """(P, TILE_PX, TILE_PX, 4) uint8, one tile per entry of PATTERNS, periodic in both directions."""
    u, v = np.meshgrid((np.arange(TILE_PX) + 0.5) / TILE_PX, (np.arange(TILE_PX) + 0.5) / TILE_PX)
    out = np.zeros((len(PATTERNS), TILE_PX, TILE_PX, 4))
    out[..., 1] = 0.5
    out[..., 3] = 1.0
    for layer, pattern in enumerate(PATTERNS):
        if pattern != "plain":
            mix, brightness, hue = _MAKERS[pattern](u, v, np.random.default_rng([20260, layer]))
            out[layer, ..., 0], out[layer, ..., 1], out[layer, ..., 2] = mix, brightness, hue
    return np.asarray(np.round(np.clip(out, 0.0, 1.0) * 255), dtype=np.uint8)


@lru_cache(maxsize=1)
def mip_levels() -> tuple[NDArray[np.uint8], ...]:
    """The tiles and their successive halvings, down to one texel."""
    levels = [tiles()]
    while levels[-1].shape[1] > 1:
        fine = levels[-1].astype(np.uint16)
        halved = fine[:, ::2, ::2] + fine[:, 1::2, ::2] + fine[:, ::2, 1::2] + fine[:, 1::2, 1::2]
        levels.append(((halved + 2) // 4).astype(np.uint8))
    return tuple(levels)


def noise(rng: np.random.Generator, cells: tuple[int, int], octaves: int = 4) -> Array:
    """(TILE_PX, TILE_PX) periodic value noise in [0, 1] with `cells` (across, up) at the coarsest octave."""
    total, weight = np.zeros((TILE_PX, TILE_PX)), 0.0
    for octave in range(octaves):
        across, up = (min(count * 2**octave, TILE_PX) for count in cells)
        total += _lattice(rng.random((up, across))) * 0.5**octave
        weight += 0.5**octave
    return total / weight


def _lattice(values: Array) -> Array:
    """Smooth periodic interpolation of lattice values (rows, columns) to the tile."""
    rows, columns = values.shape
    (y0, y1, fy), (x0, x1, fx) = _steps(rows), _steps(columns)
    low = values[y0][:, x0] * (1 - fx) + values[y0][:, x1] * fx
    high = values[y1][:, x0] * (1 - fx) + values[y1][:, x1] * fx
    return low * (1 - fy)[:, None] + high * fy[:, None]


def _steps(count: int) -> tuple[NDArray[np.int64], NDArray[np.int64], Array]:
    at = (np.arange(TILE_PX) + 0.5) / TILE_PX * count
    low = np.floor(at).astype(np.int64)
    fraction = at - low
    return low % count, (low + 1) % count, fraction * fraction * (3 - 2 * fraction)


Layers = tuple[Array, Array, Array]


def _gap(at: Array, width: float) -> Array:
    """1 near whole numbers of `at`, 0 elsewhere; `width` is the joint's share of one repeat."""
    return (np.abs(at - np.round(at)) < width / 2).astype(float)


def _per_cell(rng: np.random.Generator, column: Array, row: Array, columns: int, rows: int) -> Array:
    tone: Array = rng.random((rows, columns))[np.floor(row).astype(int) % rows, np.floor(column).astype(int) % columns]
    return tone


def _planks(u: Array, v: Array, rng: np.random.Generator) -> Layers:
    row = v * 4
    column = u * 1.0 + np.floor(row) * 0.37
    tone = _per_cell(rng, column, row, 1, 4)
    grain = noise(rng, (2, 48), 3)
    joint = np.maximum(_gap(row, 0.04), _gap(column, 0.006))
    return 0.15 + 0.5 * tone + 0.35 * (grain - 0.5), 0.5 - 0.22 * joint + 0.06 * (grain - 0.5), np.zeros_like(u)


def _wood(u: Array, v: Array, rng: np.random.Generator) -> Layers:
    del v
    warp = noise(rng, (3, 2), 3)
    rings = 0.5 + 0.5 * np.sin(2 * np.pi * (u * 8 + 1.6 * warp))
    grain = noise(rng, (64, 3), 3)
    return 0.55 * rings + 0.45 * grain, 0.5 + 0.08 * (grain - 0.5), np.zeros_like(u)


def _tiles(u: Array, v: Array, rng: np.random.Generator) -> Layers:
    joint = np.maximum(_gap(u * 2, 0.03), _gap(v * 2, 0.03))
    tone = _per_cell(rng, u * 2, v * 2, 2, 2)
    cloud = noise(rng, (6, 6), 3)
    return joint, 0.5 + 0.05 * (tone - 0.5) + 0.05 * (cloud - 0.5), np.zeros_like(u)


def _bricks(u: Array, v: Array, rng: np.random.Generator) -> Layers:
    row = v * 8
    column = u * 4 + 0.5 * (np.floor(row) % 2)
    joint = np.maximum(_gap(row, 0.14), _gap(column, 0.07))
    tone = _per_cell(rng, column, row, 4, 8)
    return joint, 0.5 + (1 - joint) * 0.16 * (tone - 0.5) + 0.1 * (noise(rng, (24, 24), 2) - 0.5), np.zeros_like(u)


def _fabric(u: Array, v: Array, rng: np.random.Generator) -> Layers:
    weave = 0.5 + 0.25 * np.sin(2 * np.pi * 16 * u) + 0.25 * np.sin(2 * np.pi * 16 * v)
    return weave, 0.5 + 0.12 * (noise(rng, (8, 8), 4) - 0.5), np.zeros_like(u)


def _stripes(u: Array, v: Array, rng: np.random.Generator) -> Layers:
    phase = np.sin(2 * np.pi * 2 * u)
    return (np.clip(phase * 4, -1, 1) + 1) / 2, 0.5 + 0.05 * (noise(rng, (32, 32), 2) - 0.5), np.zeros_like(v)


def _checker(u: Array, v: Array, rng: np.random.Generator) -> Layers:
    cell = (np.floor(u * 2) + np.floor(v * 2)) % 2
    return cell, 0.5 + 0.05 * (noise(rng, (16, 16), 3) - 0.5), np.zeros_like(u)


def _marble(u: Array, v: Array, rng: np.random.Generator) -> Layers:
    warp = noise(rng, (3, 3), 5)
    vein = np.abs(np.sin(2 * np.pi * (u + v + 1.8 * warp)))
    return np.clip(1 - vein * 3.0, 0, 1) * 0.8 + 0.2 * warp, 0.5 + 0.08 * (warp - 0.5), np.zeros_like(u)


def _carpet(u: Array, v: Array, rng: np.random.Generator) -> Layers:
    del v
    fibre = rng.random(u.shape)
    return 0.5 * noise(rng, (16, 16), 4) + 0.5 * fibre, 0.5 + 0.14 * (fibre - 0.5), np.zeros_like(u)


def _leaves(u: Array, v: Array, rng: np.random.Generator) -> Layers:
    del u
    blade = noise(rng, (12, 12), 3)
    edge = np.abs(blade - 0.5) * 2
    return np.clip(edge * 1.4, 0, 1), 0.38 + 0.3 * blade, np.zeros_like(v)


def _noise(u: Array, v: Array, rng: np.random.Generator) -> Layers:
    cloud = noise(rng, (16, 16), 5)
    return np.clip(0.5 + 1.8 * (cloud - 0.5), 0, 1), np.full_like(u, 0.5), np.zeros_like(v)


def _books(u: Array, v: Array, rng: np.random.Generator) -> Layers:
    """Spines side by side on shelves: four shelves per tile, books of uneven width and height."""
    shelf = np.floor(v * 4).astype(int) % 4
    inside = v * 4 - np.floor(v * 4)
    mix, brightness, hue = (np.zeros_like(u) for _ in range(3))
    for k in range(4):
        edges = np.sort(rng.choice(np.arange(2, 64), size=27, replace=False)) / 64
        book = np.searchsorted(edges, u)
        tone, tint, height = rng.random(28), rng.choice([0.0, 0.0, 0.5, 1.0], 28), rng.uniform(0.72, 0.96, 28)
        band = np.abs(inside - 0.55 * height[book]) < 0.035
        spine_u = u - np.concatenate([[0.0], edges])[book]
        shown = np.where(inside > height[book], 0.1, 0.34 + 0.3 * tone[book] + 0.15 * band)
        shown = np.where((spine_u < 0.004) | (inside < 0.02), 0.12, shown)
        here = shelf == k
        mix, brightness, hue = (
            np.where(here, new, old)
            for new, old in ((np.round(tone[book]), mix), (shown, brightness), (tint[book], hue))
        )
    return mix, brightness, hue


def _picture(u: Array, v: Array, rng: np.random.Generator) -> Layers:
    """A landscape: hills before a sky with a sun, within a pale margin."""
    mix, brightness, hue = np.full_like(u, 0.1), 0.62 - 0.12 * v, np.zeros_like(u)
    sun = (u - 0.68) ** 2 + (v - 0.72) ** 2 < 0.008
    mix, brightness, hue = (np.where(sun, new, old) for new, old in ((0.0, mix), (0.95, brightness), (0.5, hue)))
    for height, tone, tint in ((0.52, 0.5, 0.3), (0.38, 0.8, 0.0), (0.22, 1.0, 0.6)):
        ridge = height + 0.06 * np.sin(2 * np.pi * (u * rng.uniform(1, 2) + rng.random())) + 0.02 * np.sin(17 * u)
        hill = v < ridge
        mix, hue = np.where(hill, tone, mix), np.where(hill, tint, hue)
        brightness = np.where(hill, 0.36 + 0.3 * height, brightness)
    margin = (np.abs(u - 0.5) > 0.44) | (np.abs(v - 0.5) > 0.44)
    return np.where(margin, 0.0, mix), np.where(margin, 0.85, brightness), np.where(margin, 0.0, hue)


def _screen(u: Array, v: Array, rng: np.random.Generator) -> Layers:
    """A dark screen with a faint diagonal reflection and a bright margin-less gradient."""
    del rng
    sheen = np.clip(1 - np.abs(u - v - 0.15) * 6, 0, 1) * 0.25
    return np.clip(0.15 + 0.5 * v * (1 - np.abs(2 * u - 1)) + sheen, 0, 1), np.full_like(u, 0.5), np.zeros_like(u)


_MAKERS = {
    "planks": _planks, "wood": _wood, "tiles": _tiles, "bricks": _bricks, "fabric": _fabric, "stripes": _stripes,
    "checker": _checker, "marble": _marble, "carpet": _carpet, "leaves": _leaves, "noise": _noise, "books": _books,
    "picture": _picture, "screen": _screen,
}  # fmt: skip

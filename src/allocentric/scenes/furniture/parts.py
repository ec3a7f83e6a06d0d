"""Parts that furniture is made of (boxes, cushions, cylinders, lathed and extruded solids, leaves) and their merging.

Every part is closed (leaves are two-sided), with triangles counter-clockwise seen from outside. A part's `at` is the
middle of its bottom; +x is the front, +z up, metres.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from allocentric.core.types import Material, Mesh

Array = NDArray[np.float64]
Triangles = NDArray[np.int32]
Vector = tuple[float, float, float]
ORIGIN: Vector = (0.0, 0.0, 0.0)


class _Template(NamedTuple):
    points: Array
    normals: Array
    triangles: Triangles


class Shape:
    """A mesh that grows part by part. Methods return the shape, so calls can be chained."""

    def __init__(self) -> None:
        self._points: list[Array] = []
        self._normals: list[Array] = []
        self._triangles: list[Triangles] = []
        self._material_runs: list[tuple[int, int]] = []
        self._materials: dict[Material, int] = {}
        self._count = 0

    # ------------------------------------------------------------------------------------------------------- parts

    def box(self, material: Material, size: Vector, at: Vector = ORIGIN) -> Self:
        """A box with edges `size`."""
        unit = _unit_box()
        return self._append(material, unit.points * size + at, unit.normals, unit.triangles)

    def boxes(self, material: Material, sizes: ArrayLike, at: ArrayLike) -> Self:
        """N boxes of one material; sizes and at broadcast to (N, 3)."""
        size, where = np.broadcast_arrays(np.atleast_2d(sizes), np.atleast_2d(at))
        unit = _unit_box()
        points = unit.points[None] * size[:, None] + where[:, None]
        return self._append(material, *_repeated(points, unit.normals, unit.triangles))

    def cushion(self, material: Material, size: Vector, at: Vector = ORIGIN, *, radius: float, steps: int = 1) -> Self:
        """A box whose edges and corners are rounded by `radius` in `steps` facets per quarter."""
        unit = _unit_cushion(steps)
        half = np.asarray(size) / 2
        r = min(radius, float(half.min()))
        points = np.sign(unit.points) * (half - r) + unit.normals * r + (0.0, 0.0, half[2]) + np.asarray(at)
        return self._append(material, points, unit.normals, unit.triangles)

    def cylinder(
        self, material: Material, radius: float, height: float, at: Vector = ORIGIN, *, top: float | None = None,
        sides: int = 10,
    ) -> Self:  # fmt: skip
        """An upright cylinder, or a cone frustum with radius `top` at its upper end."""
        profile = [(0.0, 0.0), (radius, 0.0), (radius if top is None else top, height), (0.0, height)]
        return self.lathe(material, profile[:3] if top == 0 else profile, at, sides=sides)

    def rod(self, material: Material, start: Vector, end: Vector, radius: float, *, sides: int = 6) -> Self:
        """A cylinder between two points."""
        begin, stop = np.asarray(start), np.asarray(end)
        length = float(np.linalg.norm(stop - begin))
        axis = (stop - begin) / length
        side = np.cross(axis, (1.0, 0.0, 0.0) if abs(axis[0]) < 0.9 else (0.0, 1.0, 0.0))
        side /= np.linalg.norm(side)
        turn = np.stack([side, np.cross(axis, side), axis])
        unit = _unit_lathe(((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)), sides, False)
        return self._append(
            material, (unit.points * (radius, radius, length)) @ turn + begin, unit.normals @ turn, unit.triangles
        )

    def lathe(
        self, material: Material, profile: Sequence[tuple[float, float]], at: Vector = ORIGIN, *, sides: int = 12,
        smooth: bool = False,
    ) -> Self:  # fmt: skip
        """Turn a profile of (radius, height) about the vertical. It runs with the inside on its left: for a solid
        from the bottom's middle outwards, up, and back to the middle. `smooth` shades across the profile's corners.
        """
        unit = _unit_lathe(tuple((float(r), float(z)) for r, z in profile), sides, smooth)
        return self._append(material, unit.points + np.asarray(at), unit.normals, unit.triangles)

    def ellipsoid(self, material: Material, size: Vector, at: Vector = ORIGIN, *, sides: int = 10) -> Self:
        """An ellipsoid with axes `size`."""
        unit = _unit_ball(sides)
        normals = unit.normals / np.asarray(size)
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        return self._append(
            material, unit.points * size + (0.0, 0.0, size[2] / 2) + np.asarray(at), normals, unit.triangles
        )

    def prism(
        self, material: Material, outline: ArrayLike, height: float, at: Vector = ORIGIN, *, along: str = "z"
    ) -> Self:
        """Extrude a convex counter-clockwise outline (P, 2) by `height`.

        `along` "z": outline in (x, y). "y": outline in (x, z), extruded from -height/2 to height/2 in y; "x": outline
        in (y, z), likewise. The outline's origin is put at `at`.
        """
        unit = _prism(np.asarray(outline, dtype=float), height)
        points, normals = unit.points, unit.normals
        if along != "z":
            # (u, v, w) -> the two axes of the outline and the extrusion; both are cyclic or proper turns.
            order = {"x": [2, 0, 1], "y": [0, 2, 1]}[along]
            points = points - (0.0, 0.0, height / 2)
            if along == "y":  # x, z, -y keeps the turn proper
                points, normals = points * (1, 1, -1), normals * (1, 1, -1)
            points, normals = points[:, order], normals[:, order]
        return self._append(material, points + np.asarray(at), normals, unit.triangles)

    def ribbon(
        self, material: Material, path: ArrayLike, thickness: float, height: float, at: Vector = ORIGIN
    ) -> Self:
        """A standing band of even thickness along a polyline (N, 2) in xy, smoothly shaded (curtains)."""
        line = np.asarray(path, dtype=float)
        tangent = np.gradient(line, axis=0)
        tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
        left = np.column_stack([-tangent[:, 1], tangent[:, 0]])
        for side, shift in ((left, thickness / 2), (-left, -thickness / 2)):
            base = line + left * shift
            points = np.concatenate([np.column_stack([base, np.full(len(base), z)]) for z in (0.0, height)])
            normals = np.tile(np.column_stack([side, np.zeros(len(side))]), (2, 1))
            triangles = _strip(len(line), flip=shift > 0)
            self._append(material, points + np.asarray(at), normals, triangles)
        return self

    def leaves(self, material: Material, base: ArrayLike, tip: ArrayLike, width: ArrayLike) -> Self:
        """N two-sided pointed leaves from `base` (N, 3) to `tip` (N, 3), `width` (N,), folded lengthwise."""
        start, end = np.atleast_2d(np.asarray(base, dtype=float)), np.atleast_2d(np.asarray(tip, dtype=float))
        axis = end - start
        side = np.cross(axis, (0.0, 0.0, 1.0))
        length = np.linalg.norm(side, axis=1, keepdims=True)
        side = np.where(length > 1e-6, side / np.maximum(length, 1e-6), (1.0, 0.0, 0.0))
        wide = np.broadcast_to(np.asarray(width, dtype=float), len(start))[:, None]
        up = np.cross(side, axis / np.linalg.norm(axis, axis=1, keepdims=True))
        middle = start + 0.45 * axis
        corners = np.stack(
            [start, middle + (side * 0.5 + up * 0.12) * wide, end, middle - (side * 0.5 - up * 0.12) * wide], axis=1
        )
        upper = np.array([[0, 1, 2], [0, 2, 3]], dtype=np.int32)
        for facing, order in ((1.0, upper), (-1.0, upper[:, ::-1])):
            normals = np.repeat(up[:, None] * facing, 4, axis=1).reshape(-1, 3)
            triangles = (np.arange(len(start), dtype=np.int32)[:, None, None] * 4 + order).reshape(-1, 3)
            self._append(material, corners.reshape(-1, 3), normals, triangles)
        return self

    def put(self, other: Shape, at: Vector = ORIGIN, yaw_rad: float = 0.0) -> Self:
        """Add a copy of another shape, turned about the vertical and moved."""
        cos, sin = np.cos(yaw_rad), np.sin(yaw_rad)
        turn_t = np.array([[cos, sin, 0.0], [-sin, cos, 0.0], [0.0, 0.0, 1.0]])
        materials, first = list(other._materials), 0
        for points, normals, triangles, (material, _) in zip(
            other._points, other._normals, other._triangles, other._material_runs, strict=True
        ):
            self._append(
                materials[material], _turned(points, turn_t) + at, _turned(normals, turn_t), triangles - first
            )
            first += len(points)
        return self

    def stretched(self, factors: Vector) -> Self:
        """Scale everything so far about the origin; factors are positive."""
        self._points = [points * factors for points in self._points]
        self._normals = [normals / np.asarray(factors) for normals in self._normals]
        self._normals = [normals / np.linalg.norm(normals, axis=1, keepdims=True) for normals in self._normals]
        return self

    def tipped_forward(self) -> Self:
        """Turn everything so far about y so that what pointed up points to the front."""
        turn_t = np.array([[0.0, 0.0, -1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
        self._points = [points @ turn_t for points in self._points]
        self._normals = [normals @ turn_t for normals in self._normals]
        return self

    # ------------------------------------------------------------------------------------------------------ result

    def bounds(self) -> tuple[Array, Array]:
        """Lowest and highest corner, (3,) each."""
        points = np.concatenate(self._points)
        return points.min(axis=0), points.max(axis=0)

    def centred(self) -> tuple[Mesh, Array, Array]:
        """The merged mesh moved so that its box is centred on the origin, the box's size (3,), and its old centre."""
        points = np.concatenate(self._points)
        low, high = points.min(axis=0), points.max(axis=0)
        centre = (low + high) / 2
        mesh = Mesh(
            positions_m=(points - centre).astype(np.float32),
            normals=np.concatenate(self._normals).astype(np.float32),
            triangles=np.concatenate(self._triangles),
            vertex_material=np.repeat(*np.array(self._material_runs, dtype=np.int32).T).astype(np.int32),
            materials=tuple(self._materials),
        )
        return mesh, high - low, centre

    def _append(self, material: Material, points: Array, normals: Array, triangles: Triangles) -> Self:
        index = self._materials.setdefault(material, len(self._materials))
        self._points.append(points)
        self._normals.append(normals)
        self._triangles.append(triangles + np.int32(self._count))
        self._material_runs.append((index, len(points)))
        self._count += len(points)
        return self


# -------------------------------------------------------------------------------------------------------- templates


def _repeated(points: Array, normals: Array, triangles: Triangles) -> tuple[Array, Array, Triangles]:
    """Points (N, V, 3) of N copies of one template, flattened."""
    count, vertices = points.shape[:2]
    shift = np.arange(count, dtype=np.int32)[:, None, None] * np.int32(vertices)
    return points.reshape(-1, 3), np.tile(normals, (count, 1)), (triangles + shift).reshape(-1, 3)


def _turned(points: Array, turn_t: Array) -> Array:
    """The product points @ turn_t without the threads that a matrix product starts for tall thin arrays."""
    return np.asarray(points[:, :1] * turn_t[0] + points[:, 1:2] * turn_t[1] + points[:, 2:] * turn_t[2])


@lru_cache(maxsize=1)
def _unit_box() -> _Template:
    """Edges 1, bottom at z = 0; four vertices per face."""
    points: list[Array] = []
    normals, triangles = [], []
    for axis in range(3):
        u, v = (axis + 1) % 3, (axis + 2) % 3
        for sign in (-1.0, 1.0):
            face = np.zeros((4, 3))
            face[:, axis] = sign / 2
            face[:, u] = np.array([-1, 1, 1, -1]) / 2
            face[:, v] = np.array([-1, -1, 1, 1]) * sign / 2
            first = 4 * len(points)
            triangles += [[first, first + 1, first + 2], [first, first + 2, first + 3]]
            points.append(face + np.array([0.0, 0.0, 0.5]))
            normals.append(np.tile(np.eye(3)[axis] * sign, (4, 1)))
    return _Template(np.concatenate(points), np.concatenate(normals), np.array(triangles, dtype=np.int32))


@lru_cache(maxsize=8)
def _unit_cushion(steps: int) -> _Template:
    """Unit directions with every octant's rim repeated; `points` holds the octant signs."""
    quarter = np.linspace(0.0, np.pi / 2, steps + 1)
    azimuth = np.concatenate([quarter + k * np.pi / 2 for k in range(4)])
    octant_x = np.repeat([1.0, -1.0, -1.0, 1.0], steps + 1)
    octant_y = np.repeat([1.0, 1.0, -1.0, -1.0], steps + 1)
    polar = np.concatenate([quarter - np.pi / 2, quarter])  # from the bottom up
    octant_z = np.repeat([-1.0, 1.0], steps + 1)
    rows, columns = len(polar), len(azimuth)
    cos, sin = np.cos(polar)[:, None], np.sin(polar)[:, None]
    normals = np.stack(np.broadcast_arrays(cos * np.cos(azimuth), cos * np.sin(azimuth), sin), axis=-1)
    signs = np.stack(np.broadcast_arrays(octant_x[None], octant_y[None], octant_z[:, None]), axis=-1)
    bottom = [[0, k + 1, k] for k in range(1, columns - 1)]
    top = [[rows * columns - columns, rows * columns - columns + k, rows * columns - columns + k + 1]
           for k in range(1, columns - 1)]  # fmt: skip
    triangles = np.concatenate([_grid(rows, columns), np.array(bottom + top, dtype=np.int32)])
    corners = (signs + normals).reshape(-1, 3)[triangles]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    return _Template(signs.reshape(-1, 3), normals.reshape(-1, 3), triangles[area > 1e-9])


def _grid(rows: int, columns: int) -> Triangles:
    """Triangles of a grid whose columns run counter-clockwise and close, rows upwards."""
    row, column = np.meshgrid(np.arange(rows - 1), np.arange(columns), indexing="ij")
    a, b = row * columns + column, row * columns + (column + 1) % columns
    c, d = b + columns, a + columns
    quads = np.stack([a, b, c, a, c, d], axis=-1)
    return quads.reshape(-1, 3).astype(np.int32)


def _strip(columns: int, *, flip: bool) -> Triangles:
    a = np.arange(columns - 1)
    quads = np.stack([a, a + 1, a + 1 + columns, a, a + 1 + columns, a + columns], axis=-1).reshape(-1, 3)
    return np.asarray(quads[:, ::-1] if flip else quads, dtype=np.int32)


@lru_cache(maxsize=512)
def _unit_lathe(profile: tuple[tuple[float, float], ...], sides: int, smooth: bool) -> _Template:
    line = np.array(profile)
    step = np.diff(line, axis=0)
    outward = np.column_stack([step[:, 1], -step[:, 0]])
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    if smooth:
        corner = np.concatenate([outward[:1], outward[:-1] + outward[1:], outward[-1:]])
        corner /= np.linalg.norm(corner, axis=1, keepdims=True)
        slopes = np.stack([corner[:-1], corner[1:]], axis=1)
    else:
        slopes = np.repeat(outward[:, None], 2, axis=1)
    angle = np.arange(sides) * (2 * np.pi / sides)
    ring = np.column_stack([np.cos(angle), np.sin(angle)])
    points, normals, triangles, count = [], [], [], 0
    for segment, slope in zip(pairwise(line), slopes, strict=True):
        for (radius, height), (out, up) in zip(segment, slope, strict=True):
            points.append(np.column_stack([ring * radius, np.full(sides, height)]))
            normals.append(np.column_stack([ring * out, np.full(sides, up)]))
        quads = _grid(2, sides) + count
        # A ring of radius 0 is a point and has no triangle of its own.
        keep = np.array([segment[0][0] > 0, segment[1][0] > 0] * sides)
        triangles.append(quads[keep])
        count += 2 * sides
    return _Template(np.concatenate(points), np.concatenate(normals), np.concatenate(triangles).astype(np.int32))


@lru_cache(maxsize=8)
def _unit_ball(sides: int) -> _Template:
    polar = np.linspace(-np.pi / 2, np.pi / 2, sides // 2 + 1)
    profile = tuple((float(r), float(z)) for r, z in zip(np.cos(polar) / 2, np.sin(polar) / 2, strict=True))
    ball = _unit_lathe(((0.0, -0.5), *profile[1:-1], (0.0, 0.5)), sides, True)
    return _Template(ball.points, ball.points / np.linalg.norm(ball.points, axis=1, keepdims=True), ball.triangles)


def _prism(outline: Array, height: float) -> _Template:
    """Flat-shaded prism over a convex counter-clockwise outline, from z = 0 to `height`."""
    count = len(outline)
    following = np.roll(outline, -1, axis=0)
    step = following - outline
    sideways = np.column_stack([step[:, 1], -step[:, 0]])
    sideways /= np.linalg.norm(sideways, axis=1, keepdims=True)
    walls = np.concatenate(
        [np.column_stack([xy, np.full(count, z)]) for xy, z in
         ((outline, 0.0), (following, 0.0), (following, height), (outline, height))]
    )  # fmt: skip
    caps = [np.column_stack([outline, np.full(count, z)]) for z in (0.0, height)]
    a = np.arange(count)
    fan = np.column_stack([np.zeros(count - 2, dtype=int), a[1:-1], a[2:]])
    triangles = np.concatenate([
        np.column_stack([a, a + count, a + 2 * count]),
        np.column_stack([a, a + 2 * count, a + 3 * count]),
        fan[:, ::-1] + 4 * count,
        fan + 5 * count,
    ])  # fmt: skip
    side_normals = np.tile(np.column_stack([sideways, np.zeros(count)]), (4, 1))
    cap_normals = np.repeat([[0.0, 0.0, -1.0], [0.0, 0.0, 1.0]], count, axis=0)
    return _Template(
        np.concatenate([walls, *caps]), np.concatenate([side_normals, cap_normals]), triangles.astype(np.int32)
    )

from __future__ import annotations

import numpy as np
import pytest

from allocentric.core.types import Material, Mesh
from allocentric.scenes.furniture.catalog import categories
from allocentric.scenes.furniture.parts import Shape
from allocentric.scenes.houses.plan import KINDS

M = Material()
SQUARE = [[0, 0], [1, 0], [1, 1], [0, 1]]
PARTS = {
    "box": (Shape().box(M, (1, 2, 3), (4, 5, 6)), 6.0),
    "boxes": (Shape().boxes(M, [[1, 1, 1], [1, 2, 1]], [[0, 0, 0], [5, 5, 5]]), 3.0),
    "cushion": (Shape().cushion(M, (1, 2, 0.5), radius=0.1, steps=6), None),
    "cylinder": (Shape().cylinder(M, 0.5, 2, sides=96), np.pi / 2),
    "cone": (Shape().cylinder(M, 0.5, 3, top=0, sides=96), np.pi / 4),
    "tube": (Shape().lathe(M, [(0.4, 0), (0.5, 0), (0.5, 1), (0.4, 1), (0.4, 0)], sides=96), np.pi * 0.09),
    "rod": (Shape().rod(M, (1, 0, 0), (0, 2, 2), 0.1, sides=96), np.pi * 0.01 * 3),
    "ellipsoid": (Shape().ellipsoid(M, (1, 2, 3), sides=64), np.pi),
    "prism z": (Shape().prism(M, SQUARE, 3), 3.0),
    "prism y": (Shape().prism(M, SQUARE, 3, along="y"), 3.0),
    "prism x": (Shape().prism(M, SQUARE, 3, along="x"), 3.0),
    "put": (Shape().put(Shape().box(M, (1, 1, 1)).cylinder(M, 0.5, 1, sides=96), (3, 2, 1), 0.7), 1 + np.pi / 4),
    "stretched": (Shape().ellipsoid(M, (1, 1, 1), sides=64).stretched((1, 2, 3)), np.pi),
    "tipped": (Shape().cylinder(M, 0.5, 2, sides=96).tipped_forward(), np.pi / 2),
}
CATEGORIES = sorted(categories())


def triangles_of(mesh: Mesh) -> np.ndarray:
    return mesh.positions_m.astype(float)[mesh.triangles]


def volume(mesh: Mesh) -> float:
    """Enclosed volume by the divergence theorem; positive where triangles face outwards."""
    t = triangles_of(mesh)
    return float(np.einsum("ij,ij->i", t[:, 0], np.cross(t[:, 1], t[:, 2])).sum() / 6)


def check_normals(mesh: Mesh) -> None:
    assert np.allclose(np.linalg.norm(mesh.normals, axis=1), 1, atol=1e-5)
    t = triangles_of(mesh)
    facing = np.cross(t[:, 1] - t[:, 0], t[:, 2] - t[:, 0])
    shaded = mesh.normals[mesh.triangles].mean(axis=1)
    assert np.all(np.einsum("ij,ij->i", facing, shaded) >= -1e-9)


@pytest.mark.parametrize("name", PARTS)
def test_parts_are_closed_and_face_outwards(name: str) -> None:
    shape, expected = PARTS[name]
    mesh, _, _ = shape.centred()
    check_normals(mesh)
    _, corner = np.unique(mesh.positions_m.round(5), axis=0, return_inverse=True)
    triangles = corner.ravel()[mesh.triangles]
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    edges = edges[edges[:, 0] != edges[:, 1]]
    forward = sorted(map(tuple, edges.tolist()))
    assert forward == sorted(map(tuple, edges[:, ::-1].tolist()))  # each edge is walked once either way
    if expected is not None:
        assert volume(mesh) == pytest.approx(expected, rel=0.01)


def test_a_cushion_is_a_box_less_its_edges() -> None:
    mesh, size, _ = PARTS["cushion"][0].centred()
    r, (a, b, c) = 0.1, np.array([1, 2, 0.5]) - 0.2
    whole = a * b * c + 2 * r * (a * b + b * c + a * c) + np.pi * r**2 * (a + b + c) + 4 / 3 * np.pi * r**3
    assert np.allclose(size, [1, 2, 0.5])
    assert volume(mesh) == pytest.approx(whole, rel=0.01)


def test_leaves_are_seen_from_both_sides() -> None:
    mesh, _, _ = Shape().leaves(M, [[0, 0, 0]], [[1, 0, 0.3]], [0.4]).centred()
    check_normals(mesh)
    t = triangles_of(mesh)
    facing = np.cross(t[:, 1] - t[:, 0], t[:, 2] - t[:, 0])[:, 2]
    assert (facing > 0).sum() == (facing < 0).sum() == 2


def test_there_are_many_categories() -> None:
    assert len(CATEGORIES) >= 60


@pytest.mark.parametrize("label", CATEGORIES)
def test_every_category_makes_sound_pieces(label: str) -> None:
    category = categories()[label]
    sizes = []
    for seed in range(4):
        piece = category.make(np.random.default_rng([seed, 7]))
        check_normals(piece.mesh)
        assert volume(piece.mesh) > 0
        assert len(piece.mesh.triangles) <= 1500
        assert piece.mesh.vertex_material.max() < len(piece.mesh.materials)
        assert np.allclose(np.ptp(piece.mesh.positions_m, axis=0), piece.size_m, atol=1e-6)
        per_triangle = piece.mesh.vertex_material[piece.mesh.triangles]
        assert np.all(per_triangle == per_triangle[:, :1])
        for surface in piece.surfaces:
            reach = np.abs(surface.centre_m[:2]) + np.array(surface.size_m) / 2
            assert np.all(reach <= piece.size_m[:2] / 2 + 1e-9)
            assert abs(surface.centre_m[2]) <= piece.size_m[2] / 2 + 1e-9
        sizes.append(piece.size_m)
    assert 0.002 < np.min(sizes) <= np.max(sizes) < 2.4
    assert set(category.rooms) <= KINDS.keys()
    assert set(category.on) <= categories().keys()
    assert bool(category.on) == (category.spot == "on")


def test_pieces_of_most_categories_differ() -> None:
    fixed = 0
    for category in categories().values():
        first, second = (category.make(np.random.default_rng(seed)) for seed in (1, 2))
        fixed += bool(np.allclose(first.size_m, second.size_m) and first.mesh.materials == second.mesh.materials)
    assert fixed <= 0.05 * len(categories())

"""The distance between two objects as published generators measure it: between points of 5 cm grids.

Kept for comparison only; questions use the exact `core.geometry.box_distance`. Definition of
`sample_points_in_oriented_bbox_uniform` in VITA-Group/VLM-3R@6dd1264: along each edge of the box ceil(length / 5 cm)
points, evenly from end to end; the inner half in every direction is left out; the distance is that of the closest pair
of points. It is never below the exact distance, and above 0 for boxes that meet.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from allocentric.core.geometry import transform_points
from allocentric.core.types import FloatArray, Object

SPACING_M = 0.05


def hollow_grid(world_from_box: FloatArray, size_m: FloatArray, spacing_m: float = SPACING_M) -> NDArray[np.float64]:
    """(P, 3) world points of the grid of one box with pose (4, 4) and full edges (3,) in metres."""
    size = np.asarray(size_m, dtype=float)
    edges = [np.linspace(-edge / 2, edge / 2, int(np.ceil(edge / spacing_m))) for edge in size]
    points = np.stack(np.meshgrid(*edges, indexing="ij"), axis=-1).reshape(-1, 3)
    return transform_points(world_from_box, points[np.any(np.abs(points) > size / 4, axis=1)])


def grid_distance(a: Sequence[Object], b: Sequence[Object]) -> float:
    """Smallest grid distance in metres between any object of `a` and any of `b`."""
    tree = cKDTree(np.concatenate([hollow_grid(thing.world_from_object, thing.size_m) for thing in a]))
    points = np.concatenate([hollow_grid(thing.world_from_object, thing.size_m) for thing in b])
    distances, _ = tree.query(points)
    return float(np.min(distances))

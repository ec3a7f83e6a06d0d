"""The front of a piece of furniture is its local +x."""

from __future__ import annotations

import numpy as np
import pytest

from allocentric.scenes.furniture.catalog import categories


@pytest.mark.parametrize("label", ["chair", "armchair", "sofa", "office chair", "bed", "toilet"])
def test_local_x_is_the_front(label: str) -> None:
    """What one leans on (backrest, headboard, cistern) rises at the back, so the top lies at negative x."""
    for seed in range(5):
        mesh = categories()[label].make(np.random.default_rng(seed)).mesh
        height = np.ptp(mesh.positions_m[:, 2])
        top = mesh.positions_m[mesh.positions_m[:, 2] > mesh.positions_m[:, 2].max() - 0.15 * height]
        assert top[:, 0].mean() < 0, label


@pytest.mark.parametrize("label", ["tv", "monitor", "laptop"])
def test_screens_face_the_front(label: str) -> None:
    for seed in range(5):
        mesh = categories()[label].make(np.random.default_rng(seed)).mesh
        screens = [index for index, material in enumerate(mesh.materials) if material.pattern == "screen"]
        facing = mesh.normals[np.isin(mesh.vertex_material, screens)]
        assert np.percentile(facing[:, 0], 90) > 0.3, label

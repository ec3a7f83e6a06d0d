"""Smoothed routes stay on free cells, whatever the obstacles."""

from __future__ import annotations

import numpy as np
import pytest

from allocentric.scenes.routes import is_free, largest_component, route, route_graph, routes_between, smooth_route


@pytest.mark.parametrize("seed", [*range(20), 27, 80, 121, 148, 157, 210])
def test_smoothed_routes_end_and_stay_free(seed: int) -> None:
    """The seeds from 27 on have shortcuts that touch a corner between the samples that test them."""
    free = np.random.default_rng(seed).random((24, 24)) > 0.12
    graph = route_graph(free, preferred_clearance=2.0)
    cells = np.argwhere(largest_component(graph))
    ends = np.stack([cells[0], cells[-1]])
    steps = route(graph, routes_between(graph, ends), 0, 1)
    points = smooth_route(graph, steps, rounding=2.0, comfortable=3.0)
    assert is_free(free, points).all()
    np.testing.assert_allclose(points[[0, -1]], ends)

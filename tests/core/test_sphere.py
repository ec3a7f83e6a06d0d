"""Geometry of gaze directions against dense sampling and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from allocentric.core.scoring import direction_error_rad
from allocentric.core.sphere import (
    WHOLE_SPHERE,
    Window,
    distance_to_window_rad,
    great_circle_rad,
    horizon_axes,
    tangent_vectors,
    transported,
    unit_vectors,
)
from allocentric.core.types import Direction

yaws = st.floats(-10, 10)
pitches = st.floats(-math.pi / 2, math.pi / 2)
directions = st.tuples(yaws, pitches)


@given(directions, directions)
def test_distance_is_the_spherical_law_of_cosines(a: tuple[float, float], b: tuple[float, float]) -> None:
    cosine = math.sin(a[1]) * math.sin(b[1]) + math.cos(a[1]) * math.cos(b[1]) * math.cos(a[0] - b[0])
    assert math.cos(float(great_circle_rad(a, b))) == pytest.approx(cosine, abs=1e-12)
    assert float(great_circle_rad(a, b)) == pytest.approx(direction_error_rad(Direction(*a), Direction(*b)), abs=1e-12)


def test_tiny_and_nearly_opposite_distances_are_exact() -> None:
    for angle in (1e-12, 1e-9, math.pi - 1e-9, math.pi):
        assert float(great_circle_rad([0.3, 0.0], [0.3 + angle, 0.0])) == pytest.approx(angle, rel=1e-3, abs=1e-15)


def test_seam_and_poles_are_nowhere() -> None:
    assert great_circle_rad([np.pi - 0.01, 0.2], [-np.pi + 0.01, 0.2]) < 0.02
    assert great_circle_rad([0.4, 0.2], [0.4 - 6 * np.pi, 0.2]) < 1e-14
    assert great_circle_rad([0.0, np.pi / 2], [2.0, np.pi / 2]) < 1e-15
    assert great_circle_rad([0.0, np.pi / 2], [2.0, -np.pi / 2]) == pytest.approx(np.pi, abs=1e-15)


@given(directions, directions)
def test_tangent_vectors_lead_to_their_target(a: tuple[float, float], b: tuple[float, float]) -> None:
    start, vector = unit_vectors(a), tangent_vectors(a, b)
    arc = float(np.linalg.norm(vector))
    assert abs(float(start @ vector)) < 1e-9
    assert arc == pytest.approx(float(great_circle_rad(a, b)), abs=1e-9)
    reached = start * math.cos(arc) + (vector / arc if arc > 0 else vector) * math.sin(arc)
    np.testing.assert_allclose(reached, unit_vectors(b), atol=1e-6 if arc > 3.14 else 1e-9)


@given(directions, directions, st.integers(0, 1000))
def test_transport_is_an_isometry_that_keeps_the_great_circle(
    a: tuple[float, float], b: tuple[float, float], seed: int
) -> None:
    right, up = horizon_axes(a)
    weights = np.random.default_rng(seed).normal(size=2)
    vector = weights[0] * right + weights[1] * up
    carried = transported(vector, a, b)
    assert float(np.linalg.norm(carried)) == pytest.approx(float(np.linalg.norm(vector)), abs=1e-6)
    assert abs(float(carried @ unit_vectors(b))) < 1e-6
    if 1e-3 < float(great_circle_rad(a, b)) < 3.1:
        forth, back = tangent_vectors(a, b), tangent_vectors(b, a)
        np.testing.assert_allclose(transported(forth, a, b), -back, atol=1e-6)
        np.testing.assert_allclose(transported(carried, b, a), vector, atol=1e-6)


def test_opposite_directions_keep_right_and_up() -> None:
    a, b = np.array([0.7, 0.4]), np.array([0.7 + np.pi, -0.4])
    for ours, theirs in zip(horizon_axes(a), horizon_axes(b), strict=True):
        np.testing.assert_allclose(transported(ours, a, b), theirs, atol=1e-12)
    np.testing.assert_allclose(tangent_vectors(a, b), np.pi * horizon_axes(a)[0])


@pytest.mark.parametrize(
    "window",
    [
        Window((-0.4, 0.5), (-0.3, 0.2)),
        Window((2.9, 3.6), (0.9, 1.3)),
        Window((-2.5, 2.5), (-1.5, -0.2)),
        Window((0.2, 0.2), (0.5, 0.5)),
        Window((1.0, 1.0 + 2 * np.pi), (1.0, np.pi / 2)),
    ],
)
def test_distance_to_a_window_is_the_least_over_its_points(window: Window) -> None:
    rng = np.random.default_rng(5)
    looks = np.column_stack([rng.uniform(-np.pi, np.pi, 40), np.arcsin(rng.uniform(-1, 1, 40))])
    points = np.stack(np.meshgrid(np.linspace(*window.yaw_rad, 151), np.linspace(*window.pitch_rad, 151)), axis=-1)
    nearest = np.array([great_circle_rad(look, points.reshape(-1, 2)).min() for look in looks])
    distances = distance_to_window_rad(looks, window)
    assert np.all(distances <= nearest + 1e-12)
    np.testing.assert_allclose(distances, nearest, atol=0.022)  # half a step of the samples
    turned = np.add(looks, [8 * np.pi, 0])
    np.testing.assert_allclose(distance_to_window_rad(turned, window), distances, atol=1e-9)
    mirrored = Window((-window.yaw_rad[1], -window.yaw_rad[0]), window.pitch_rad)
    np.testing.assert_allclose(distance_to_window_rad(looks * [-1, 1], mirrored), distances, atol=1e-12)


def test_inside_a_window_the_distance_is_exactly_zero() -> None:
    window = Window((np.radians(330.0), np.radians(390.0)), (np.radians(-20.0), np.radians(20.0)))
    inside = np.radians([[0.0, 0.0], [-30.0, 20.0], [30.0, -20.0], [390.0, 0.0], [330.0, 20.0]])
    assert not distance_to_window_rad(inside, window).any()
    # the pitch counts also where the window crosses the seam
    assert float(distance_to_window_rad([0.0, np.pi / 2], window)) == pytest.approx(np.radians(70.0))
    assert not distance_to_window_rad([[3.0, 1.0], [0.0, -np.pi / 2]], WHOLE_SPHERE).any()


def test_rotations_keep_distances() -> None:
    rng = np.random.default_rng(2)
    looks = np.column_stack([rng.uniform(-np.pi, np.pi, 40), np.arcsin(rng.uniform(-1, 1, 40))])
    vectors = Rotation.random(rng=rng).apply(unit_vectors(looks))
    turned = np.column_stack([np.arctan2(vectors[:, 0], vectors[:, 1]), np.arcsin(vectors[:, 2])])
    before = great_circle_rad(looks[:, None], looks[None])
    np.testing.assert_allclose(great_circle_rad(turned[:, None], turned[None]), before, atol=1e-7)


def test_impossible_directions_and_windows_are_refused() -> None:
    for bad in ([0.0, 1.6], [np.nan, 0.0], [0.0], 0.0, [0.0, 0.0, 1.0]):
        with pytest.raises(ValueError, match="expected"):
            unit_vectors(bad)
    for window in (Window((1.0, 0.0), (0.0, 1.0)), Window((0.0, 1.0), (1.0, 0.0)), Window((0.0, 1.0), (0.0, 2.0))):
        with pytest.raises(ValueError, match="expected a window"):
            distance_to_window_rad([0.0, 0.0], window)

"""Gaze directions on the sphere: great-circle distances, tangent vectors, windows.

A direction is (yaw, pitch) in radians as everywhere: yaw + is right of the panorama's centre column, at any number of
turns; pitch + is up, in [-pi/2, pi/2]. Unit vectors have axes (right, forward, up) of a head at yaw 0. Nothing here
knows the seam, and at the poles every yaw is the same direction.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

_ROUNDING_RAD = 1e-9
"""Pitches are accepted and windows are entered this far outside, because degrees are converted."""
_ANTIPODAL = 1e-12
"""1 + a.b below which two unit vectors count as opposite (closer than 1.5e-6 rad)."""


class Window(NamedTuple):
    """Directions between two meridians and two parallels."""

    yaw_rad: tuple[float, float]
    """From its left edge to its right edge, turning right; any number of turns, so (3.0, 3.5) crosses the seam. A
    right edge a whole turn or more from the left one takes in every yaw."""
    pitch_rad: tuple[float, float]
    """Lower and upper edge."""


WHOLE_SPHERE = Window((-np.pi, np.pi), (-np.pi / 2, np.pi / 2))
"""Every direction."""


def unit_vectors(directions_rad: ArrayLike) -> Array:
    """(..., 2) directions -> (..., 3) unit vectors.

    Raises:
        ValueError: the last axis is not (yaw, pitch), a value is not finite, or a pitch is beyond a pole.
    """
    yaw, pitch = np.moveaxis(_directions(directions_rad), -1, 0)
    return np.stack([np.cos(pitch) * np.sin(yaw), np.cos(pitch) * np.cos(yaw), np.sin(pitch)], axis=-1)


def great_circle_rad(first_rad: ArrayLike, second_rad: ArrayLike) -> Array:
    """Angle in [0, pi] between (..., 2) directions, broadcast; accurate for tiny and for nearly opposite ones."""
    return angle_between(unit_vectors(first_rad), unit_vectors(second_rad))


def angle_between(a: Array, b: Array) -> Array:
    """Angle in [0, pi] between (..., K) vectors of any length; NaN where one is zero."""
    lengths_a, lengths_b = (np.linalg.norm(v, axis=-1, keepdims=True) for v in (a, b))
    with np.errstate(invalid="ignore"):
        unit_a, unit_b = a / lengths_a, b / lengths_b
    return np.asarray(
        2 * np.arctan2(np.linalg.norm(unit_a - unit_b, axis=-1), np.linalg.norm(unit_a + unit_b, axis=-1))
    )


def horizon_axes(directions_rad: ArrayLike) -> tuple[Array, Array]:
    """(..., 3) unit vectors to the right and up in the tangent plane at each (..., 2) direction.

    At a pole they are those of the yaw that is written down.
    """
    yaw, pitch = np.moveaxis(_directions(directions_rad), -1, 0)
    right = np.stack([np.cos(yaw), -np.sin(yaw), np.zeros_like(yaw)], axis=-1)
    up = np.stack([-np.sin(pitch) * np.sin(yaw), -np.sin(pitch) * np.cos(yaw), np.cos(pitch)], axis=-1)
    return right, up


def tangent_vectors(from_rad: ArrayLike, to_rad: ArrayLike) -> Array:
    """(..., 3) vectors tangent at `from_rad` that point along the great circle to `to_rad`, as long as the arc.

    Between opposite directions, where every great circle is shortest, the one to the right is taken.
    """
    a, b = unit_vectors(from_rad), unit_vectors(to_rad)
    cosine = np.sum(a * b, axis=-1, keepdims=True)
    across = b - cosine * a
    sine = np.linalg.norm(across, axis=-1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        vectors = np.where(sine > 0, angle_between(a, b)[..., None] * across / sine, 0.0)
    right, _ = horizon_axes(from_rad)
    return np.asarray(np.where(1 + cosine < _ANTIPODAL, np.pi * right, vectors))


def transported(vectors: Array, from_rad: ArrayLike, to_rad: ArrayLike) -> Array:
    """(..., 3) tangent vectors carried along the great circle without turning (Levi-Civita transport).

    Lengths and the angle to the great circle stay. To an opposite direction, vectors go along the great circle to the
    right, which keeps right and up.
    """
    b, a = unit_vectors(from_rad), unit_vectors(to_rad)
    nearness = 1 + np.sum(a * b, axis=-1, keepdims=True)
    opposite = nearness < _ANTIPODAL
    along = np.sum(a * vectors, axis=-1, keepdims=True)
    carried = vectors - along / np.where(opposite, 1.0, nearness) * (a + b)
    right, _ = horizon_axes(from_rad)
    turned = vectors - 2 * np.sum(right * vectors, axis=-1, keepdims=True) * right
    return np.asarray(np.where(opposite, turned, carried))


def distance_to_window_rad(directions_rad: ArrayLike, window: Window) -> Array:
    """Great-circle distance in [0, pi] from (..., 2) directions to the nearest point of a window; 0 inside.

    At any pitch the nearest yaw is the one with the smallest turn, so the nearest point lies on one meridian, where
    the cosine of the distance is a cosine of the pitch.

    Raises:
        ValueError: as `unit_vectors`, or a window with edges the wrong way round or beyond a pole.
    """
    yaw, pitch = np.moveaxis(_directions(directions_rad), -1, 0)
    left, right, low, high = _window_edges(window)
    off_middle = np.abs(np.remainder(yaw - (left + right) / 2 + np.pi, 2 * np.pi) - np.pi)
    half_width = min(right - left, 2 * np.pi) / 2
    turn = np.maximum(0.0, off_middle - half_width)
    turn = np.where(turn <= _ROUNDING_RAD, 0.0, turn)
    best = np.arctan2(np.sin(pitch), np.cos(pitch) * np.cos(turn))
    candidates = np.stack([np.clip(best, low, high), np.full_like(best, low), np.full_like(best, high)])
    distances = great_circle_rad(np.stack([turn, pitch], axis=-1), _with_yaw_zero(candidates))
    inside = (turn == 0) & (pitch >= low - _ROUNDING_RAD) & (pitch <= high + _ROUNDING_RAD)
    return np.asarray(np.where(inside, 0.0, distances.min(axis=0)))


def _with_yaw_zero(pitch_rad: Array) -> Array:
    return np.stack([np.zeros_like(pitch_rad), pitch_rad], axis=-1)


def _window_edges(window: Window) -> tuple[float, float, float, float]:
    (left, right), (low, high) = window
    if not (np.isfinite([left, right]).all() and left <= right):
        raise ValueError(f"expected a window's left edge <= its right edge, got {window.yaw_rad!r}")
    if not -np.pi / 2 - _ROUNDING_RAD <= low <= high <= np.pi / 2 + _ROUNDING_RAD:
        raise ValueError(f"expected a window's pitches in order within ±pi/2, got {window.pitch_rad!r}")
    return left, right, max(low, -np.pi / 2), min(high, np.pi / 2)


def _directions(directions_rad: ArrayLike) -> Array:
    directions = np.asarray(directions_rad, dtype=np.float64)
    if directions.ndim == 0 or directions.shape[-1] != 2:
        raise ValueError(f"expected (..., 2) yaws and pitches, got shape {directions.shape}")
    if not np.isfinite(directions).all():
        raise ValueError("expected finite yaws and pitches, got inf or NaN")
    if np.any(np.abs(directions[..., 1]) > np.pi / 2 + _ROUNDING_RAD):
        raise ValueError("expected pitches within ±pi/2, got one beyond a pole")
    return directions

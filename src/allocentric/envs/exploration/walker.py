"""A round body that walks, turns and tilts its head, and is stopped by what it meets."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from allocentric.core.geometry import wrap_angle
from allocentric.envs.exploration.floor import Floor

Array = NDArray[np.float64]
Collision = Literal["stop", "slide"]
"""`stop`: a step ends where the body meets something. `slide`: what is left of it goes on along x or y."""

_SAMPLES_PER_CELL = 4


class Pose(NamedTuple):
    """Where the body stands and where it looks."""

    x_m: float
    """World x."""
    y_m: float
    """World y."""
    heading_rad: float
    """Counter-clockwise from +x, in (-pi, pi]."""
    pitch_rad: float = 0.0
    """Up positive."""

    @property
    def xy_m(self) -> Array:
        """(2,) world position."""
        return np.array([self.x_m, self.y_m])


def turned(pose: Pose, turn_rad: float) -> Pose:
    """The pose after a turn; + is left."""
    return pose._replace(heading_rad=float(wrap_angle(pose.heading_rad + turn_rad)))


def tilted(pose: Pose, tilt_rad: float, largest_rad: float) -> Pose:
    """The pose after a tilt of the head; + is up, kept within +-`largest_rad`."""
    return pose._replace(pitch_rad=float(np.clip(pose.pitch_rad + tilt_rad, -largest_rad, largest_rad)))


class Step(NamedTuple):
    """What became of a step forward."""

    pose: Pose
    """Afterwards."""
    collided: bool
    """Something stood in the way."""


def stepped(floor: Floor, pose: Pose, length_m: float, collision: Collision) -> Step:
    """Walk `length_m` along the heading, as far as the floor is free."""
    start = pose.xy_m
    count = max(int(np.ceil(length_m / floor.grid.cell_m * _SAMPLES_PER_CELL)), 1)
    delta = length_m * np.array([np.cos(pose.heading_rad), np.sin(pose.heading_rad)])
    points = start + np.linspace(0.0, 1.0, count + 1)[1:, None] * delta
    free = floor.is_free(points)
    if free.all():
        return Step(_at(pose, points[-1]), False)
    clear = int(np.argmin(free))  # samples before the first that is not free
    end = points[clear - 1] if clear else start
    if collision == "slide":
        end = _slide(floor, end, delta / count, count - clear)
    return Step(_at(pose, end), True)


def _at(pose: Pose, xy_m: Array) -> Pose:
    return pose._replace(x_m=float(xy_m[0]), y_m=float(xy_m[1]))


def _slide(floor: Floor, point: Array, part: Array, count: int) -> Array:
    """Go on in `count` parts, each along both axes where that is free, else along the longer axis, else the other."""
    longer_first = np.argsort(-np.abs(part))
    tries = [part] + [np.where(np.arange(2) == axis, part, 0.0) for axis in longer_first]
    for _ in range(count):
        candidates = point + tries
        way = next((k for k, free in enumerate(floor.is_free(candidates)) if free), None)
        if way is None:
            break
        point = candidates[way]
    return point

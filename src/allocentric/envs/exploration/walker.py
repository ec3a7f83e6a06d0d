"""A round body that walks, turns and tilts its head, and is stopped by what it meets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from allocentric.core.geometry import wrap_angle
from allocentric.envs.exploration.floor import Floor

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
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
    (end,), (collided,) = step_ends_m(floor, pose.xy_m, [pose.heading_rad], length_m, collision)
    return Step(pose._replace(x_m=float(end[0]), y_m=float(end[1])), bool(collided))


def step_ends_m(
    floor: Floor, start_m: Array, headings_rad: Sequence[float], length_m: float, collision: Collision
) -> tuple[Array, Mask]:
    """(K, 2) where a step along each of K headings ends, and (K,) whether something stood in its way."""
    count = max(int(np.ceil(length_m / floor.grid.cell_m * _SAMPLES_PER_CELL)), 1)
    delta = length_m * np.array([(np.cos(heading), np.sin(heading)) for heading in headings_rad])
    points = start_m + np.linspace(0.0, 1.0, count + 1)[1:, None] * delta[:, None]
    free = floor.is_free(points)
    collided = np.asarray(~free.all(axis=1))
    clear = np.where(collided, np.argmin(free, axis=1), count)  # samples before the first that is not free
    ends = np.where(clear[:, None] > 0, points[np.arange(len(points)), clear - 1], start_m)
    if collision == "slide" and collided.any():
        ends[collided] = _slide(floor, ends[collided], delta[collided] / count, (count - clear)[collided])
    return ends, collided


def _slide(floor: Floor, points: Array, parts: Array, counts: NDArray[np.int64]) -> Array:
    """(K, 2) go on in `counts` parts, each along both axes where free, else along the longer axis, else the other."""
    longer = np.where(np.abs(parts[:, :1]) >= np.abs(parts[:, 1:]), [[True, False]], [[False, True]])
    tries = np.stack([parts, np.where(longer, parts, 0.0), np.where(longer, 0.0, parts)], axis=1)
    going, rows = np.ones(len(points), dtype=bool), np.arange(len(points))
    for done in range(int(counts.max())):
        candidates = points[:, None] + tries
        free = floor.is_free(candidates)
        going &= free.any(axis=1) & (done < counts)
        if not going.any():
            break
        points = np.where(going[:, None], candidates[rows, np.argmax(free, axis=1)], points)
    return points

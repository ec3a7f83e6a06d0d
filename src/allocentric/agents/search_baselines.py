"""Policies that cost nothing, for every table of search in panoramas.

They act by the contract of the environments: an observation holds `view` (H, W, 3), `heading_rad` (yaw, pitch) and
`instruction`; an action is `{"kind": 0 rotate by | 1 submit, "angles_rad": (yaw, pitch)}`. Two of them are bounds and
are told what no searcher knows: the oracle where the target is, the sweep whether the view shows it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from allocentric.core.types import FloatArray, Image

ROTATE, SUBMIT = 0, 1
_SWEEP_PITCHES_RAD = (0.0, math.radians(55.0), math.radians(-55.0))
_SWEEP_YAWS = 4
_SALIENCY_COLUMNS = 96
_MOST_GLANCES = 3
_NEAR_RAD = math.radians(6.0)

Action = dict[str, Any]
Direction = tuple[float, float]
"""Yaw and pitch in radians."""


class UniformDirection:
    """Looks into a direction drawn uniformly from the sphere and submits it; succeeds as often as chance says."""

    def __init__(self) -> None:
        self._rng = np.random.default_rng(0)
        self._looked = False

    def reset(self, seed: int) -> None:
        """Draw anew."""
        self._rng = np.random.default_rng(seed)
        self._looked = False

    def act(self, observation: Mapping[str, Any]) -> Action:
        """Turn first, then submit where the head looks."""
        if self._looked:
            return submit(observation["heading_rad"])
        self._looked = True
        direction = float(self._rng.uniform(0, 2 * np.pi)), math.asin(float(self._rng.uniform(-1, 1)))
        return turn_to(observation["heading_rad"], direction)


class SubmitAtStart:
    """Submits where the head looks at first."""

    def reset(self, seed: int) -> None:
        """There is nothing to forget."""

    def act(self, observation: Mapping[str, Any]) -> Action:
        """Submit at once."""
        return submit(observation["heading_rad"])


class FullSweep:
    """Looks round the level, then above, then below, and submits the target as soon as it is in view.

    The bound of blind search with perfect recognition: it fails only where the limit of turns ends it.
    """

    def __init__(self, sighted: Callable[[], Direction | None]) -> None:
        """`sighted` says where the target is when the current view shows it."""
        self._sighted = sighted
        self._start_yaw_rad: float | None = None
        self._looks = 0

    def reset(self, seed: int) -> None:  # noqa: ARG002 - nothing is drawn
        """Begin at the first view."""
        self._start_yaw_rad, self._looks = None, 0

    def act(self, observation: Mapping[str, Any]) -> Action:
        """The next view of the sweep, or the target."""
        target = self._sighted()
        if target is not None:
            return submit(target)
        yaw_rad = float(observation["heading_rad"][0])
        self._start_yaw_rad = yaw_rad if self._start_yaw_rad is None else self._start_yaw_rad
        self._looks += 1
        ring, step = divmod(self._looks % (_SWEEP_YAWS * len(_SWEEP_PITCHES_RAD)), _SWEEP_YAWS)
        direction = self._start_yaw_rad + step * 2 * math.pi / _SWEEP_YAWS, _SWEEP_PITCHES_RAD[ring]
        return turn_to(observation["heading_rad"], direction)


class GreedySaliency:
    """Turns to the most salient point of the view until that is the centre, three times at most, and submits it."""

    def __init__(self, horizontal_fov_rad: float = math.radians(100.0)) -> None:
        """`horizontal_fov_rad` is that of the views."""
        self._horizontal_fov_rad = horizontal_fov_rad
        self._glances = 0

    def reset(self, seed: int) -> None:  # noqa: ARG002 - nothing is drawn
        """Begin at the first view."""
        self._glances = 0

    def act(self, observation: Mapping[str, Any]) -> Action:
        """Turn to the peak, or submit where the head looks."""
        view, heading = observation["view"], observation["heading_rad"]
        x, y = most_salient(view)
        direction = _direction_of(x, y * view.shape[0] / view.shape[1], heading, self._horizontal_fov_rad)
        off_axis = math.atan(2 * math.tan(self._horizontal_fov_rad / 2) * math.hypot(x, y))
        if off_axis < _NEAR_RAD or self._glances == _MOST_GLANCES:
            return submit(heading)
        self._glances += 1
        return turn_to(heading, direction)


class Oracle:
    """Turns to the target and submits it: the shortest episode there is."""

    def __init__(self, target: Callable[[], Direction]) -> None:
        """`target` says where the target of the current episode is."""
        self._target = target
        self._looked = False

    def reset(self, seed: int) -> None:  # noqa: ARG002 - nothing is drawn
        """Ask again."""
        self._looked = False

    def act(self, observation: Mapping[str, Any]) -> Action:
        """Turn first, so that the target is in view, then submit."""
        if self._looked:
            return submit(self._target())
        self._looked = True
        return turn_to(observation["heading_rad"], self._target())


def turn_to(heading_rad: FloatArray | Direction, direction_rad: Direction) -> Action:
    """The rotation from a heading to a direction, the shorter way round."""
    yaw = math.remainder(direction_rad[0] - float(heading_rad[0]), 2 * math.pi)
    return {"kind": ROTATE, "angles_rad": np.array([yaw, direction_rad[1] - float(heading_rad[1])])}


def submit(direction_rad: FloatArray | Direction) -> Action:
    """The submission of a direction."""
    return {"kind": SUBMIT, "angles_rad": np.array([float(direction_rad[0]), float(direction_rad[1])])}


def saliency(view: Image) -> NDArray[np.float64]:
    """(h, 96) spectral residual of a view's grey levels (Hou and Zhang, CVPR 2007, section 3), smoothed."""
    without_lines = cv2.medianBlur(np.ascontiguousarray(view), 5)  # the mark at the centre is no sight
    rows = max(8, round(_SALIENCY_COLUMNS * view.shape[0] / view.shape[1]))
    size = (_SALIENCY_COLUMNS, rows)
    grey = cv2.resize(cv2.cvtColor(without_lines, cv2.COLOR_RGB2GRAY), size, interpolation=cv2.INTER_AREA)
    spectrum = np.fft.fft2(grey.astype(np.float64))
    log_amplitude = np.log(np.abs(spectrum) + 1e-9)
    residual = log_amplitude - cv2.blur(log_amplitude, (3, 3))
    energy = np.abs(np.fft.ifft2(np.exp(residual + 1j * np.angle(spectrum)))) ** 2
    return np.asarray(cv2.GaussianBlur(energy, (0, 0), 2.5), dtype=np.float64)


def most_salient(view: Image) -> tuple[float, float]:
    """The peak of `saliency` from the view's centre: right in widths, and down in heights."""
    map_ = saliency(view)
    row, column = np.unravel_index(int(np.argmax(map_)), map_.shape)
    return (int(column) + 0.5) / map_.shape[1] - 0.5, (int(row) + 0.5) / map_.shape[0] - 0.5


def _direction_of(x: float, y: float, heading_rad: FloatArray, horizontal_fov_rad: float) -> Direction:
    """Direction of a point of the view; x and y in widths from the centre, right and down positive."""
    reach = 2 * math.tan(horizontal_fov_rad / 2)
    right, down = x * reach, y * reach
    pitch = float(heading_rad[1])
    ahead = math.cos(pitch) + math.sin(pitch) * down
    up = math.sin(pitch) - math.cos(pitch) * down
    return float(heading_rad[0]) + math.atan2(right, ahead), math.atan2(up, math.hypot(right, ahead))

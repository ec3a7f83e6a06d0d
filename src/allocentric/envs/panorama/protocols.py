"""Named sets of rules for search in a panorama. Figures of two protocols are never mixed in one table.

`hstar-v1` is bug-compatible with humanoid-vstar/hstar @7a52247: the angles claimed by a submission are judged, not
where the head looks; windows over the seam ignore the pitch; a path task leaves its narrow tolerance behind for the
object tasks that the same instance plays later; the format reward is never paid; turns are not limited. `strict-v1`
repairs that: windows are safe at the seam and always test the pitch, a submission must lie in the current view or
within a tolerance of it, fractional angles are accepted, magnitudes are bounded and turns are limited.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from allocentric.core.errors import SettingsError, suggestion
from allocentric.envs.panorama.tasks import Interval, Task
from allocentric.envs.panorama.views import Sampling, ViewGeometry

YAW_TOLERANCE_RAD = {"object": math.radians(30.0), "path": math.radians(10.0)}
PITCH_TOLERANCE_RAD = math.radians(20.0)
MAX_TURNS = 10
"""Of strict-v1, as H*'s benchmark plays."""
VIEW_TOLERANCE_RAD = math.radians(5.0)
"""Of strict-v1: a submission may lie this far outside the view."""
_EDGE_RAD = 1e-9  # borders belong to windows


class Heading(NamedTuple):
    """Where the head looks."""

    yaw_rad: float
    """In [0, 2 pi); 0 is the centre column, + to the right."""
    pitch_rad: float
    """In [-pi/2, pi/2], + up."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What a submission is worth."""

    success: bool
    """By the rules of the protocol."""
    reward: float
    """Paid for it."""
    claim_in_window: bool
    """The claimed angles lie in the target's window."""
    claim_in_view: bool
    """The claimed angles lie in the current view or within the tolerance of it."""


class SearchProtocol(Protocol):
    """The rules of one environment instance; `begin` starts an episode."""

    name: str
    """Goes into every result."""
    sampling: Sampling
    """How views sample the panorama."""
    max_turns: int | None
    """Turns after which an episode is truncated."""
    largest_rad: tuple[float, float]
    """Largest magnitude of an action's yaw and pitch."""

    def begin(self, task: Task) -> None:
        """Put the head at the start of a task and set up the window."""
        ...

    @property
    def heading(self) -> Heading:
        """Where the head looks now."""
        ...

    def rotate(self, yaw_rad: float, pitch_rad: float) -> str | None:
        """Turn the head by angles; None, or why that is not possible."""
        ...

    def submit(self, yaw_rad: float, pitch_rad: float) -> Verdict | str:
        """Judge claimed absolute angles; or why they can't be judged."""
        ...

    def target(self) -> Heading:
        """The middle of the window."""
        ...

    def chance(self) -> float:
        """Probability that looking at and submitting a uniformly random direction of the sphere succeeds."""
        ...

    def order(self, count: int) -> list[int]:
        """The order in which `count` tasks are numbered."""
        ...


class HstarV1:
    """humanoid-vstar/hstar @7a52247, defects included. Angles are whole degrees; others are rounded to them."""

    name = "hstar-v1"
    sampling: Sampling = "corner"
    max_turns: int | None = None
    largest_rad = (math.inf, math.inf)
    success_reward = 0.5
    """The other half, for well-formed answers, is switched off by the original's reset."""

    def __init__(self, view: ViewGeometry) -> None:
        self._view = view
        self._path_seen = False
        self._yaw, self._pitch = 0.0, 0.0
        self.window_yaw: Interval = (0.0, 0.0)
        self.window_pitch: Interval = (0.0, 0.0)

    def begin(self, task: Task) -> None:
        """Windows in degrees, as the original computes them; a path task narrows all later ones."""
        self._path_seen = self._path_seen or task.annotation.kind == "path"
        tolerance = 10 if self._path_seen else 30
        low, high = task.annotation.yaw
        low, high = _widened((low, high + 360 if low > high else high), tolerance)
        self.window_yaw = (_on_circle(low), _on_circle(high))
        low, high = task.annotation.pitch or (-90.0, 90.0)
        low, high = _widened((low, high), 20)
        self.window_pitch = (float(max(low, -90)), float(min(high, 90)))
        self._yaw, self._pitch = float(task.start_yaw), 0.0

    @property
    def heading(self) -> Heading:
        """Where the head looks now."""
        return Heading(math.radians(self._yaw), math.radians(self._pitch))

    @property
    def heading_published(self) -> tuple[float, float]:
        """Yaw and pitch in degrees, as the original reports them."""
        return self._yaw, self._pitch

    def rotate(self, yaw_rad: float, pitch_rad: float) -> str | None:
        """Any magnitude; the pitch stops at the poles."""
        if not (math.isfinite(yaw_rad) and math.isfinite(pitch_rad)):
            return "the angles are not finite"
        self._yaw = _on_circle(self._yaw + round(math.degrees(yaw_rad)))
        self._pitch = float(min(90, max(-90, self._pitch + round(math.degrees(pitch_rad)))))
        return None

    def submit(self, yaw_rad: float, pitch_rad: float) -> Verdict | str:
        """The claimed angles alone count."""
        if not (math.isfinite(yaw_rad) and math.isfinite(pitch_rad)):
            return "the angles are not finite"
        success = self._judges(round(math.degrees(yaw_rad)), round(math.degrees(pitch_rad)))
        in_view = distance_to_view(self._view, self.heading, Heading(yaw_rad, pitch_rad)) == 0.0
        reward = self.success_reward if success else 0.0
        return Verdict(success=success, reward=reward, claim_in_window=success, claim_in_view=in_view)

    def target(self) -> Heading:
        """The middle of the window, in whole degrees."""
        low, high = self.window_yaw
        yaw = round((low + (high + 360 if low > high else high)) / 2)
        return Heading(math.radians(yaw % 360), math.radians(round(sum(self.window_pitch) / 2)))

    def chance(self) -> float:
        """Exact sum over the whole degrees that a uniform direction is rounded to."""
        borders = np.radians(np.clip(np.arange(-90, 92) - 0.5, -90, 90))
        weights = np.diff(np.sin(borders)) / 2
        hits = [[self._judges(yaw, pitch) for pitch in range(-90, 91)] for yaw in range(360)]
        return float((np.asarray(hits) @ weights).mean())

    def order(self, count: int) -> list[int]:
        """Shuffled once as the original does."""
        indices = list(range(count))
        random.Random(42).shuffle(indices)
        return indices

    def _judges(self, yaw: float, pitch: float) -> bool:
        low, high = self.window_yaw
        yaw = _on_circle(yaw)
        if low > high:  # over the seam: the original forgets the pitch
            return yaw >= low or yaw <= high
        return low <= yaw <= high and self.window_pitch[0] <= pitch <= self.window_pitch[1]


class StrictV1:
    """Windows safe at the seam, submissions tied to what is seen, bounded actions, limited turns."""

    name = "strict-v1"
    sampling: Sampling = "half_pixel"
    largest_rad = (2 * math.pi, math.pi)

    def __init__(
        self, view: ViewGeometry, *, max_turns: int | None = None, view_tolerance_rad: float | None = None
    ) -> None:
        """Limits that are None are the protocol's own: MAX_TURNS and VIEW_TOLERANCE_RAD."""
        self.max_turns: int | None = MAX_TURNS if max_turns is None else max_turns
        self._view = view
        self._view_tolerance_rad = VIEW_TOLERANCE_RAD if view_tolerance_rad is None else view_tolerance_rad
        self._heading = Heading(0.0, 0.0)
        self._middle_rad, self._half_width_rad = 0.0, 0.0
        self._pitch_rad = (0.0, 0.0)

    def begin(self, task: Task) -> None:
        """The published widths, kept on the circle."""
        low, high = (math.radians(angle) for angle in task.annotation.yaw)
        width = high - low + (2 * math.pi if low > high else 0.0)
        self._middle_rad = (low + width / 2) % (2 * math.pi)
        self._half_width_rad = min(math.pi, max(width / 2, YAW_TOLERANCE_RAD[task.annotation.kind]))
        self._pitch_rad = (-math.pi / 2, math.pi / 2)
        if task.annotation.pitch is not None:
            low, high = (math.radians(angle) for angle in task.annotation.pitch)
            half = max((high - low) / 2, PITCH_TOLERANCE_RAD)
            middle = (low + high) / 2
            self._pitch_rad = (max(middle - half, -math.pi / 2), min(middle + half, math.pi / 2))
        self._heading = Heading(math.radians(task.start_yaw) % (2 * math.pi), 0.0)

    @property
    def heading(self) -> Heading:
        """Where the head looks now."""
        return self._heading

    def rotate(self, yaw_rad: float, pitch_rad: float) -> str | None:
        """At most one turn; the pitch stops at the poles."""
        problem = self._out_of_bounds(yaw_rad, pitch_rad)
        if problem is None:
            pitch = min(math.pi / 2, max(-math.pi / 2, self._heading.pitch_rad + pitch_rad))
            self._heading = Heading((self._heading.yaw_rad + yaw_rad) % (2 * math.pi), pitch)
        return problem

    def submit(self, yaw_rad: float, pitch_rad: float) -> Verdict | str:
        """The claim must lie in the window, and in the view or within the tolerance of it."""
        problem = self._out_of_bounds(yaw_rad, pitch_rad)
        if problem is None and abs(pitch_rad) > math.pi / 2 + _EDGE_RAD:
            problem = f"the pitch of a direction lies within ±90°, got {math.degrees(pitch_rad):g}°"
        if problem is not None:
            return problem
        distance = distance_to_view(self._view, self._heading, Heading(yaw_rad, pitch_rad))
        in_view = distance <= self._view_tolerance_rad
        in_window = self._in_window(yaw_rad, pitch_rad)
        success = in_view and in_window
        return Verdict(success=success, reward=float(success), claim_in_window=in_window, claim_in_view=in_view)

    def target(self) -> Heading:
        """The middle of the window."""
        return Heading(self._middle_rad, sum(self._pitch_rad) / 2)

    def chance(self) -> float:
        """Share of the sphere that the window covers."""
        low, high = self._pitch_rad
        return self._half_width_rad / math.pi * (math.sin(high) - math.sin(low)) / 2

    def order(self, count: int) -> list[int]:
        """As the folder lists them."""
        return list(range(count))

    def _in_window(self, yaw_rad: float, pitch_rad: float) -> bool:
        off_middle = abs(math.remainder(yaw_rad - self._middle_rad, 2 * math.pi))
        low, high = self._pitch_rad
        return off_middle <= self._half_width_rad + _EDGE_RAD and low - _EDGE_RAD <= pitch_rad <= high + _EDGE_RAD

    def _out_of_bounds(self, yaw_rad: float, pitch_rad: float) -> str | None:
        for name, angle, largest in zip(("yaw", "pitch"), (yaw_rad, pitch_rad), self.largest_rad, strict=True):
            if not abs(angle) <= largest + _EDGE_RAD:  # so that nan is out of bounds
                return f"the {name} of an action lies within ±{math.degrees(largest):g}°, got {math.degrees(angle):g}°"
        return None


PROTOCOLS: Mapping[str, type[HstarV1] | type[StrictV1]] = {"hstar-v1": HstarV1, "strict-v1": StrictV1}


def require_protocol(name: str) -> None:
    """SettingsError unless there is a protocol of this name."""
    if name not in PROTOCOLS:
        raise SettingsError(f"unknown protocol {name!r}" + suggestion(name, PROTOCOLS))


def distance_to_view(view: ViewGeometry, heading: Heading, direction: Heading) -> float:
    """Angle in radians from a direction to the nearest point of a view; 0 inside it."""
    x, y, z = _in_camera(heading, direction)
    half_width, half_height = view.width_px / 2 / view.focal_px, view.height_px / 2 / view.focal_px
    if z > 0 and abs(x / z) <= half_width + _EDGE_RAD and abs(y / z) <= half_height + _EDGE_RAD:
        return 0.0
    border = _border_directions(half_width, half_height)
    return float(np.arccos(np.clip(np.max(border @ np.array([x, y, z])), -1.0, 1.0)))


def _in_camera(heading: Heading, direction: Heading) -> tuple[float, float, float]:
    """Unit vector of a direction in the axes (right, down, forward) of a head."""
    turn = direction.yaw_rad - heading.yaw_rad
    right = math.cos(direction.pitch_rad) * math.sin(turn)
    level = math.cos(direction.pitch_rad) * math.cos(turn)
    up = math.sin(direction.pitch_rad)
    cosine, sine = math.cos(heading.pitch_rad), math.sin(heading.pitch_rad)
    return right, level * sine - up * cosine, level * cosine + up * sine


def _border_directions(half_width: float, half_height: float) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """(512, 3) unit vectors along the edge of a view; a hundredth of a degree apart seen from a corner's distance."""
    along = np.linspace(-1.0, 1.0, 128)
    edge = np.ones_like(along)
    x = np.concatenate([along, along, -edge, edge]) * half_width
    y = np.concatenate([-edge, edge, along, along]) * half_height
    border = np.stack([x, y, np.ones_like(x)], axis=1)
    return np.asarray(border / np.linalg.norm(border, axis=1, keepdims=True))


def _widened(interval: Interval, tolerance: float) -> Interval:
    low, high = interval
    if high - low >= 2 * tolerance:
        return low, high
    middle = (low + high) / 2
    return middle - tolerance, middle + tolerance


def _on_circle(angle: float) -> float:
    """As the original normalises angles; the last bits of its sums decide at borders."""
    return (angle + 360) % 360

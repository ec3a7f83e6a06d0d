"""Walkers that need no model: standing, by chance, to what is salient, all over the floor, and along shortest paths.

They act on any environment with the moves 0 stop, 1 forward, 2 left, 3 right, 4 up, 5 down.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from allocentric.agents.search_baselines import most_salient
from allocentric.core.types import Image

STOP, FORWARD, LEFT, RIGHT, UP, DOWN = range(6)

_TURN_COST_M = 1e-6
"""Of headings that lead as near, the one with fewer turns is taken."""
_MOST_GLANCES = 3
_STRIDE_STEPS = 8
_LOOKS = (DOWN, DOWN, UP, UP, UP, UP)
"""How the head is tilted to get a goal into view that is near."""


class Guidance(Protocol):
    """What a guide tells of the way; `lookahead` of an environment gives it."""

    @property
    def near(self) -> bool:
        """The goal is near enough here."""
        ...

    @property
    def success(self) -> bool:
        """Stopping now would succeed."""
        ...

    @property
    def bearing_rad(self) -> float:
        """Where the goal is; + is left."""
        ...

    @property
    def ahead_m(self) -> NDArray[np.float64]:
        """(K,) distance left after k turns to the left and one step forward, once round."""
        ...


class Guide(Protocol):
    """An environment that knows the way."""

    def lookahead(self) -> Guidance:
        """What is left to walk from here."""
        ...


class Surveyor(Protocol):
    """An environment that leads over the whole floor."""

    def survey(self) -> Guidance:
        """What is left to walk to the next place not visited yet."""
        ...


class GeodesicFollower:
    """The oracle: turns to the heading whose next step leaves least to walk, and stops as soon as it may.

    Where a near goal has to be in view too, it looks around where it is near, and stops in vain if the goal is hidden.
    """

    def __init__(self, guide: Guide) -> None:
        self._guide = guide
        self._looks = 0

    def reset(self, seed: int) -> None:  # noqa: ARG002 - the way is known, nothing is drawn
        """Forget the last episode."""
        self._looks = 0

    def act(self, observation: Any) -> int:  # noqa: ARG002 - the way is known, nothing needs to be seen
        """Choose a move."""
        known = self._known()
        if known.success:
            return STOP
        count = len(known.ahead_m)
        if known.near:  # but not in view
            return self._face(known.bearing_rad, 2 * np.pi / count)
        turns = np.arange(count)
        best = int(np.argmin(known.ahead_m + _TURN_COST_M * np.minimum(turns, count - turns)))
        if best == 0:
            return FORWARD
        return LEFT if best <= count // 2 else RIGHT

    def _known(self) -> Guidance:
        return self._guide.lookahead()

    def _face(self, bearing_rad: float, turn_rad: float) -> int:
        if abs(bearing_rad) > turn_rad / 2 + 1e-9:
            return LEFT if bearing_rad > 0 else RIGHT
        if self._looks == len(_LOOKS):
            return STOP
        self._looks += 1
        return _LOOKS[self._looks - 1]


class FullSweep(GeodesicFollower):
    """Walks over the whole floor, the nearest place not visited first, and stops as soon as that succeeds.

    The bound of blind search with a map of the floor and perfect recognition: it is told when the goal is near, and
    then where to look, never on the way there. It fails only where the limit of steps ends it.
    """

    def __init__(self, surveyor: Surveyor) -> None:
        """`surveyor` knows the floor."""
        self._surveyor = surveyor
        self._looks = 0

    def _known(self) -> Guidance:
        return self._surveyor.survey()


class GreedySaliency:
    """Turns to the most salient column of the picture and walks eight steps there, three times, then stops.

    A stretch ends early where a step leaves the picture as it was: something stands in the way.
    """

    def __init__(self, horizontal_fov_rad: float, turn_rad: float) -> None:
        """`horizontal_fov_rad` is that of the pictures, `turn_rad` the angle of a turn."""
        self._half_width = math.tan(horizontal_fov_rad / 2)
        self._turn_rad = turn_rad
        self.reset(0)

    def reset(self, seed: int) -> None:  # noqa: ARG002 - nothing is drawn
        """Begin at the first picture."""
        self._glances, self._turns, self._steps = 0, 0, 0
        self._before: Image | None = None

    def act(self, observation: Mapping[str, Any]) -> int:
        """Look where nothing is planned, else go on."""
        picture = observation["rgb"]
        if self._before is not None and np.array_equal(picture, self._before):
            self._steps = 0
        self._before = None
        if self._turns == self._steps == 0:
            if self._glances == _MOST_GLANCES:
                return STOP
            self._glances += 1
            right_rad = math.atan(2 * most_salient(picture)[0] * self._half_width)
            self._turns, self._steps = round(right_rad / self._turn_rad), _STRIDE_STEPS
        if self._turns:
            right = self._turns > 0
            self._turns -= 1 if right else -1
            return RIGHT if right else LEFT
        self._steps -= 1
        self._before = picture
        return FORWARD


class RandomNavigator:
    """Moves by chance: forward as often as both turns together, and stops once in a while."""

    def __init__(self, *, mean_steps: float = 100.0) -> None:
        """`mean_steps` is the mean number of moves before a stop."""
        self._stop_share = 1.0 / mean_steps
        self.reset(0)

    def reset(self, seed: int) -> None:
        """Begin the draws of an episode."""
        self._rng = np.random.default_rng([seed])

    def act(self, observation: Any) -> int:  # noqa: ARG002 - chance looks at nothing
        """Choose a move."""
        if self._rng.random() < self._stop_share:
            return STOP
        return int(self._rng.choice([FORWARD, LEFT, RIGHT], p=[0.5, 0.25, 0.25]))


class StopAtOnce:
    """Stops where it starts: what an episode is worth without walking."""

    def reset(self, seed: int) -> None:
        """Nothing to forget."""

    def act(self, observation: Any) -> int:  # noqa: ARG002 - never looks
        """Stop."""
        return STOP

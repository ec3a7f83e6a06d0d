"""MultiMatch on the sphere: five separate likenesses of two scanpaths.

Saccades are tangent vectors at the fixation they leave, as long as the great-circle arc to the next one. To compare
those of two scanpaths one is carried to the other along the great circle between them, so no value depends on where
the poles and the seam of a panorama are.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from allocentric.core.alignment import warping_path
from allocentric.core.scanpath import Scanpath, saccade_amplitudes_rad
from allocentric.core.sphere import angle_between, great_circle_rad, horizon_axes, tangent_vectors, transported

Array: TypeAlias = NDArray[np.float64]
Frame: TypeAlias = Literal["geodesic", "horizon"]
"""How saccades at two places are compared; see `multimatch`."""


class MultiMatch(NamedTuple):
    """Five likenesses, 1 for the same; NaN where one is not defined."""

    vector: float
    """Difference of the aligned saccade vectors."""
    direction: float
    """Angle between them."""
    length: float
    """Difference of their lengths."""
    position: float
    """Distance of the fixations they leave."""
    duration: float
    """Difference of the durations of these fixations, as a share of the longer one."""


def multimatch(
    first: Scanpath, second: Scanpath, *, extent_rad: float = np.pi, frame: Frame = "geodesic"
) -> MultiMatch:
    """MultiMatch: saccades are aligned so that their vectors differ least in sum, then compared in five ways.

    Each value is 1 minus the median over the aligned pairs of a difference over its largest value: 2 `extent_rad` for
    vectors, pi for directions, `extent_rad` for lengths and positions, the longer duration for durations. Sources:
    Jarodzka et al. 2010 (ETRA, "A vector-based, multidimensional scanpath similarity measure"), Dewhurst et al. 2012
    (Behavior Research Methods 44:1079), with the medians and normalisers of multimatch-gaze 0.1.3, where the extent is
    the diagonal of the screen. Scanpaths are commonly simplified before (`simplified`).

    Args:
        first: Any scanpath.
        second: Any other; swapping the two changes nothing but the choice among equally good alignments.
        extent_rad: Largest distance of two fixations; pi is the sphere. A smaller one may give values below 0.
        frame: "geodesic" carries vectors along the great circle between the two fixations, so turning the whole sphere
            any way changes nothing. "horizon" compares them as right and up of each fixation, so that two identical
            movements at different yaws agree at any pitch, but near a pole the smallest shift changes directions.

    Returns:
        In [0, 1] for the sphere. NaN throughout where a scanpath has fewer than three fixations, as in the original;
        NaN for the duration where a scanpath has none. A saccade of no length is at pi/2 to any other.

    Raises:
        ValueError: an extent that is not > 0, or an unknown frame.
    """
    if not 0 < extent_rad < np.inf:
        raise ValueError(f"expected a finite extent_rad > 0, got {extent_rad!r}")
    if len(first) < 3 or len(second) < 3:
        return MultiMatch(*[float("nan")] * 5)
    ours, theirs = _comparable_saccades(first, second, frame)
    differences = np.linalg.norm(ours - theirs, axis=-1)
    i, j = warping_path(differences).T
    lengths = saccade_amplitudes_rad(first)[i] - saccade_amplitudes_rad(second)[j]
    return MultiMatch(
        vector=1 - _median(differences[i, j]) / (2 * extent_rad),
        direction=1 - _median(_turns(ours[i, j], theirs[i, j])) / np.pi,
        length=1 - _median(np.abs(lengths)) / extent_rad,
        position=1 - _median(great_circle_rad(first.directions_rad[i], second.directions_rad[j])) / extent_rad,
        duration=_duration_likeness(first, second, i, j),
    )


def simplified(path: Scanpath, *, amplitude_rad: float, direction_rad: float, duration_s: float) -> Scanpath:
    """The scanpath without fixations that only interrupt a movement, as MultiMatch groups saccades.

    Two passes alternate until nothing changes. The first joins two successive saccades whose directions differ by less
    than `direction_rad` at a fixation shorter than `duration_s`. The second joins a saccade shorter than
    `amplitude_rad`, at one end of which the fixation is shorter than `duration_s`, with the next one, and the last
    saccade with the one before. A joined saccade leaves from the first fixation, whose duration stays, and leads to
    the last. Source: Dewhurst et al. 2012; multimatch-gaze 0.1.3 (`simdir`, `simlen`), except that there a short last
    saccade whose predecessor was joined in the same pass replaces that joined one by the sum of the last two.

    Args:
        path: A scanpath with durations.
        amplitude_rad: Saccades below it are short.
        direction_rad: Turns below it are none.
        duration_s: Fixations below it are short.

    Returns:
        At least two fixations where `path` has two.

    Raises:
        ValueError: a scanpath without durations.
    """
    if path.durations_s is None:
        raise ValueError("expected durations, which decide what is joined, got a scanpath without")
    current = path
    while True:
        straight = _without(current, _interrupting(current, direction_rad, duration_s))
        longer = _without(straight, _after_short(straight, amplitude_rad, duration_s))
        if len(longer) == len(current):
            return current
        current = longer


def _comparable_saccades(first: Scanpath, second: Scanpath, frame: Frame) -> tuple[Array, Array]:
    """(N, M, K) saccade vectors of each in common axes for every pair."""
    starts, other_starts = first.directions_rad[:-1, None], second.directions_rad[None, :-1]
    ours = tangent_vectors(starts, first.directions_rad[1:, None])
    theirs = tangent_vectors(other_starts, second.directions_rad[None, 1:])
    if frame == "geodesic":
        theirs = transported(theirs, other_starts, starts)
    elif frame == "horizon":
        ours, theirs = _right_and_up(ours, starts), _right_and_up(theirs, other_starts)
    else:
        raise ValueError(f"expected the frame 'geodesic' or 'horizon', got {frame!r}")
    both = np.broadcast_arrays(ours, theirs)
    return both[0], both[1]


def _right_and_up(vectors: Array, starts_rad: Array) -> Array:
    return np.stack([np.sum(vectors * axis, axis=-1) for axis in horizon_axes(starts_rad)], axis=-1)


def _turns(ours: Array, theirs: Array) -> Array:
    """Angles between vectors; pi/2 where one has no length, 0 where both have none."""
    angles = angle_between(ours, theirs)
    still = [np.linalg.norm(vectors, axis=-1) == 0 for vectors in (ours, theirs)]
    return np.where(still[0] & still[1], 0.0, np.where(still[0] | still[1], np.pi / 2, angles))


def _duration_likeness(first: Scanpath, second: Scanpath, i: NDArray[np.int64], j: NDArray[np.int64]) -> float:
    if first.durations_s is None or second.durations_s is None:
        return float("nan")
    ours, theirs = first.durations_s[i], second.durations_s[j]
    longer = np.maximum(ours, theirs)
    return 1 - _median(np.abs(ours - theirs) / np.where(longer > 0, longer, 1.0))


def _interrupting(path: Scanpath, direction_rad: float, duration_s: float) -> set[int]:
    """Fixations to drop because the gaze goes straight on through them, no two of one saccade."""
    assert path.durations_s is not None
    directions = path.directions_rad
    back = tangent_vectors(directions[1:-1], directions[:-2])
    on = tangent_vectors(directions[1:-1], directions[2:])
    turns = angle_between(-back, on)  # NaN at a saccade of no length: no direction, nothing to join
    dropped: set[int] = set()
    for fixation in range(1, len(path) - 1):
        joins = turns[fixation - 1] < direction_rad and path.durations_s[fixation] < duration_s
        if joins and fixation - 1 not in dropped:
            dropped.add(fixation)
    return dropped


def _after_short(path: Scanpath, amplitude_rad: float, duration_s: float) -> set[int]:
    """Fixations to drop because a short saccade leads to them, or leaves them at the end of the scanpath."""
    assert path.durations_s is not None
    amplitudes, brief = saccade_amplitudes_rad(path), path.durations_s < duration_s
    short = (amplitudes < amplitude_rad) & (brief[:-1] | brief[1:])
    dropped: set[int] = set()
    for saccade in range(len(amplitudes) - 1):
        if short[saccade] and saccade not in dropped:
            dropped.add(saccade + 1)
    last = len(amplitudes) - 1
    if last >= 1 and short[last]:
        dropped.add(last)
    return dropped


def _without(path: Scanpath, dropped: set[int]) -> Scanpath:
    assert path.durations_s is not None
    kept = [k for k in range(len(path)) if k not in dropped]
    return Scanpath(directions_rad=path.directions_rad[kept], durations_s=path.durations_s[kept])


def _median(values: Array) -> float:
    return float(np.median(values))

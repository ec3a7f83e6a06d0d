"""Scanpath metrics on the sphere: how alike two scanpaths are, and how fast a search finds.

The published metrics measure in pixels of a flat picture. Here distances are great-circle distances, so the seam of a
panorama is nowhere and its stretched poles do not count more; for small angles near the horizon every value tends to
the planar original. `core.multimatch` holds MultiMatch.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.distance import cdist

from allocentric.core.alignment import needleman_wunsch
from allocentric.core.navigation import spl
from allocentric.core.sphere import WHOLE_SPHERE, Window, distance_to_window_rad, great_circle_rad, unit_vectors

Array: TypeAlias = NDArray[np.float64]

_MEAN_SHIFT_ROUNDS = 300
_MEAN_SHIFT_STOP = 1e-3
"""Share of the bandwidth that a mode may still move, and most rounds: the values of scikit-learn's MeanShift."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Scanpath:
    """Fixations in order."""

    directions_rad: Array
    """(N, 2) yaw and pitch, N >= 1."""
    durations_s: Array | None = None
    """(N,) >= 0; None where they are not known."""

    def __post_init__(self) -> None:
        directions = np.asarray(self.directions_rad, dtype=np.float64)
        if directions.ndim != 2 or len(directions) == 0:
            raise ValueError(f"expected (N, 2) fixations with N >= 1, got shape {directions.shape}")
        unit_vectors(directions)
        object.__setattr__(self, "directions_rad", directions)
        if self.durations_s is None:
            return
        durations = np.asarray(self.durations_s, dtype=np.float64)
        if durations.shape != (len(directions),) or not ((durations >= 0) & np.isfinite(durations)).all():
            raise ValueError(f"expected {len(directions)} finite durations >= 0, got shape {durations.shape}")
        object.__setattr__(self, "durations_s", durations)

    def __len__(self) -> int:
        return len(self.directions_rad)


def saccade_amplitudes_rad(path: Scanpath) -> Array:
    """(N - 1,) great-circle distances between successive fixations, in [0, pi]."""
    return great_circle_rad(path.directions_rad[:-1], path.directions_rad[1:])


# ---------------------------------------------------------------------------------------------------------- ScanMatch


@dataclass(frozen=True, kw_only=True, slots=True)
class FixationGrid:
    """Cells of a panorama, or of a window of it, numbered row by row from its lower left."""

    columns: int = 16
    """Cells in a row, equal in yaw."""
    rows: int = 8
    """Rows of cells."""
    equal: Literal["area", "pitch"] = "area"
    """Rows of equal area on the sphere, or of equal pitch as on an equirectangular picture."""
    window: Window = WHOLE_SPHERE
    """What the grid covers; a whole turn of yaw wraps around."""

    def __post_init__(self) -> None:
        if self.columns < 1 or self.rows < 1:
            raise ValueError(f"expected at least one column and row, got {self.columns} and {self.rows}")
        if self.equal not in ("area", "pitch"):
            raise ValueError(f"expected rows equal in 'area' or 'pitch', got {self.equal!r}")
        (left, right), (low, high) = self.window
        if not (0 < right - left <= 2 * np.pi + 1e-9 and -np.pi / 2 - 1e-9 <= low < high <= np.pi / 2 + 1e-9):
            raise ValueError(f"expected a window with some area on the sphere, got {self.window!r}")

    def cells(self, directions_rad: ArrayLike) -> NDArray[np.int64]:
        """(..., 2) directions -> (...,) cell numbers in [0, rows * columns).

        Raises:
            ValueError: a direction lies outside the grid's window.
        """
        directions = np.asarray(directions_rad, dtype=np.float64)
        if np.any(distance_to_window_rad(directions, self.window) > 0):
            raise ValueError(f"expected fixations inside the grid's window {self.window!r}, got one outside")
        (left, right), (low, high) = self.window
        turn = (directions[..., 0] - (left + right) / 2 + np.pi) % (2 * np.pi) - np.pi
        column = np.floor((turn / (right - left) + 0.5) * self.columns).astype(np.int64)
        column = np.clip(column, 0, self.columns - 1)
        bottom, top = self._level(np.array([low, high]))
        row = np.floor((self._level(directions[..., 1]) - bottom) / (top - bottom) * self.rows).astype(np.int64)
        return np.asarray(np.clip(row, 0, self.rows - 1) * self.columns + column)

    def centres_rad(self) -> Array:
        """(rows * columns, 2) middle yaw and pitch of every cell; a middle pitch halves the cell as `equal` says."""
        (left, right), (low, high) = self.window
        yaw = left + (np.arange(self.columns) + 0.5) * (right - left) / self.columns
        bottom, top = self._level(np.array([low, high]))
        level = bottom + (np.arange(self.rows) + 0.5) * (top - bottom) / self.rows
        pitch = np.arcsin(level) if self.equal == "area" else level
        return np.stack([np.tile(yaw, self.rows), np.repeat(pitch, self.columns)], axis=-1)

    def _level(self, pitch_rad: Array) -> Array:
        return np.sin(pitch_rad) if self.equal == "area" else pitch_rad


def scanmatch(
    first: Scanpath,
    second: Scanpath,
    *,
    threshold_rad: float,
    grid: FixationGrid | None = FixationGrid(),
    gap_rad: float = 0.0,
    bin_s: float | None = None,
) -> float:
    """ScanMatch: how well one scanpath's sequence of places can be aligned with another's; 1 for the same sequence.

    Two places at distance D are worth `threshold_rad` - D; the best alignment is divided by what the longer sequence
    would reach against itself. Source: Cristino et al. 2010 (Behavior Research Methods 42:692) and its toolbox
    (`ScanMatch_CreateSubMatrix`, where |D - max D| - (max D - T) is T - D with D in cells), with D the great-circle
    distance of cell centres. Near the horizon with square cells of width w, `threshold_rad` = T w gives the original.

    Args:
        first: Any scanpath.
        second: Any other.
        threshold_rad: > 0. Distances below it attract; `scanmatch_threshold_rad` is the published choice.
        grid: Cells that fixations are counted in; None compares the fixations themselves, a grid without end.
        gap_rad: Worth of a place left unmatched, <= 0.
        bin_s: Each place is repeated round(duration / bin_s) times; None counts every fixation once.

    Returns:
        At most 1; at least 0 where `gap_rad` is 0.

    Raises:
        ValueError: a setting is out of range, a fixation lies outside the grid, durations are missing where `bin_s` is
            given, or every fixation is shorter than half a bin.
    """
    if not 0 < threshold_rad < np.inf:
        raise ValueError(f"expected a finite threshold_rad > 0, got {threshold_rad!r}")
    places = [_places(path, grid, bin_s) for path in (first, second)]
    similarity = threshold_rad - great_circle_rad(places[0][:, None], places[1][None])
    return float(needleman_wunsch(similarity, gap_rad) / (threshold_rad * max(similarity.shape)))


def scanmatch_threshold_rad(paths: Sequence[Scanpath]) -> float:
    """Twice the standard deviation of all saccade amplitudes, the toolbox's guideline for `scanmatch`.

    Raises:
        ValueError: fewer than two saccades in all.
    """
    amplitudes = np.concatenate([saccade_amplitudes_rad(path) for path in paths]) if paths else np.empty(0)
    if amplitudes.size < 2:
        raise ValueError(f"expected at least two saccades, got {amplitudes.size}")
    return float(2 * amplitudes.std(ddof=1))


def _places(path: Scanpath, grid: FixationGrid | None, bin_s: float | None) -> Array:
    directions = path.directions_rad
    if grid is not None:
        directions = grid.centres_rad()[grid.cells(directions)]
    if bin_s is None:
        return directions
    if path.durations_s is None:
        raise ValueError("expected durations where bin_s is given, got a scanpath without")
    if not 0 < bin_s < np.inf:
        raise ValueError(f"expected a finite bin_s > 0, got {bin_s!r}")
    repeated = np.repeat(directions, np.floor(path.durations_s / bin_s + 0.5).astype(np.int64), axis=0)
    if len(repeated) == 0:
        raise ValueError(f"expected a fixation of at least half a bin of {bin_s} s, got none")
    return repeated


# ------------------------------------------------------------------------------------------------------ sequence score


def sequence_score(first: Sequence[Hashable], second: Sequence[Hashable]) -> float:
    """Sequence score: the most equal symbols that an alignment can pair, over the longer length; in [0, 1].

    Gaps cost nothing. The symbols are clusters of fixations (`fixation_modes`, `nearest_mode`) or, for the semantic
    sequence score, labels of what was looked at. Source: Borji et al. 2013 (ICCV, "Analysis of Scores, Datasets, and
    Models in Visual Saliency Prediction"), as in cvlab-stonybrook/Scanpath_Prediction@5807eb6 (irl_dcb/metrics.py
    `nw_matching`).

    Args:
        first: (N,) symbols, N >= 1.
        second: (M,) symbols, M >= 1.
    """
    equal = np.array([[a == b for b in second] for a in first], dtype=np.float64)
    return needleman_wunsch(equal.reshape(len(first), len(second))) / max(len(first), len(second))


def fixation_modes(directions_rad: ArrayLike, *, bandwidth_rad: float) -> Array:
    """Centres of clusters of fixations: flat-kernel mean shift on the sphere.

    Every fixation climbs to the direction of the mean vector of the fixations within the bandwidth until it moves less
    than a thousandth of that. Of the end points the one with most fixations around it is kept, those within the
    bandwidth of it are dropped, and so on. Source: Comaniciu and Meer 2002 (IEEE PAMI 24:603), with the stopping and
    merging rules of scikit-learn's `MeanShift`, which the published sequence score uses.

    Args:
        directions_rad: (N, 2) fixations of all scanpaths that are to share symbols, N >= 1.
        bandwidth_rad: In (0, pi/2).

    Returns:
        (K, 2) yaw in [-pi, pi] and pitch, by falling number of fixations.

    Raises:
        ValueError: no fixations, or a bandwidth out of range.
    """
    points = unit_vectors(directions_rad)
    if points.ndim != 2 or len(points) == 0:
        raise ValueError(f"expected (N, 2) fixations with N >= 1, got shape {np.shape(directions_rad)}")
    if not 0 < bandwidth_rad < np.pi / 2:
        raise ValueError(f"expected a bandwidth_rad in (0, pi/2), got {bandwidth_rad!r}")
    chord = 2 * np.sin(bandwidth_rad / 2)
    ends = _climbed(points, chord)
    weight = _within(ends, points, chord).sum(axis=1)
    modes: list[Array] = []
    for end in ends[np.argsort(-weight, kind="stable")]:
        if not modes or not _within(end[None], np.array(modes), chord).any():
            modes.append(end)
    x, y, z = np.array(modes).T
    return np.stack([np.arctan2(x, y), np.arctan2(z, np.hypot(x, y))], axis=-1)


def nearest_mode(directions_rad: ArrayLike, modes_rad: ArrayLike) -> list[int]:
    """Number of the mode nearest to each of (N, 2) fixations, the first of equals: symbols for `sequence_score`."""
    distances = great_circle_rad(np.asarray(directions_rad)[:, None], np.asarray(modes_rad)[None])
    return [int(k) for k in distances.argmin(axis=1)]


def _climbed(points: Array, chord: float) -> Array:
    ends, moving = points.copy(), np.ones(len(points), dtype=bool)
    for _ in range(_MEAN_SHIFT_ROUNDS):
        sums = _within(ends[moving], points, chord) @ points
        climbed = sums / np.linalg.norm(sums, axis=1, keepdims=True)
        moved = np.linalg.norm(climbed - ends[moving], axis=1) > _MEAN_SHIFT_STOP * chord
        ends[moving] = climbed
        moving[moving] = moved
        if not moving.any():
            break
    return ends


def _within(ends: Array, points: Array, chord: float) -> Array:
    return np.asarray(cdist(ends, points) <= chord, dtype=np.float64)


# -------------------------------------------------------------------------------------------------------------- search


def first_on_target(path: Scanpath, target: Window) -> float:
    """Number of the first fixation inside the target, from 1; inf where there is none.

    Source: cvlab-stonybrook/Scanpath_Prediction@5807eb6 (irl_dcb/utils.py `get_num_step2target`, where 1000 is never).
    """
    hits = np.flatnonzero(distance_to_window_rad(path.directions_rad, target) == 0)
    return float(hits[0] + 1) if hits.size else float("inf")


def cumulative_performance(first_hits: ArrayLike, *, fixations: int) -> Array:
    """Probability of having found the target after 1, 2 ... fixations: the share of searches with a hit by then.

    Source: Yang et al. 2020 (arXiv 2005.14310, "Target Fixation Probability"); Scanpath_Prediction@5807eb6
    (irl_dcb/utils.py `get_CDF`). The published TFP-AUC is the sum of the curve, the probability mismatch
    `probability_mismatch`.

    Args:
        first_hits: (E,) number of the first fixation on target of each search, E >= 1; inf for never.
        fixations: Length of the curve, >= 1.

    Returns:
        (fixations,) in [0, 1], never falling.

    Raises:
        ValueError: no searches, a number below 1 or NaN, or no fixations.
    """
    hits = np.asarray(first_hits, dtype=np.float64)
    if hits.ndim != 1 or hits.size == 0 or not (hits >= 1).all():
        raise ValueError(f"expected (E,) fixation numbers >= 1 with E >= 1, got shape {hits.shape}")
    if fixations < 1:
        raise ValueError(f"expected at least one fixation, got {fixations}")
    return np.asarray((hits[:, None] <= np.arange(1, fixations + 1)).mean(axis=0))


def probability_mismatch(first: ArrayLike, second: ArrayLike) -> float:
    """Sum of the absolute differences of two `cumulative_performance` curves of one length; 0 for the same.

    Source: Yang et al. 2020 (arXiv 2005.14310); Scanpath_Prediction@5807eb6 (irl_dcb/metrics.py
    `compute_prob_mismatch`).
    """
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"expected two curves of one length, got shapes {a.shape} and {b.shape}")
    return float(np.abs(a - b).sum())


def angular_spl(path: Scanpath, target: Window, *, succeeded: bool) -> float:
    """Success weighted by angular path length: S * l / max(l, p), in [0, 1].

    l is the angle from the first direction to the nearest point of the target, p the sum of the arcs turned. It is
    `spl` on the sphere, and the scanpath ratio of Yang et al. 2020 (arXiv 2005.14310; Scanpath_Prediction@5807eb6
    `scanpath_ratio`) with the target's nearest point in place of its centre and failures counted as 0. A search that
    begins on target is worth S if the head stays, else 0.
    """
    shortest = float(distance_to_window_rad(path.directions_rad[0], target))
    return float(spl(succeeded, shortest_m=shortest, path_m=float(saccade_amplitudes_rad(path).sum())))


def search_slope(set_sizes: ArrayLike, effort: ArrayLike) -> float:
    """Least-squares slope of effort against the number of things on display.

    Source: kreimanlab/VisualSearchAsymmetry@5c1b64f, where effort is the reaction time of people, and for a model a
    linear function of its number of fixations; an `asymmetry_index` does not depend on that function's two constants
    as long as its factor is positive.

    Args:
        set_sizes: (T,) things on display in each trial; at least two different ones.
        effort: (T,) fixations or seconds of each trial.

    Raises:
        ValueError: shapes that differ, fewer than two set sizes, or a value that is not finite.
    """
    sizes, spent = np.asarray(set_sizes, dtype=np.float64), np.asarray(effort, dtype=np.float64)
    if sizes.ndim != 1 or sizes.shape != spent.shape or not (np.isfinite(sizes) & np.isfinite(spent)).all():
        raise ValueError(f"expected (T,) finite set sizes and efforts, got shapes {sizes.shape} and {spent.shape}")
    centred = sizes - sizes.mean() if sizes.size else sizes
    if np.unique(sizes).size < 2:
        raise ValueError("expected at least two different set sizes")
    return float(centred @ spent / (centred @ centred))


def asymmetry_index(hard_slope: float, easy_slope: float) -> float:
    """Search-asymmetry index (h - e) / (h + e) of two `search_slope`s, negative ones counted as 0; in [-1, 1].

    1: only the hard search slows down with more things on display; 0: no asymmetry, or both slopes are flat; below 0:
    the asymmetry is reversed. Which of two searches is hard is decided by people (the larger human slope), for models
    too. Source: Gupta et al. 2021 (arXiv 2106.02953); kreimanlab/VisualSearchAsymmetry@5c1b64f
    (vs_exp/eval_asym_metric.py).

    Raises:
        ValueError: a slope is not finite.
    """
    if not np.isfinite([hard_slope, easy_slope]).all():
        raise ValueError(f"expected finite slopes, got {hard_slope!r} and {easy_slope!r}")
    hard, easy = max(0.0, hard_slope), max(0.0, easy_slope)
    return 0.0 if hard + easy == 0 else (hard - easy) / (hard + easy)

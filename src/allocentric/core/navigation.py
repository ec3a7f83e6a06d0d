"""How well a walk was walked: success, efficiency, and likeness to a reference path.

Lengths and positions are in metres, or in hops on a graph where said. Functions take one episode or, where their
arguments are (...,), any number of them at once. "Distance to the goal" is the geodesic distance, inf where no way
leads there. Averages over episodes are plain means of these values, so a single unreachable goal makes a mean error
infinite and stays visible.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra
from scipy.spatial.distance import cdist

from allocentric.core.alignment import dynamic_time_warping

Array: TypeAlias = NDArray[np.float64]
NdtwVariant: TypeAlias = Literal["ilharco2019", "map2seq"]
"""Which published normalisation of dynamic time warping; see `ndtw`."""

# ------------------------------------------------------------------------------------------------- ends of the walk


def success(distance_to_goal_m: ArrayLike, *, stopped: ArrayLike, threshold_m: float) -> NDArray[np.bool_]:
    """The walker said stop nearer than the threshold to the goal.

    Source: Anderson et al. 2018 (arXiv 1807.06757); facebookresearch/habitat-lab@0fb6f43 (habitat/tasks/nav/nav.py
    `Success`): the comparison is strict, and a walk cut off by a limit never succeeds.

    Args:
        distance_to_goal_m: (...,) geodesic distances where the walks ended, in [0, inf].
        stopped: (...,) bool, the walker chose to end.
        threshold_m: > 0; 0.2 in PointNav, 0.1 to a viewpoint in ObjectNav, 3 in room-to-room.

    Raises:
        ValueError: a distance is negative or NaN, or the threshold is not > 0.
    """
    distance = _lengths(distance_to_goal_m, "distances to the goal")
    return np.asarray(np.asarray(stopped, dtype=bool) & (distance < _positive(threshold_m, "threshold")))


def navigation_error(distances_to_goal_m: ArrayLike) -> float:
    """Distance to the goal where the walk ended (NE), in [0, inf].

    Source: Anderson et al. 2018 (arXiv 1711.07280); `DistanceToGoal` of facebookresearch/habitat-lab@0fb6f43.

    Args:
        distances_to_goal_m: (T,) geodesic distances along the walk, T >= 1.
    """
    return float(_along_walk(distances_to_goal_m)[-1])


def oracle_navigation_error(distances_to_goal_m: ArrayLike) -> float:
    """Least distance to the goal on the way, in [0, inf].

    Source: jacobkrantz/VLN-CE@00cae26 (habitat_extensions/measures.py `OracleNavigationError`); the start counts here,
    there only positions after an action do.

    Args:
        distances_to_goal_m: (T,) geodesic distances along the walk, T >= 1.
    """
    return float(_along_walk(distances_to_goal_m).min())


def oracle_success(distances_to_goal_m: ArrayLike, *, threshold_m: float) -> bool:
    """The walk came nearer than the threshold to the goal, whether or not it stopped there.

    Source: Anderson et al. 2018 (arXiv 1711.07280); jacobkrantz/VLN-CE@00cae26 (`OracleSuccess`).

    Args:
        distances_to_goal_m: (T,) geodesic distances along the walk, T >= 1.
        threshold_m: > 0.
    """
    return oracle_navigation_error(distances_to_goal_m) < _positive(threshold_m, "threshold")


# -------------------------------------------------------------------------------------------------- length of the walk


def path_length(positions_m: ArrayLike) -> float:
    """Sum of the straight distances between successive positions; 0 for a single one.

    Source: the `p` of habitat-lab@0fb6f43 `SPL` and VLN-CE@00cae26 `PathLength`.

    Args:
        positions_m: (T, D) positions, T >= 1, finite.
    """
    steps = np.diff(_positions(positions_m), axis=0)
    return float(np.linalg.norm(steps, axis=1).sum())


def spl(succeeded: ArrayLike, *, shortest_m: ArrayLike, path_m: ArrayLike) -> Array:
    """Success weighted by path length: S * l / max(l, p), in [0, 1].

    Source: Anderson et al. 2018 (arXiv 1807.06757), equation 1; habitat-lab@0fb6f43 (`SPL`: l is the geodesic distance
    at the start). Where the walk starts at the goal (l = 0), a walk that stays is worth S and any other 0; the
    published code divides 0 by 0 for the first. A failure is worth 0 for any l, also inf.

    Args:
        succeeded: (...,) bool or 0/1.
        shortest_m: (...,) length l of the shortest path, in [0, inf].
        path_m: (...,) length p of the walk, in [0, inf).

    Returns:
        (...,) values; broadcast.

    Raises:
        ValueError: a length is out of range, or an unreachable goal was reached.
    """
    reached = _indicator(succeeded)
    shortest, ratio = _efficiency(shortest_m, path_m)
    if np.any((reached > 0) & np.isinf(shortest)):
        raise ValueError("expected failures where the shortest path is infinite, got a success")
    return np.asarray(np.where(reached > 0, ratio, 0.0))


def soft_spl(distance_to_goal_m: ArrayLike, *, shortest_m: ArrayLike, path_m: ArrayLike) -> Array:
    """SPL with progress in place of success: max(0, 1 - d / l) * l / max(l, p), in [0, 1].

    Source: Datta et al. 2020 (arXiv 2009.03231); habitat-lab@0fb6f43 (`SoftSPL`). Where the walk starts at
    the goal (l = 0) the progress is 1 for d = 0, else 0. An unreachable goal (l = inf) gives 0.

    Args:
        distance_to_goal_m: (...,) geodesic distance d where the walk ended, in [0, inf].
        shortest_m: (...,) geodesic distance l where it started, in [0, inf].
        path_m: (...,) length p of the walk, in [0, inf).

    Raises:
        ValueError: a length is out of range.
    """
    distance = _lengths(distance_to_goal_m, "distances to the goal")
    shortest, ratio = _efficiency(shortest_m, path_m)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        progress = np.where(shortest > 0, np.maximum(0.0, 1 - distance / shortest), distance == 0)
    return np.asarray(np.where(np.isinf(shortest), 0.0, progress * ratio))


def oracle_spl(
    positions_m: ArrayLike, distances_to_goal_m: ArrayLike, *, shortest_m: float, threshold_m: float
) -> float:
    """SPL of the walk cut where it first comes nearer than the threshold to the goal; 0 where it never does.

    Source: jacobkrantz/VLN-CE@00cae26 (habitat_extensions/measures.py `OracleSPL`); the start counts here.

    Args:
        positions_m: (T, D) positions, T >= 1.
        distances_to_goal_m: (T,) geodesic distance at each of them.
        shortest_m: Length of the shortest path.
        threshold_m: > 0.

    Raises:
        ValueError: the two lengths T differ, or as in `spl`.
    """
    positions, distances = _positions(positions_m), _along_walk(distances_to_goal_m)
    if len(positions) != len(distances):
        raise ValueError(f"expected one distance per position, got {len(distances)} for {len(positions)}")
    near = np.flatnonzero(distances < _positive(threshold_m, "threshold"))
    if near.size == 0:
        return 0.0
    return float(spl(True, shortest_m=shortest_m, path_m=path_length(positions[: near[0] + 1])))


# --------------------------------------------------------------------------------------------- likeness to a reference


def distinct_positions(positions_m: ArrayLike) -> Array:
    """(T, D) positions without those equal to the one before, as VLN-CE does before it warps."""
    positions = _positions(positions_m)
    moved = np.any(np.diff(positions, axis=0) != 0, axis=1)
    return np.asarray(positions[np.concatenate([[True], moved])])


def pairwise_distances(path_m: ArrayLike, reference_m: ArrayLike) -> Array:
    """(N, M) straight distances between (N, D) positions of a walk and (M, D) of its reference."""
    path, reference = _positions(path_m), _positions(reference_m)
    if path.shape[1] != reference.shape[1]:
        raise ValueError(f"expected paths of one dimension, got {path.shape[1]} and {reference.shape[1]}")
    return np.asarray(cdist(path, reference))


def ndtw(costs: ArrayLike, *, threshold: float, variant: NdtwVariant = "ilharco2019") -> float:
    """Likeness of a walk to its reference path by dynamic time warping, in [0, 1]; 1 where every step lies on it.

    Two definitions are in use and never belong in one column:

    - `ilharco2019`: exp(-DTW / (|R| * threshold)). Ilharco et al. 2019 (arXiv 1907.05446); so too
      jacobkrantz/VLN-CE@00cae26 (`NDTW`, threshold 3 m, on `distinct_positions`, by default with an approximate DTW).
    - `map2seq`: exp(-DTW / (sqrt(|R|) * threshold)), which punishes long references more. Outdoor navigation,
      raphael-sch/map2seq_vln@b95dac3 (vln/env.py `cal_dtw`, threshold 2, costs in hops on the panorama graph).

    Args:
        costs: (N, M) distance between position i of the walk and position j of the reference, so |R| = M; straight
            (`pairwise_distances`), geodesic or in hops. A pair at inf can't be aligned.
        threshold: Success distance in the unit of the costs, > 0.
        variant: Which normalisation.

    Raises:
        ValueError: as `dynamic_time_warping`, or the threshold is not > 0, or the variant is unknown.
    """
    table = np.asarray(costs, dtype=np.float64)
    total = dynamic_time_warping(table)
    steps = table.shape[1]
    match variant:
        case "ilharco2019":
            scale = float(steps)
        case "map2seq":
            scale = float(np.sqrt(steps))
        case _:
            raise ValueError(f"expected the variant 'ilharco2019' or 'map2seq', got {variant!r}")
    return float(np.exp(-total / (scale * _positive(threshold, "threshold"))))


def sdtw(succeeded: bool, costs: ArrayLike, *, threshold: float, variant: NdtwVariant = "ilharco2019") -> float:
    """The `ndtw` of a successful walk, 0 for any other (Ilharco et al. 2019; VLN-CE@00cae26 `SDTW`)."""
    likeness = ndtw(costs, threshold=threshold, variant=variant)
    return likeness if succeeded else 0.0


# ---------------------------------------------------------------------------------------------------------- on a graph


def shortest_path_distance(links: Any, *, final: ArrayLike, goal: ArrayLike) -> Array:
    """Hops on the shortest way from where each walk ended to its goal (SPD): 0, 1 ... or inf where none leads there.

    Source: Chen et al. 2019 (Touchdown, arXiv 1811.12354); raphael-sch/map2seq_vln@b95dac3 (vln/env.py
    `_eva_metrics`). Lower is better; the published figure is the mean over episodes.

    Args:
        links: (V, V) array or SciPy sparse array, nonzero where one node leads to the other; a street walked both ways
            is symmetric.
        final: (E,) node where each walk ended.
        goal: (E,) node where it should have.

    Returns:
        (E,) hops.

    Raises:
        ValueError: links that are not square, a node that is not one of the V, or numbers of walks and goals that
            differ.
    """
    graph, finals, goals = _walks_on_graph(links, final, goal)
    return _hops(graph, finals, goals, limit=np.inf)


def task_completion(links: Any, *, final: ArrayLike, goal: ArrayLike) -> NDArray[np.bool_]:
    """The walk ended at the goal or at a node linked to it in either direction (TC).

    Source: Chen et al. 2019 (Touchdown, arXiv 1811.12354); raphael-sch/map2seq_vln@b95dac3 (vln/env.py
    `_eva_metrics`). Arguments and errors are those of `shortest_path_distance`.

    Returns:
        (E,) bool.
    """
    graph, finals, goals = _walks_on_graph(links, final, goal)
    forth, back = _hops(graph, finals, goals, limit=1.0), _hops(graph, goals, finals, limit=1.0)
    return np.asarray((forth <= 1) | (back <= 1))


# ------------------------------------------------------------------------------------------------------------ one walk


class WalkScores(NamedTuple):
    """Everything that is told of one walk to a goal."""

    success: bool
    """Stopped near the goal."""
    spl: float
    """In [0, 1]."""
    soft_spl: float
    """In [0, 1]."""
    oracle_success: bool
    """Was near the goal at some time."""
    oracle_spl: float
    """In [0, 1]."""
    navigation_error_m: float
    """In [0, inf]."""
    oracle_navigation_error_m: float
    """In [0, inf]."""
    path_length_m: float
    """In [0, inf)."""
    steps: int
    """Actions taken; stop is one."""


def score_walk(
    positions_m: ArrayLike, distances_to_goal_m: ArrayLike, *, stopped: bool, steps: int, threshold_m: float
) -> WalkScores:
    """The scores of one walk, the first distance being the length of the shortest path.

    Args:
        positions_m: (T, D) positions from start to end, T >= 1.
        distances_to_goal_m: (T,) geodesic distance to the nearest goal at each.
        stopped: The walker chose to end.
        steps: Actions taken, turns and stop included (VLN-CE@00cae26 `StepsTaken`).
        threshold_m: Success distance, > 0.

    Raises:
        ValueError: as the functions that are called.
    """
    distances = _along_walk(distances_to_goal_m)
    shortest, end, length = float(distances[0]), float(distances[-1]), path_length(positions_m)
    reached = bool(success(end, stopped=stopped, threshold_m=threshold_m))
    return WalkScores(
        success=reached,
        spl=float(spl(reached, shortest_m=shortest, path_m=length)),
        soft_spl=float(soft_spl(end, shortest_m=shortest, path_m=length)),
        oracle_success=oracle_success(distances, threshold_m=threshold_m),
        oracle_spl=oracle_spl(positions_m, distances, shortest_m=shortest, threshold_m=threshold_m),
        navigation_error_m=end,
        oracle_navigation_error_m=oracle_navigation_error(distances),
        path_length_m=length,
        steps=steps,
    )


# -------------------------------------------------------------------------------------------------------------- checks


def _efficiency(shortest_m: ArrayLike, path_m: ArrayLike) -> tuple[Array, Array]:
    """l, and l / max(l, p) with 1 where both are 0 and 0 where l is inf."""
    shortest = _lengths(shortest_m, "shortest paths")
    path = _lengths(path_m, "path lengths")
    if np.isinf(path).any():
        raise ValueError("expected finite path lengths, got inf")
    longer = np.maximum(shortest, path)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(longer > 0, shortest / longer, 1.0)
    return shortest, np.where(np.isinf(shortest), 0.0, ratio)


def _lengths(values: ArrayLike, name: str) -> Array:
    lengths = np.asarray(values, dtype=np.float64)
    if not (lengths >= 0).all():
        raise ValueError(f"expected {name} >= 0, got a negative one or NaN")
    return lengths


def _along_walk(distances_to_goal_m: ArrayLike) -> Array:
    distances = _lengths(distances_to_goal_m, "distances to the goal")
    if distances.ndim != 1 or distances.size == 0:
        raise ValueError(f"expected (T,) distances along a walk with T >= 1, got shape {distances.shape}")
    return distances


def _positions(positions_m: ArrayLike) -> Array:
    positions = np.asarray(positions_m, dtype=np.float64)
    if positions.ndim != 2 or 0 in positions.shape or not np.isfinite(positions).all():
        raise ValueError(f"expected (T, D) finite positions with T >= 1, got shape {positions.shape}")
    return positions


def _positive(value: float, name: str) -> float:
    if not 0 < value < np.inf:
        raise ValueError(f"expected a finite {name} > 0, got {value!r}")
    return value


def _indicator(succeeded: ArrayLike) -> Array:
    values = np.asarray(succeeded, dtype=np.float64)
    if not np.isin(values, (0.0, 1.0)).all():
        raise ValueError("expected successes that are 0 or 1")
    return values


def _walks_on_graph(links: Any, final: ArrayLike, goal: ArrayLike) -> tuple[Any, NDArray[np.int64], NDArray[np.int64]]:
    graph = csr_array(links)
    if graph.ndim != 2 or graph.shape[0] != graph.shape[1]:
        raise ValueError(f"expected (V, V) links, got shape {graph.shape}")
    finals, goals = np.asarray(final, dtype=np.int64), np.asarray(goal, dtype=np.int64)
    if finals.ndim != 1 or finals.shape != goals.shape:
        raise ValueError(f"expected (E,) ends and goals, got shapes {finals.shape} and {goals.shape}")
    both = np.concatenate([finals, goals])
    if np.any((both < 0) | (both >= graph.shape[0])):
        raise ValueError(f"expected nodes from 0 to {graph.shape[0] - 1}, got {both.min()} to {both.max()}")
    return graph, finals, goals


def _hops(graph: Any, starts: NDArray[np.int64], ends: NDArray[np.int64], *, limit: float) -> Array:
    """(E,) hops from start to end, inf beyond the limit; one search per different start bounds the memory."""
    hops = np.full(len(starts), np.inf)
    for start in np.unique(starts):
        mine = starts == start
        hops[mine] = dijkstra(graph, indices=int(start), unweighted=True, limit=limit)[ends[mine]]
    return hops

"""Routes over a grid of free cells: shortest paths that keep clear of obstacles, pulled straight and rounded.

Cells are (row, column) integers; routes are handed back in cell units and never leave free cells. The steps are the
usual ones of grid planning: a clearance-weighted graph searched by Dijkstra's algorithm (scipy.sparse.csgraph),
line-of-sight shortcuts ("string pulling"), and a Gaussian rounding that is blended back to the pulled line wherever
it would touch an obstacle.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse import csgraph

Cells = NDArray[np.int64]
Points = NDArray[np.float64]

_STEPS = ((0, 1), (1, 0), (1, 1), (1, -1))
"""Half of the eight neighbours; the graph is undirected."""
_SAMPLES_PER_CELL = 4


@dataclass(frozen=True, slots=True, eq=False)
class RouteGraph:
    """Free cells and what it costs to go from one to the next."""

    free: NDArray[np.bool_]
    """(R, C) cells one may stand on."""
    clearance: Points
    """(R, C) distance in cells to the nearest cell that is not free (or the border); 0 there."""
    node_of_cell: Cells
    """(R, C) index of the cell's node, -1 where it is not free."""
    cells: Cells
    """(N, 2) cell of each node."""
    costs: sparse.csr_array
    """(N, N) symmetric cost of the steps, in cells."""


def route_graph(free: NDArray[np.bool_], *, preferred_clearance: float, aversion: float = 4.0) -> RouteGraph:
    """Graph over the free cells. Steps nearer than `preferred_clearance` cells to an obstacle cost up to 1 + aversion.

    Diagonal steps need both cells beside them free, so that no corner is cut.
    """
    padded = np.pad(free, 1)
    clearance = ndimage.distance_transform_edt(padded)[1:-1, 1:-1]
    node = np.full(free.shape, -1, dtype=np.int64)
    cells = np.argwhere(free)
    node[free] = np.arange(len(cells))
    crowding = np.clip(1.0 - clearance / max(preferred_clearance, 1e-9), 0.0, 1.0) ** 2
    sources, targets, costs = [], [], []
    for row_step, column_step in _STEPS:
        a, b = _shifted(padded, 0, 0), _shifted(padded, row_step, column_step)
        joined = a & b
        if row_step and column_step:
            joined &= _shifted(padded, row_step, 0) & _shifted(padded, 0, column_step)
        start = np.argwhere(joined)
        end = start + np.array([row_step, column_step])
        mean_crowding = (crowding[tuple(start.T)] + crowding[tuple(end.T)]) / 2
        sources.append(node[tuple(start.T)])
        targets.append(node[tuple(end.T)])
        costs.append(np.hypot(row_step, column_step) * (1.0 + aversion * mean_crowding))
    i, j, weight = np.concatenate(sources), np.concatenate(targets), np.concatenate(costs)
    half = sparse.coo_array((weight, (i, j)), shape=(len(cells), len(cells))).tocsr()
    return RouteGraph(free=free, clearance=clearance, node_of_cell=node, cells=cells, costs=half + half.T)


def _shifted(padded: NDArray[np.bool_], row_step: int, column_step: int) -> NDArray[np.bool_]:
    rows, columns = padded.shape[0] - 2, padded.shape[1] - 2
    return padded[1 + row_step : 1 + row_step + rows, 1 + column_step : 1 + column_step + columns]


def reachable(graph: RouteGraph, cell: tuple[int, int]) -> NDArray[np.bool_]:
    """(R, C) cells that can be walked to from a free `cell`."""
    _, component = csgraph.connected_components(graph.costs, directed=False)
    same = component == component[graph.node_of_cell[cell]]
    mask = np.zeros(graph.free.shape, dtype=bool)
    mask[tuple(graph.cells[same].T)] = True
    return mask


def largest_component(graph: RouteGraph) -> NDArray[np.bool_]:
    """(R, C) the largest set of free cells that are connected."""
    if len(graph.cells) == 0:
        return graph.free.copy()
    _, component = csgraph.connected_components(graph.costs, directed=False)
    mask = np.zeros(graph.free.shape, dtype=bool)
    mask[tuple(graph.cells[component == np.bincount(component).argmax()].T)] = True
    return mask


@dataclass(frozen=True, slots=True, eq=False)
class Routes:
    """Cheapest routes between some stops."""

    cost: Points
    """(K, K) in cells, infinite where there is no way."""
    predecessors: NDArray[np.int32]
    """(K, N) as scipy gives them."""
    stops: Cells
    """(K,) node of each stop."""


def routes_between(graph: RouteGraph, stops: Cells) -> Routes:
    """Cheapest routes between all pairs of stop cells (K, 2), which must be free."""
    nodes = graph.node_of_cell[tuple(np.asarray(stops).T)]
    cost, predecessors = csgraph.dijkstra(graph.costs, directed=False, indices=nodes, return_predecessors=True)
    return Routes(cost=cost[:, nodes], predecessors=predecessors, stops=nodes)


def route(graph: RouteGraph, routes: Routes, start: int, end: int) -> Cells:
    """(M, 2) cells from stop `start` to stop `end`, both included. ValueError where there is no way."""
    if not np.isfinite(routes.cost[start, end]):
        raise ValueError(f"no way from stop {start} to stop {end}")
    nodes = [int(routes.stops[end])]
    while nodes[-1] != routes.stops[start]:
        nodes.append(int(routes.predecessors[start, nodes[-1]]))
    return graph.cells[nodes[::-1]]


def visiting_order(cost: Points, first: int) -> list[int]:
    """Stops in the order of a short open tour from `first`: nearest neighbour, then 2-opt until nothing shortens."""
    left = set(range(len(cost))) - {first}
    tour = [first]
    while left:
        tour.append(min(left, key=lambda stop: (cost[tour[-1], stop], stop)))
        left.remove(tour[-1])
    improved = True
    while improved:
        improved = False
        for i in range(1, len(tour) - 1):
            for j in range(i + 1, len(tour)):
                swapped = tour[:i] + tour[i : j + 1][::-1] + tour[j + 1 :]
                if _length(cost, swapped) < _length(cost, tour) - 1e-9:
                    tour, improved = swapped, True
    return tour


def _length(cost: Points, tour: list[int]) -> float:
    return float(sum(cost[a, b] for a, b in itertools.pairwise(tour)))


def smooth_route(graph: RouteGraph, cells: Cells, *, rounding: float, comfortable: float) -> Points:
    """A route over cell centres -> (P, 2) points in cell units, a quarter cell apart or less, with rounded corners.

    Args:
        graph: Free cells.
        cells: (M, 2) neighbouring free cells.
        rounding: Standard deviation of the rounding, in cells of way.
        comfortable: Shortcuts keep this clearance in cells, or the route's own where that is smaller.
    """
    pulled = _dense(_pull(graph, cells, comfortable))
    if not is_free(graph.free, pulled).all():  # a shortcut was sampled on both sides of a corner, the line on it
        pulled = _dense(np.asarray(cells, dtype=float))
    if len(pulled) < 3:
        return pulled
    spacing = float(np.mean(np.linalg.norm(np.diff(pulled, axis=0), axis=1)))
    smoothed = _gaussian_between_ends(pulled, rounding / max(spacing, 1e-9))
    weight = np.ones(len(pulled))
    while True:
        points = weight[:, None] * smoothed + (1.0 - weight[:, None]) * pulled
        bad = ~is_free(graph.free, points)
        if not bad.any():
            return points
        # The pulled line is free, so widening and deepening the blend ends; a Gaussian keeps the blend itself smooth.
        spread = ndimage.gaussian_filter1d(bad.astype(float), 2 * _SAMPLES_PER_CELL, mode="nearest")
        weight = np.minimum(weight, np.clip(weight - 0.25 * (spread > 0.01), 0.0, 1.0))


def is_free(free: NDArray[np.bool_], points: Points) -> NDArray[np.bool_]:
    """Whether points (N, 2) in cell units (cell k covers k - 0.5 ... k + 0.5) lie on free cells."""
    cells = np.rint(points).astype(int)
    inside = np.all((cells >= 0) & (cells < free.shape), axis=1)
    clipped = np.clip(cells, 0, np.array(free.shape) - 1)
    return np.asarray(inside & free[tuple(clipped.T)])


def _pull(graph: RouteGraph, cells: Cells, comfortable: float) -> Points:
    """Way points left after every shortcut that stays free and as clear as the part of the route it replaces."""
    clearance = graph.clearance[tuple(cells.T)]
    kept, start = [0], 0
    while start < len(cells) - 1:
        end = start + 1
        reach = 2
        while start + reach < len(cells):  # doubling, then the last visible one wins: O(M log M) checks
            if _sees(graph, cells, clearance, start, start + reach, comfortable):
                end = start + reach
                reach *= 2
            else:
                break
        low, high = end, min(start + reach, len(cells) - 1)
        while low < high:
            middle = (low + high + 1) // 2
            if _sees(graph, cells, clearance, start, middle, comfortable):
                low = middle
            else:
                high = middle - 1
        start = max(low, start + 1)
        kept.append(start)
    return cells[kept].astype(float)


def _sees(graph: RouteGraph, cells: Cells, clearance: Points, start: int, end: int, comfortable: float) -> bool:
    line = _dense(cells[[start, end]].astype(float))
    needed = min(comfortable, float(clearance[start : end + 1].min()))
    at = np.rint(line).astype(int)
    return bool(np.all(graph.clearance[tuple(at.T)] >= needed - 1e-9))


def _dense(points: Points) -> Points:
    """The polyline with points at most a quarter cell apart."""
    lengths = np.linalg.norm(np.diff(points, axis=0), axis=1)
    way = np.concatenate([[0.0], np.cumsum(lengths)])
    count = max(int(np.ceil(way[-1] * _SAMPLES_PER_CELL)) + 1, 2)
    at = np.unique(np.concatenate([np.linspace(0.0, way[-1], count), way]))
    return np.column_stack([np.interp(at, way, points[:, axis]) for axis in range(2)])


def _gaussian_between_ends(points: Points, sigma: float) -> Points:
    """Gaussian smoothing that leaves both ends where they are (odd reflection)."""
    n = min(len(points) - 1, int(np.ceil(4 * sigma)))
    before, after = 2 * points[0] - points[n:0:-1], 2 * points[-1] - points[-2 : -n - 2 : -1]
    padded = np.concatenate([before, points, after])
    smooth = np.asarray(ndimage.gaussian_filter1d(padded, sigma, axis=0, mode="nearest")[n : n + len(points)])
    smooth[0], smooth[-1] = points[0], points[-1]  # the kernel's cut tails move them by micro-cells
    return smooth

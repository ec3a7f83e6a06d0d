"""Alignments against the enumeration of every alignment."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from clock import cpu_s
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from allocentric.core.alignment import dynamic_time_warping, needleman_wunsch, warping_path

tables = arrays(np.float64, array_shapes(min_dims=2, max_dims=2, max_side=4), elements=st.floats(0, 10))


def monotone_paths(n: int, m: int, i: int = 0, j: int = 0) -> Iterator[list[tuple[int, int]]]:
    if (i, j) == (n - 1, m - 1):
        yield [(i, j)]
        return
    for a, b in ((i + 1, j), (i, j + 1), (i + 1, j + 1)):
        if a < n and b < m:
            yield from ([(i, j), *rest] for rest in monotone_paths(n, m, a, b))


def matchings(n: int, m: int, i: int = 0, j: int = 0) -> Iterator[list[tuple[int, int]]]:
    """Every set of pairs that rises in both sequences."""
    yield []
    for a in range(i, n):
        for b in range(j, m):
            yield from ([(a, b), *rest] for rest in matchings(n, m, a + 1, b + 1))


@given(tables)
def test_warping_is_the_minimum_over_all_monotone_alignments(costs: np.ndarray) -> None:
    every = [sum(costs[cell] for cell in path) for path in monotone_paths(*costs.shape)]
    assert dynamic_time_warping(costs) == pytest.approx(min(every), abs=1e-12)


@given(tables)
def test_warping_path_has_the_cost_and_the_steps_of_an_alignment(costs: np.ndarray) -> None:
    path = warping_path(costs)
    assert [tuple(pair) for pair in path.tolist()] in list(monotone_paths(*costs.shape))
    assert costs[path[:, 0], path[:, 1]].sum() == pytest.approx(dynamic_time_warping(costs), abs=1e-12)


@given(tables, st.floats(-3, 0))
def test_needleman_wunsch_is_the_maximum_over_all_matchings(table: np.ndarray, gap: float) -> None:
    gains, (n, m) = table - 5, table.shape
    every = [sum(gains[pair] for pair in pairs) + gap * (n + m - 2 * len(pairs)) for pairs in matchings(n, m)]
    assert needleman_wunsch(gains, gap) == pytest.approx(max(every), abs=1e-9)


@given(tables)
def test_both_are_symmetric_and_reversible(costs: np.ndarray) -> None:
    for turned in (costs.T, costs[::-1, ::-1]):
        assert dynamic_time_warping(turned) == pytest.approx(dynamic_time_warping(costs), abs=1e-12)
        assert needleman_wunsch(turned - 5, -1) == pytest.approx(needleman_wunsch(costs - 5, -1), abs=1e-12)


def test_infinite_costs_are_avoided_or_make_the_whole_infinite() -> None:
    costs = np.zeros((3, 3))
    costs[1, 1] = np.inf
    assert dynamic_time_warping(costs) == 0
    costs[1, :] = np.inf
    assert dynamic_time_warping(costs) == np.inf
    with pytest.raises(ValueError, match="finite alignment"):
        warping_path(costs)


@pytest.mark.parametrize("costs", [np.zeros((0, 3)), np.zeros(3), [[np.nan]], [[-1.0]]])
def test_bad_costs_are_refused(costs: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected"):
        dynamic_time_warping(costs)


def test_bad_similarities_and_gaps_are_refused() -> None:
    for table, gap in (([[np.inf]], 0.0), ([[1.0]], 0.1), ([[1.0]], np.nan), ([[1.0]], -np.inf)):
        with pytest.raises(ValueError, match="expected"):
            needleman_wunsch(table, gap)


def test_a_table_is_filled_by_diagonals_and_not_by_cells() -> None:
    costs = np.random.default_rng(0).random((500, 500))

    def cell_by_cell() -> float:
        table = np.pad(costs, ((1, 0), (1, 0)), constant_values=np.inf).tolist()
        table[0][0] = 0.0
        for i in range(1, 501):
            above, row = table[i - 1], table[i]
            for j in range(1, 501):
                row[j] += min(above[j - 1], above[j], row[j - 1])
        return float(table[500][500])

    assert dynamic_time_warping(costs) == pytest.approx(cell_by_cell())
    assert cpu_s(lambda: dynamic_time_warping(costs), rounds=5) < cpu_s(cell_by_cell, rounds=2) / 2

"""Best alignments of two sequences: dynamic time warping and Needleman-Wunsch.

Cell (i, j) of a table depends on cells of the two anti-diagonals before its own, so a table is filled one
anti-diagonal at a time. Tables are kept skewed for that: row d holds the cells with i + j = d, in column i.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def dynamic_time_warping(costs: ArrayLike) -> float:
    """Least total cost of a monotone alignment that uses every element of both sequences.

    An alignment starts at (0, 0), ends at (N-1, M-1) and goes from (i, j) to (i+1, j), (i, j+1) or (i+1, j+1); every
    cell it visits costs once. The minimum is exact, never more than the approximation of `fastdtw`.

    Args:
        costs: (N, M) cost of pairing element i with element j, >= 0; inf forbids a pair.

    Returns:
        In [0, inf].

    Raises:
        ValueError: no (N, M) table with N, M >= 1, or a cost is negative or NaN.
    """
    table = _warping_table(_checked_costs(costs))
    return float(table[-1, -1])


def warping_path(costs: ArrayLike) -> NDArray[np.int64]:
    """Pairs of the alignment whose cost is `dynamic_time_warping(costs)`.

    Of equally cheap alignments the one that ends with the most diagonal moves is taken, then the one that advances i.

    Args:
        costs: As in `dynamic_time_warping`; some alignment must have a finite cost.

    Returns:
        (K, 2) pairs (i, j) from (0, 0) to (N-1, M-1), max(N, M) <= K < N + M.

    Raises:
        ValueError: as in `dynamic_time_warping`, or every alignment costs inf.
    """
    checked = _checked_costs(costs)
    table = _warping_table(checked)
    if not np.isfinite(table[-1, -1]):
        raise ValueError("expected costs with a finite alignment, got none that avoids every inf")
    i, j = checked.shape[0] - 1, checked.shape[1] - 1
    pairs = [(i, j)]
    while i or j:
        before = [(a, b) for a, b in ((i - 1, j - 1), (i - 1, j), (i, j - 1)) if a >= 0 and b >= 0]
        i, j = min(before, key=lambda cell: table[cell[0] + cell[1], cell[0]])  # the first of equals
        pairs.append((i, j))
    return np.array(pairs[::-1], dtype=np.int64)


def needleman_wunsch(similarity: ArrayLike, gap: float = 0.0) -> float:
    """Highest total similarity of a global alignment with gaps (Needleman and Wunsch 1970, J. Mol. Biol. 48:443).

    Args:
        similarity: (N, M) gain of matching element i with element j, finite.
        gap: Gain of an element left unmatched, <= 0.

    Returns:
        At least gap * (N + M).

    Raises:
        ValueError: no (N, M) table with N, M >= 1, a value that is not finite, or a positive gap.
    """
    gains = _as_table(similarity)
    if not np.isfinite(gains).all():
        raise ValueError("expected finite similarities, got inf or NaN")
    if not -np.inf < gap <= 0:
        raise ValueError(f"expected a finite gap <= 0, got {gap!r}")
    n, m = gains.shape
    skewed = _skewed(gains, fill=-np.inf)
    best = np.full((n + m + 1, n + 1), -np.inf)  # row d, column i: the first i and the first d - i are aligned
    best[0, 0] = 0.0
    for d in range(1, n + m + 1):  # cells with d - i > m are filled too, and lead only to others of their kind
        row = best[d]
        row[:] = best[d - 1] + gap
        np.maximum(row[1:], best[d - 1, :-1] + gap, out=row[1:])
        if d > 1:
            np.maximum(row[1:], best[d - 2, :-1] + skewed[d - 2], out=row[1:])
    return float(best[n + m, n])


def _checked_costs(costs: ArrayLike) -> Array:
    table = _as_table(costs)
    if not (table >= 0).all():
        raise ValueError("expected costs >= 0, got a negative one or NaN")
    return table


def _as_table(values: ArrayLike) -> Array:
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2 or 0 in table.shape:
        raise ValueError(f"expected an (N, M) table with N, M >= 1, got shape {table.shape}")
    return table


def _warping_table(costs: Array) -> Array:
    """Skewed (N + M - 1, N) table: row i + j, column i is the least cost of an alignment that ends at (i, j)."""
    skewed = _skewed(costs, fill=np.inf)
    for d in range(1, len(skewed)):
        step = skewed[d - 1].copy()  # from (i, j - 1)
        np.minimum(step[1:], skewed[d - 1, :-1], out=step[1:])  # from (i - 1, j)
        if d > 1:
            np.minimum(step[1:], skewed[d - 2, :-1], out=step[1:])
        skewed[d] += step
    return skewed


def _skewed(table: Array, *, fill: float) -> Array:
    """(N, M) -> (N + M - 1, N): row d, column i holds cell (i, d - i), `fill` outside the table."""
    n, m = table.shape
    out = np.full((n + m - 1, n), fill)
    i, j = np.indices((n, m), sparse=True)
    out[i + j, np.broadcast_to(i, (n, m))] = table
    return out

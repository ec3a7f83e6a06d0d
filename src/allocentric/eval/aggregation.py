"""Averages of averages: kinds -> cells -> overall, for one set of scores or for all bootstrap replicates at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allocentric.core.errors import DataError
from allocentric.core.types import FloatArray

OVERALL = "overall"
"""Name of the average over all cells."""


def macro_average(
    kinds: Sequence[str],
    values: FloatArray,
    weights: FloatArray | None = None,
    *,
    cells: Mapping[str, str],
    partial: bool = False,
) -> dict[str, Any]:
    """Mean of every kind, plain mean of its kinds for every cell, plain mean of the cells for the overall score.

    Args:
        kinds: (N,) kind of each item, keys of `cells`.
        values: (N,) scores.
        weights: (R, N) non-negative weights, one row per replicate; None weighs every item 1.
        cells: Kind -> cell, for all kinds that the published average is made of.
        partial: Where kinds are missing: False leaves their cell and the overall score undefined (NaN), True averages
            over what occurs.

    Returns:
        By name, every kind and every cell that occurs, and "overall": floats, or (R,) arrays with weights. NaN where
        there is nothing to average.

    Raises:
        DataError: a kind that no cell holds.
    """
    codes, means = _kind_means(kinds, values, weights)
    unknown = [kind for kind in codes if kind not in cells]
    if unknown:
        raise DataError(f"no cell for the question type {unknown[0]!r}; expected one of {', '.join(cells)}")
    by_kind = {kind: means[code] for kind, code in codes.items()}
    by_cell: dict[str, Any] = {}
    for cell in dict.fromkeys(cells.values()):
        members = [kind for kind, owner in cells.items() if owner == cell]
        if any(kind in by_kind for kind in members):
            by_cell[cell] = _mean_of(by_kind, members, means, partial=partial)
    overall = _mean_of(by_cell, list(dict.fromkeys(cells.values())), means, partial=partial)
    named = {**by_kind, **by_cell, OVERALL: overall}
    return named if weights is not None else {name: float(value) for name, value in named.items()}


def _kind_means(
    kinds: Sequence[str], values: FloatArray, weights: FloatArray | None
) -> tuple[dict[str, int], NDArray[np.float64]]:
    """Position of every kind, and (K,) means, or (K, R) with weights."""
    codes: dict[str, int] = {}
    member = np.array([codes.setdefault(kind, len(codes)) for kind in kinds], dtype=np.int64)
    if weights is None:
        means = [float(np.mean(values[member == code])) for code in range(len(codes))]
        return codes, np.array(means, dtype=np.float64)
    indicator = np.zeros((len(kinds), len(codes)))
    indicator[np.arange(len(kinds)), member] = 1.0
    sums = weights @ (indicator * np.asarray(values, dtype=np.float64)[:, None])
    totals = weights @ indicator
    with np.errstate(divide="ignore", invalid="ignore"):
        return codes, np.where(totals > 0, sums / totals, np.nan).T


def _mean_of(
    parts: Mapping[str, Any], names: Sequence[str], like: NDArray[np.float64], *, partial: bool
) -> NDArray[np.float64]:
    present = [parts[name] for name in names if name in parts]
    if not present or (len(present) < len(names) and not partial):
        return np.full(like.shape[1:], np.nan)
    total: NDArray[np.float64] = np.sum(present, axis=0) / len(present)
    return total

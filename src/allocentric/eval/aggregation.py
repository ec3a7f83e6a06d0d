"""Averages of averages: kinds -> cells -> overall, for one set of scores or for all bootstrap replicates at once.

Every published average here is a tree over ratios of sums: a kind is worth (sum of numerators) / (sum of denominators)
of its items. Plain accuracy adds (score, 1), a chance-adjusted one (score - chance, 1 - chance), a circular one counts
a group of items once. So an average is two steps: `parts`, (N, F) numbers to be summed, and `combine`, which turns
sums into scores. Sums can be taken over items, over bootstrap weights, or first over scenes; the result is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from allocentric.core.errors import DataError
from allocentric.core.types import Choice, FloatArray, Item

Array: TypeAlias = NDArray[np.float64]

OVERALL = "overall"
"""Name of the average over all cells."""


class Sums(NamedTuple):
    """An average before it is taken."""

    parts: Array
    """(N, F) what every item adds."""
    combine: Callable[[Array], dict[str, Array]]
    """(..., F) sums of parts -> (...) scores by name; NaN where there is nothing to average."""


class Composite(Protocol):
    """A published average."""

    def __call__(self, items: Sequence[Item], values: FloatArray) -> Sums:
        """What (N,) `values` of (N,) `items` add up to."""
        ...


def aggregate(
    composite: Composite, items: Sequence[Item], values: FloatArray, weights: FloatArray | None = None
) -> dict[str, Any]:
    """A published average of scores.

    Args:
        composite: The average.
        items: (N,) items the scores belong to.
        values: (N,) scores.
        weights: (R, N) non-negative weights, one row per replicate, equal for all items of a scene; None weighs every
            item 1.

    Returns:
        By name floats, or (R,) arrays with weights. NaN where there is nothing to average.
    """
    sums = composite(items, values)
    totals = sums.parts.sum(axis=0) if weights is None else weights @ sums.parts
    named = sums.combine(totals)
    return named if weights is not None else {name: float(value) for name, value in named.items()}


# -------------------------------------------------------------------------------------------------- what an item adds

Terms: TypeAlias = Callable[[Sequence[Item], Array], tuple[Array, Array]]
"""(N,) items and scores -> (N,) numerators and (N,) denominators."""


def plain(items: Sequence[Item], values: Array) -> tuple[Array, Array]:
    """The mean: every item once."""
    return values, np.ones(len(items))


def pooled(size: Callable[[Item], float]) -> Terms:
    """The mean where an item stands for `size` answers and its score is their mean."""

    def terms(items: Sequence[Item], values: Array) -> tuple[Array, Array]:
        sizes = np.array([size(item) for item in items], dtype=np.float64)
        return values * sizes, sizes

    return terms


def chance_adjusted(items: Sequence[Item], values: Array) -> tuple[Array, Array]:
    """Chance-adjusted accuracy (CAA): (sum of hits - sum of 1/n) / (N - sum of 1/n), n the number of options."""
    chances = np.array([1 / len(item.choices) for item in items], dtype=np.float64)
    return values - chances, 1 - chances


def circular(group: Callable[[Item], Hashable]) -> Terms:
    """Every group of items counts once, and is right only where all of its items are.

    The group counts in the kind of its first item. Weights must be equal within a group.
    """

    def terms(items: Sequence[Item], values: Array) -> tuple[Array, Array]:
        first: dict[Hashable, int] = {}
        leader = np.array([first.setdefault(group(item), index) for index, item in enumerate(items)], dtype=np.int64)
        worst = np.full(len(items), np.inf)
        np.minimum.at(worst, leader, values)
        leads = np.zeros(len(items))
        leads[list(first.values())] = 1.0
        return np.where(leads > 0, worst, 0.0), leads

    return terms


def f1_of_option(positive: Callable[[Item], int]) -> Terms:
    """F1 of one option of two: 2 TP / (2 TP + FP + FN), a wrong answer being the other option."""

    def terms(items: Sequence[Item], values: Array) -> tuple[Array, Array]:
        gold = np.array([isinstance(item.gold, Choice) and item.gold.index == positive(item) for item in items])
        hits = 2 * np.where(gold, values, 0.0)
        return hits, hits + (1 - values)

    return terms


# ----------------------------------------------------------------------------------------------------------- averages

Across: TypeAlias = Literal["macro", "micro", "kinds"] | Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Nested:
    """Kinds -> cells -> overall."""

    cells: Mapping[str, str]
    """Kind -> cell, for all kinds that the published average is made of; empty makes every kind a cell."""
    within: Literal["macro", "micro"] = "macro"
    """A cell is the plain mean of its kinds, or of its items."""
    across: Across = "macro"
    """The overall score is the plain mean of the cells, of all items, of the kinds, or the mean of cells with these
    weights (of the cells that occur, renormalised)."""
    terms: Terms = plain
    """What an item adds."""
    terms_of: Mapping[str, Terms] = field(default_factory=dict)
    """Kind -> what its items add, where that differs."""
    outside: frozenset[str] = frozenset()
    """Cells that the overall score leaves out."""
    partial: bool = False
    """Where kinds are missing: False leaves the macro means they belong to undefined (NaN), True averages over what
    occurs."""

    def __call__(self, items: Sequence[Item], values: FloatArray) -> Sums:
        """Sums by kind. DataError: a kind that no cell holds."""
        if not self.cells:
            return replace(self, cells={item.kind: item.kind for item in items})(items, values)
        kinds = self._kinds(items)
        codes = {kind: code for code, kind in enumerate(kinds)}
        member = np.array([codes[item.kind] for item in items], dtype=np.int64)
        scores = np.asarray(values, dtype=np.float64)
        parts = np.zeros((len(items), 2 * len(kinds)))
        for terms, rows in self._rows_by_terms(items):
            asked = items if len(rows) == len(items) else [items[row] for row in rows.tolist()]
            numerators, denominators = terms(asked, scores[rows])
            parts[rows, member[rows]], parts[rows, len(kinds) + member[rows]] = numerators, denominators

        def combine(totals: Array) -> dict[str, Array]:
            return self._combine(kinds, totals[..., : len(kinds)], totals[..., len(kinds) :])

        return Sums(parts, combine)

    def _rows_by_terms(self, items: Sequence[Item]) -> list[tuple[Terms, NDArray[np.int64]]]:
        if not self.terms_of:
            return [(self.terms, np.arange(len(items)))]
        rows: dict[Terms, list[int]] = {}
        for row, item in enumerate(items):
            rows.setdefault(self.terms_of.get(item.kind, self.terms), []).append(row)
        return [(terms, np.array(members, dtype=np.int64)) for terms, members in rows.items()]

    def _kinds(self, items: Sequence[Item]) -> list[str]:
        kinds = list(dict.fromkeys(item.kind for item in items))
        for kind in kinds:
            if kind not in self.cells:
                raise DataError(f"no cell for the question type {kind!r}; expected one of {', '.join(self.cells)}")
        return kinds

    def _combine(self, kinds: Sequence[str], numerators: Array, denominators: Array) -> dict[str, Array]:
        column = {kind: code for code, kind in enumerate(kinds)}

        def ratio(members: Sequence[str]) -> Array:
            codes = [column[kind] for kind in members]
            return _divided(numerators[..., codes].sum(axis=-1), denominators[..., codes].sum(axis=-1))

        by_kind = {kind: ratio([kind]) for kind in kinds}
        nothing = np.full(numerators.shape[:-1], np.nan)
        by_cell: dict[str, Array] = {}
        for cell in dict.fromkeys(self.cells.values()):
            members = [kind for kind, owner in self.cells.items() if owner == cell]
            present = [kind for kind in members if kind in column]
            if present and self.within == "micro":
                by_cell[cell] = ratio(present)
            elif present:
                by_cell[cell] = self._mean([by_kind[kind] for kind in present], len(members), nothing)
        counted = [cell for cell in dict.fromkeys(self.cells.values()) if cell not in self.outside]
        if self.across == "micro":
            pool = [kind for kind in kinds if self.cells[kind] in counted]
            overall = ratio(pool) if pool else nothing
        elif self.across == "kinds":
            wanted = [kind for kind, cell in self.cells.items() if cell in counted]
            overall = self._mean([by_kind[kind] for kind in wanted if kind in column], len(wanted), nothing)
        elif self.across == "macro":
            overall = self._mean([by_cell[cell] for cell in counted if cell in by_cell], len(counted), nothing)
        else:
            overall = _weighted({cell: by_cell[cell] for cell in counted if cell in by_cell}, self.across, nothing)
        return {**by_kind, **by_cell, OVERALL: overall}

    def _mean(self, parts: Sequence[Array], expected: int, nothing: Array) -> Array:
        if not parts or (len(parts) < expected and not self.partial):
            return nothing
        total: Array = np.sum(parts, axis=0) / len(parts)
        return total


@dataclass(frozen=True, kw_only=True)
class Alongside:
    """A published average with others of the same scores beside it ("micro", "circular")."""

    main: Composite
    """Gives kinds, cells and "overall"."""
    others: Mapping[str, Composite]
    """By name; the overall score of each is added under that name."""

    def __call__(self, items: Sequence[Item], values: FloatArray) -> Sums:
        """The parts of all, side by side."""
        sums = [self.main(items, values), *(other(items, values) for other in self.others.values())]
        ends = np.cumsum([part.parts.shape[1] for part in sums])

        def combine(totals: Array) -> dict[str, Array]:
            pieces = np.split(totals, ends[:-1], axis=-1)
            named = [part.combine(piece) for part, piece in zip(sums, pieces, strict=True)]
            return named[0] | {name: other[OVERALL] for name, other in zip(self.others, named[1:], strict=True)}

        return Sums(np.hstack([part.parts for part in sums]), combine)


def partial(composite: Composite) -> Composite:
    """The same average over the kinds and cells that occur."""
    if isinstance(composite, Nested):
        return replace(composite, partial=True)
    if isinstance(composite, Alongside):
        others = {name: partial(other) for name, other in composite.others.items()}
        return Alongside(main=partial(composite.main), others=others)
    return composite


def _divided(numerators: Array, denominators: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(denominators > 0, numerators / denominators, np.nan)


def _weighted(by_cell: Mapping[str, Array], weights: Mapping[str, float], nothing: Array) -> Array:
    """Weighted mean over the cells that occur (in each replicate)."""
    total, mass = np.zeros_like(nothing), np.zeros_like(nothing)
    for cell, score in by_cell.items():
        known = np.isfinite(score)
        total = total + np.where(known, weights[cell] * np.where(known, score, 0.0), 0.0)
        mass = mass + np.where(known, weights[cell], 0.0)
    return _divided(total, mass)

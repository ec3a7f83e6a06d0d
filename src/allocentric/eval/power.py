"""What a benchmark can tell before anything is asked: the smallest difference between two models it would find.

The published average is taken apart into the weight of every item, so that nested averages count as they do on the
leaderboard; items of one scene share an intracluster correlation. Everything else is an assumption that is printed:
how often a model is right, how alike two models are on one item, and how alike the items of a scene are. An earlier
run of two models replaces the assumptions by what was measured.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from allocentric.core.errors import DataError, SettingsError
from allocentric.core.stats import (
    Array,
    cluster_count,
    detectable_difference,
    half_width,
    intracluster_correlation,
    power,
    weighted_sum_error,
)
from allocentric.core.types import Item
from allocentric.eval.aggregation import OVERALL, aggregate
from allocentric.eval.protocol import Benchmark
from allocentric.eval.results import PERCENT, ScoredRow, cell_names

_STEP = 0.25


@dataclass(frozen=True, kw_only=True)
class Assumptions:
    """What is taken for granted about two models."""

    accuracy: float = 0.5
    """Share of items either has right, in (0, 1); 0.5 is the least favourable."""
    correlation: float = 0.5
    """Between the scores of the two on one item, in [0, 1); Miller 2024 (arXiv 2411.00640) reports 0.3 to 0.7."""
    intracluster: float = 0.1
    """Between two items of one scene, in [0, 1]: of one model's scores and of the differences alike."""
    deviations: Mapping[str, float] = field(default_factory=dict)
    """Question type -> standard deviation of one item's difference; types that are absent take that of right and
    wrong answers with the above."""

    def __post_init__(self) -> None:
        """SettingsError where a value is out of range."""
        for name, value, low, high in (
            ("accuracy", self.accuracy, 0.0, 1.0),
            ("correlation", self.correlation, -1.0, 1.0),
        ):
            if not low < value < high:
                raise SettingsError(f"{name}: expected a number between {low:g} and {high:g}, got {value:g}")
        if not 0 <= self.intracluster <= 1:
            raise SettingsError(f"icc: expected a number from 0 to 1, got {self.intracluster:g}")

    @property
    def one_model(self) -> float:
        """Standard deviation of one model's score on one item."""
        return float(np.sqrt(self.accuracy * (1 - self.accuracy)))

    @property
    def difference(self) -> float:
        """Standard deviation of the difference of two models on one item that is right or wrong."""
        return self.one_model * float(np.sqrt(2 * (1 - self.correlation)))


def measured(items: Sequence[Item], first: ScoredRow, second: ScoredRow) -> Assumptions:
    """The assumptions as two models of an earlier run have them. Negative correlations within scenes count as 0.

    Raises:
        DataError: fewer than two items are scored on both sides, or the two never differ.
    """
    kept = np.flatnonzero(first.counted & second.counted)
    a, b = first.values[kept], second.values[kept]
    difference = a - b
    if kept.size < 2 or not np.std(difference) > 0:
        raise DataError("the two models never differ on an item; there is nothing to measure the spread from")
    kinds = np.array([items[index].kind for index in kept.tolist()])
    deviations, standard = {}, np.zeros(len(kept))
    for kind in dict.fromkeys(kinds.tolist()):
        member = kinds == kind
        spread = float(np.std(difference[member], ddof=1)) if member.sum() > 1 else float(np.std(difference))
        deviations[kind] = spread
        standard[member] = (difference[member] - difference[member].mean()) / (spread or 1.0)
    within = intracluster_correlation(standard, [items[index].scene_id for index in kept.tolist()])
    alike = float(np.corrcoef(a, b)[0, 1]) if np.std(a) > 0 and np.std(b) > 0 else 0.0
    return Assumptions(
        accuracy=float(np.clip(np.mean([a.mean(), b.mean()]), 1e-6, 1 - 1e-6)),
        correlation=float(np.clip(alike, -1 + 1e-6, 1 - 1e-6)),
        intracluster=max(0.0, within) if np.isfinite(within) else 0.0,
        deviations=deviations,
    )


def outlook(
    benchmark: Benchmark,
    items: Sequence[Item],
    assumptions: Assumptions,
    *,
    difference: float | None = None,
    wanted: float = 0.8,
    level: float = 0.95,
) -> dict[str, Any]:
    """What comparing two models on `items` would find.

    Args:
        benchmark: Whose published average is meant.
        items: (N,) those that would be asked.
        assumptions: About the models.
        difference: True difference in percent points to give the power for.
        wanted: Power that "detectable" has.
        level: Of the test and of the half width.

    Returns:
        `{"assumptions", "power", "level", "rows": [row]}`, the overall score first, then every cell; a row is
        `{"name", "n", "scenes", "design_effect", "half_width", "standard_error", "detectable", "power", "n_needed"}`
        in percent points; half width is that of one model's score, the rest speaks of the difference of two.
        "n_needed" are items for `difference` with scenes as large as here.
    """
    weights = item_weights(benchmark, items, at=assumptions.accuracy)
    spread = np.array([assumptions.deviations.get(item.kind, assumptions.difference) for item in items])
    cell_of = np.array([benchmark.cells.get(item.kind, item.kind) for item in items])
    members = {name: np.flatnonzero(cell_of == name) for name in cell_names(benchmark, [item.kind for item in items])}
    rows = []
    for name, kept in {OVERALL: np.arange(len(items)), **members}.items():
        if name in weights:
            scenes = [items[index].scene_id for index in kept.tolist()]
            mean = _Mean(weights=weights[name][kept], spread=spread[kept], scenes=scenes)
            rows.append(_row(name, mean, assumptions, difference, wanted, level))
    return {"assumptions": _record(assumptions), "power": wanted, "level": level, "rows": rows}


def outlook_of_counts(
    count: int,
    scenes: int,
    assumptions: Assumptions,
    *,
    difference: float | None = None,
    wanted: float = 0.8,
    level: float = 0.95,
) -> dict[str, Any]:
    """`outlook` of the plain mean of `count` items spread evenly over `scenes`."""
    if not 1 <= scenes <= count:
        raise SettingsError(f"expected at least one scene and at most one per item, got {scenes} for {count} items")
    spread = np.full(count, assumptions.difference)
    mean = _Mean(weights=np.full(count, 1 / count), spread=spread, scenes=[index % scenes for index in range(count)])
    row = _row(OVERALL, mean, assumptions, difference, wanted, level)
    return {"assumptions": _record(assumptions), "power": wanted, "level": level, "rows": [row]}


def item_weights(benchmark: Benchmark, items: Sequence[Item], *, at: float) -> dict[str, Array]:
    """By cell and "overall", (N,) how much a point of each item moves the published average.

    Exact for averages that are linear in the scores of a question type (means of means, chance-adjusted accuracy);
    others (a circular group, F1) are linearised by question type where every item scores `at`. An average that the
    items leave undefined is left out.
    """
    base = np.full(len(items), at)
    start = aggregate(benchmark.composite, items, base)
    kinds = np.array([item.kind for item in items])
    weights = {name: np.zeros(len(items)) for name, value in start.items() if np.isfinite(value)}
    step = _STEP if at + _STEP <= 1 else -_STEP
    for kind in dict.fromkeys(kinds.tolist()):
        member = kinds == kind
        moved = aggregate(benchmark.composite, items, np.where(member, at + step, base))
        for name, weight in weights.items():
            weight[member] = (moved[name] - start[name]) / step / member.sum()
    return weights


@dataclass(frozen=True, kw_only=True, eq=False)
class _Mean:
    """One average."""

    weights: Array
    """(N,) of its items."""
    spread: Array
    """(N,) standard deviation of each item's difference."""
    scenes: Sequence[Hashable]
    """(N,) scene of each item."""

    def error(self, spread: Array, correlation: float) -> float:
        return weighted_sum_error(self.weights * spread, self.scenes, deviation=1.0, correlation=correlation)


def _row(
    name: str, mean: _Mean, assumptions: Assumptions, difference: float | None, wanted: float, level: float
) -> dict[str, Any]:
    clustered = mean.error(mean.spread, assumptions.intracluster)
    one_model = mean.error(np.full(len(mean.spread), assumptions.one_model), assumptions.intracluster)
    independent = mean.error(mean.spread, 0.0)
    found = detectable_difference(clustered, power=wanted, level=level)
    target = None if difference is None else abs(difference) / PERCENT
    return {
        "name": name,
        "n": len(mean.weights),
        "scenes": cluster_count(mean.scenes),
        "design_effect": (clustered / independent) ** 2 if independent else 1.0,
        "half_width": PERCENT * half_width(one_model, level=level),
        "standard_error": PERCENT * clustered,
        "detectable": PERCENT * found,
        "power": power(target, clustered, level=level) if target and clustered else None,
        "n_needed": int(np.ceil(len(mean.weights) * (found / target) ** 2)) if target else None,
    }


def _record(assumptions: Assumptions) -> dict[str, Any]:
    return {
        "accuracy": assumptions.accuracy,
        "correlation": assumptions.correlation,
        "intracluster": assumptions.intracluster,
        "deviations": dict(assumptions.deviations),
    }

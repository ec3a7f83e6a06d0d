"""From responses to the numbers of a leaderboard: scores, the published average, intervals, counts. No model here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allocentric.core.stats import Array, Interval, cluster_draws, percentile_interval
from allocentric.core.types import Item, Response, Score, Unreadable
from allocentric.eval.aggregation import OVERALL, Sums, aggregate
from allocentric.eval.protocol import Benchmark

PERCENT = 100.0
"""Scores are in [0, 1] inside and in percent in results.json and tables."""


@dataclass(frozen=True, kw_only=True)
class Bootstrap:
    """How intervals are made."""

    replicates: int = 2000
    """Number of bootstrap replicates."""
    seed: int = 0
    """Of the resampling; the same for every row, so that rows are comparable."""
    level: float = 0.95
    """Nominal coverage."""


@dataclass(frozen=True, kw_only=True)
class ScoredRow:
    """One model's scores under one profile, aligned with the items."""

    scores: tuple[Score | None, ...]
    """(N,); None where there is no answer."""

    @cached_property
    def counted(self) -> NDArray[np.bool_]:
        """(N,) True where the item is in the denominator."""
        return np.array([score is not None and score.value is not None for score in self.scores], dtype=bool)

    @cached_property
    def values(self) -> Array:
        """(N,) scores in [0, 1], 0 where not counted."""
        return np.array([0.0 if score is None or score.value is None else score.value for score in self.scores])

    @cached_property
    def unreadable(self) -> NDArray[np.bool_]:
        """(N,) True where there is a text but no answer in it."""
        return np.array(
            [score is not None and isinstance(score.answer, Unreadable) for score in self.scores], dtype=bool
        )


def score_row(
    benchmark: Benchmark, items: Sequence[Item], responses: Mapping[str, Response], profile: str
) -> ScoredRow:
    """Score one model's responses (by item id) under `profile`. Failed and absent responses give None."""
    return ScoredRow(scores=tuple(_score(benchmark, item, responses.get(item.id), profile) for item in items))


def _score(benchmark: Benchmark, item: Item, response: Response | None, profile: str) -> Score | None:
    if response is None or failed(response):
        return None
    return benchmark.score(item, response.text, profile)


def failed(response: Response) -> bool:
    """True where there is no answer because something went wrong, not because the model said nothing."""
    return response.error is not None or response.finish_reason == "error"


def summaries(
    benchmark: Benchmark, items: Sequence[Item], rows: Mapping[tuple[str, str], ScoredRow], settings: Bootstrap
) -> dict[tuple[str, str], dict[str, Any]]:
    """Overall, cells, intervals and counts of every row, in percent.

    Args:
        benchmark: Whose aggregate is used.
        items: (N,) items the rows are aligned with.
        rows: By (model label, profile).
        settings: Of the intervals. All rows use the same resampled scenes.

    Returns:
        By the same keys `{"overall": cell, "cells": {name: cell}, "kinds": {name: cell}, "others": {name: cell},
        "unreadable": n, "unanswered": n, "left_out": n}` with cell = `{"score", "low", "high", "n", "unreadable",
        "chance"}`. Others are further published averages; where the profile leaves items out, "all_items" is the
        overall score with those counted as 0.
    """
    chances = np.array([_number(benchmark.chance(item)) for item in items])
    intervals = _intervals(benchmark, items, rows, settings)
    return {key: _summary(benchmark, items, chances, row, intervals.get(key, {})) for key, row in rows.items()}


ALL_ITEMS = "all_items"
"""Name of the overall score whose denominator holds the items that the profile leaves out."""


def _averages(benchmark: Benchmark, items: Sequence[Item], row: ScoredRow) -> list[tuple[NDArray[np.int64], Sums]]:
    """The published average over the counted items, and with left-out items as 0: (rows it is over, its sums)."""
    counted, answered = row.counted, np.array([score is not None for score in row.scores], dtype=bool)
    found = []
    for mask, names in ((counted, None), (answered, {OVERALL: ALL_ITEMS})):
        if mask.any() and (names is None or not np.array_equal(mask, counted)):
            kept = np.flatnonzero(mask)
            sums = benchmark.composite([items[index] for index in kept.tolist()], row.values[kept])
            found.append((kept, sums if names is None else _renamed(sums, names)))
    return found


def _renamed(sums: Sums, names: Mapping[str, str]) -> Sums:
    """Only the values in `names`, under their new names."""

    def combine(totals: Array) -> dict[str, Array]:
        values = sums.combine(totals)
        return {new: values[old] for old, new in names.items()}

    return Sums(sums.parts, combine)


def _intervals(
    benchmark: Benchmark, items: Sequence[Item], rows: Mapping[tuple[str, str], ScoredRow], settings: Bootstrap
) -> dict[tuple[str, str], dict[str, Interval]]:
    scenes = [item.scene_id for item in items]
    # Rows with the same scores (two profiles that agree everywhere) need one computation.
    distinct: dict[bytes, list[tuple[str, str]]] = {}
    for key, row in rows.items():
        if row.counted.any():
            distinct.setdefault(row.values.tobytes() + row.counted.tobytes(), []).append(key)
    averages = [_averages(benchmark, items, rows[keys[0]]) for keys in distinct.values()]
    order: dict[str, int] = {}
    place = np.array([order.setdefault(scene, len(order)) for scene in scenes], dtype=np.int64)
    count = len(order)
    totals = [_by_scene(place[kept], sums.parts, count) for averaged in averages for kept, sums in averaged]
    combines = [(index, sums.combine) for index, averaged in enumerate(averages) for _, sums in averaged]
    replicated: dict[tuple[int, str], list[Array]] = {}
    sizes, totals = _merged(totals, count)
    for draws in cluster_draws(sizes, replicates=settings.replicates, seed=settings.seed):
        for (index, combine), total in zip(combines, totals, strict=True):
            for cell, values in combine(draws @ total).items():
                replicated.setdefault((index, cell), []).append(np.asarray(values, dtype=float))
    intervals: list[dict[str, Interval]] = [{} for _ in averages]
    for (index, cell), blocks in replicated.items():
        joined = np.concatenate(blocks)
        intervals[index][cell] = percentile_interval(joined, clusters=count, level=settings.level)
    return {key: intervals[index] for index, keys in enumerate(distinct.values()) for key in keys}


_MANY_SCENES = 50_000
"""From here on equal scenes are drawn together."""


def _by_scene(place: NDArray[np.int64], parts: Array, count: int) -> Array:
    """(C, F) sums over scenes of (N, F) parts: what is drawn together is added up first, once for all replicates."""
    return np.stack([np.bincount(place, weights=column, minlength=count) for column in parts.T], axis=1)


def _merged(totals: list[Array], count: int) -> tuple[Array, list[Array]]:
    """Sizes and totals of groups of equal scenes; every scene is its own group unless there are very many."""
    if count < _MANY_SCENES or not totals:
        return np.ones(count), totals
    edges = np.cumsum([total.shape[1] for total in totals])[:-1]
    rows, sizes = np.unique(np.concatenate(totals, axis=1), axis=0, return_counts=True)
    return sizes.astype(float), np.split(rows, edges, axis=1)


def _summary(
    benchmark: Benchmark, items: Sequence[Item], chances: Array, row: ScoredRow, intervals: Mapping[str, Interval]
) -> dict[str, Any]:
    mask = row.counted
    kinds = [item.kind for item in items]
    point: dict[str, Array] = {}
    for _, sums in _averages(benchmark, items, row):
        point |= sums.combine(sums.parts.sum(axis=0))
    chance = _chance(benchmark, items, chances)
    groups = {kind: benchmark.cells.get(kind, kind) for kind in kinds}

    def cell(name: str, member: NDArray[np.bool_]) -> dict[str, Any]:
        interval = intervals.get(name)
        return {
            "score": _percent(_scalar(point.get(name))),
            "low": _percent(interval.low if interval else None),
            "high": _percent(interval.high if interval else None),
            "n": int((member & (mask | (name == ALL_ITEMS))).sum()),
            "unreadable": int((member & row.unreadable).sum()),
            "chance": _percent(chance.get(name)),
        }

    kind_of = np.array(kinds)
    cell_of = np.array([groups[kind] for kind in kinds])
    everything = np.ones(len(kinds), dtype=bool)
    names = cell_names(benchmark, kinds)
    inner = [kind for kind in benchmark.cells if groups.get(kind, kind) != kind]
    others = [name for name in point if name not in {OVERALL, *names, *kinds}]
    return {
        "overall": cell(OVERALL, everything),
        "cells": {name: cell(name, cell_of == name) for name in names},
        "kinds": {kind: cell(kind, kind_of == kind) for kind in inner},
        "others": {name: cell(name, everything) for name in others},
        "unreadable": int(row.unreadable.sum()),
        "unanswered": sum(score is None for score in row.scores),
        "left_out": sum(score is not None and score.value is None for score in row.scores),
    }


def cell_names(benchmark: Benchmark, kinds: Sequence[str]) -> list[str]:
    """Cells that occur, in the benchmark's order."""
    present = {benchmark.cells.get(kind, kind) for kind in kinds}
    return [name for name in dict.fromkeys([*benchmark.cells.values(), *sorted(present)]) if name in present]


def _chance(benchmark: Benchmark, items: Sequence[Item], chances: Array) -> dict[str, float]:
    """Chance of every cell whose items all have one."""
    known = np.flatnonzero(np.isfinite(chances))
    if known.size == 0:
        return {}
    values = aggregate(benchmark.composite, [items[index] for index in known.tolist()], chances[known])
    unknown = {item.kind for item, chance in zip(items, chances, strict=True) if not isfinite(chance)}
    hidden = unknown | {benchmark.cells.get(kind, kind) for kind in unknown} | ({OVERALL} if unknown else set())
    return {name: value for name, value in values.items() if name not in hidden}


def _scalar(value: Array | None) -> float | None:
    return None if value is None else float(value)


def _number(value: float | None) -> float:
    return float("nan") if value is None else value


def _percent(value: float | None) -> float | None:
    """In percent, rounded far below anything shown so that results.json is the same on every machine."""
    return None if value is None or not isfinite(value) else round(PERCENT * float(value), 9)


def interval_text(cell: Mapping[str, Any]) -> str:
    """Like `34.2 [30.1, 38.0]`; without the bracket where there is no interval, "-" where there is no score."""
    if cell["score"] is None:
        return "-"
    if cell["low"] is None:
        return f"{cell['score']:.1f}"
    return f"{cell['score']:.1f} [{cell['low']:.1f}, {cell['high']:.1f}]"

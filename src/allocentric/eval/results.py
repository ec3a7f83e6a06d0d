"""From responses to the numbers of a leaderboard: scores, the published average, intervals, counts. No model here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import compress
from math import isfinite
from typing import Any, TypeAlias

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
    def answered(self) -> NDArray[np.bool_]:
        """(N,) True where there is an answer, counted or not."""
        return np.array([score is not None for score in self.scores], dtype=bool)

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
    scores: list[Score | None] = []
    for item in items:
        response = responses.get(item.id)
        known = response is not None and not failed(response)
        scores.append(benchmark.score(item, response.text, profile) if response is not None and known else None)
    return ScoredRow(scores=tuple(scores))


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
    averages = {key: _averages(benchmark, items, row) for key, row in rows.items()}
    intervals = _intervals(items, rows, averages, settings)
    groups = _groups(benchmark, items)
    return {key: _summary(benchmark, groups, row, averages[key], intervals.get(key, {})) for key, row in rows.items()}


ALL_ITEMS = "all_items"
"""Name of the overall score whose denominator holds the items that the profile leaves out."""


_Averages: TypeAlias = list[tuple[NDArray[np.int64], Sums]]


def _averages(benchmark: Benchmark, items: Sequence[Item], row: ScoredRow) -> _Averages:
    """The published average over the counted items, and with left-out items as 0: (rows it is over, its sums)."""
    found = []
    for mask, names in ((row.counted, None), (row.answered, {OVERALL: ALL_ITEMS})):
        if mask.any() and (names is None or not np.array_equal(mask, row.counted)):
            kept = np.flatnonzero(mask)
            sums = benchmark.composite(_those(items, mask), row.values[kept])
            found.append((kept, sums if names is None else _renamed(sums, names)))
    return found


def _those(items: Sequence[Item], mask: NDArray[np.bool_]) -> Sequence[Item]:
    return items if mask.all() else list(compress(items, mask.tolist()))


def _renamed(sums: Sums, names: Mapping[str, str]) -> Sums:
    """Only the values in `names`, under their new names."""

    def combine(totals: Array) -> dict[str, Array]:
        values = sums.combine(totals)
        return {new: values[old] for old, new in names.items()}

    return Sums(sums.parts, combine)


def _intervals(
    items: Sequence[Item],
    rows: Mapping[tuple[str, str], ScoredRow],
    averages_of: Mapping[tuple[str, str], _Averages],
    settings: Bootstrap,
) -> dict[tuple[str, str], dict[str, Interval]]:
    scenes = [item.scene_id for item in items]
    # Rows with the same scores (two profiles that agree everywhere) need one computation.
    distinct: dict[bytes, list[tuple[str, str]]] = {}
    for key, row in rows.items():
        if row.counted.any():
            distinct.setdefault(row.values.tobytes() + row.counted.tobytes(), []).append(key)
    averages = [averages_of[keys[0]] for keys in distinct.values()]
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


@dataclass(frozen=True, kw_only=True)
class _Groups:
    """Which items are in which type and column: the same for all rows."""

    cell_of: Mapping[str, str]
    """Kind -> cell, for the kinds that occur."""
    kind: NDArray[np.int64]
    """(N,) positions in `cell_of`."""
    chance: Mapping[str, float]
    """By kind, cell and "overall", where all items have one."""

    def members(self, kinds: Iterable[str]) -> NDArray[np.bool_]:
        """(N,) True for the items of these kinds."""
        wanted = set(kinds)
        kept: NDArray[np.bool_] = np.array([kind in wanted for kind in self.cell_of], dtype=bool)[self.kind]
        return kept


def _groups(benchmark: Benchmark, items: Sequence[Item]) -> _Groups:
    position: dict[str, int] = {}
    kind = np.array([position.setdefault(item.kind, len(position)) for item in items], dtype=np.int64)
    cell_of = {name: benchmark.cells.get(name, name) for name in position}
    return _Groups(cell_of=cell_of, kind=kind, chance=_chance(benchmark, items))


def _summary(
    benchmark: Benchmark, groups: _Groups, row: ScoredRow, averages: _Averages, intervals: Mapping[str, Interval]
) -> dict[str, Any]:
    mask = row.counted
    point: dict[str, Array] = {}
    for _, sums in averages:
        point |= sums.combine(sums.parts.sum(axis=0))

    def cell(name: str, kinds: Iterable[str]) -> dict[str, Any]:
        interval, member = intervals.get(name), groups.members(kinds)
        return {
            "score": _percent(_scalar(point.get(name))),
            "low": _percent(interval.low if interval else None),
            "high": _percent(interval.high if interval else None),
            "n": int((member & (mask | (name == ALL_ITEMS))).sum()),
            "unreadable": int((member & row.unreadable).sum()),
            "chance": _percent(groups.chance.get(name)),
        }

    names = cell_names(benchmark, list(groups.cell_of))
    kinds_of = {name: [kind for kind, column in groups.cell_of.items() if column == name] for name in names}
    inner = [kind for kind in benchmark.cells if groups.cell_of.get(kind, kind) != kind]
    others = [name for name in point if name not in {OVERALL, *names, *groups.cell_of}]
    return {
        "overall": cell(OVERALL, groups.cell_of),
        "cells": {name: cell(name, kinds) for name, kinds in kinds_of.items()},
        "kinds": {name: cell(name, [name]) for name in inner},
        "others": {name: cell(name, groups.cell_of) for name in others},
        "unreadable": int(row.unreadable.sum()),
        "unanswered": int((~row.answered).sum()),
        "left_out": int((row.answered & ~row.counted).sum()),
    }


def cell_names(benchmark: Benchmark, kinds: Sequence[str]) -> list[str]:
    """Cells that occur, in the benchmark's order."""
    present = {benchmark.cells.get(kind, kind) for kind in kinds}
    return [name for name in dict.fromkeys([*benchmark.cells.values(), *sorted(present)]) if name in present]


def _chance(benchmark: Benchmark, items: Sequence[Item]) -> dict[str, float]:
    """Chance of every cell whose items all have one."""
    chances = np.array([_number(benchmark.chance(item)) for item in items])
    known = np.isfinite(chances)
    if not known.any():
        return {}
    values = aggregate(benchmark.composite, _those(items, known), chances[known])
    unknown = {item.kind for item in compress(items, (~known).tolist())}
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
